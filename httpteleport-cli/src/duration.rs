//! Durations as Go writes them: `300ms`, `1.5s`, `1m30s`, `100us`.

use std::time::Duration;

/// Nanoseconds of each unit. Two spellings of micro, as in Go: the micro sign and the Greek letter.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// More than this is surely a mistake, and it keeps sums with clocks far from overflow.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

/// Reads a duration: one or more numbers, each with its unit, or `0`.
///
/// Digits below a nanosecond are dropped.
///
/// # Errors
///
/// The text is not of that form, or means more than 24 hours. The error says what to write.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let form = || "write a duration such as 300ms, 1.5s, 1m30s or 100us".to_owned();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut rest = text;
    let mut nanos: u64 = 0;
    loop {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(|| {
            let number = rest.parse::<f64>().is_ok();
            if number { format!("no unit; {}", form()) } else { form() }
        })?;
        let (number, tail) = rest.split_at(end);
        if number.is_empty() {
            return Err(form());
        }
        let end = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let (_, scale) =
            UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(|| format!("unknown unit {unit:?}; {}", form()))?;
        let part = scaled(number, *scale).ok_or_else(form)?;
        nanos = nanos.checked_add(part).ok_or_else(|| "longer than 24 hours".to_owned())?;
        rest = tail;
        if rest.is_empty() {
            break;
        }
    }
    let duration = Duration::from_nanos(nanos);
    if duration > LONGEST { Err("longer than 24 hours".to_owned()) } else { Ok(duration) }
}

/// `number` (digits, at most one point) times `scale`, exactly; `None` when it is no number or too large.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()? };
    let mut nanos = whole.checked_mul(scale)?;
    let mut place = scale;
    for digit in fraction.bytes() {
        place /= 10;
        nanos = nanos.checked_add(u64::from(digit - b'0') * place)?;
    }
    Some(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads() {
        let cases = [
            ("0", 0),
            ("0s", 0),
            ("300ms", 300_000_000),
            ("1.5s", 1_500_000_000),
            (".5s", 500_000_000),
            ("1.s", 1_000_000_000),
            ("1m30s", 90_000_000_000),
            ("100us", 100_000),
            ("100\u{b5}s", 100_000),
            ("100\u{3bc}s", 100_000),
            ("7ns", 7),
            ("1.0000000019s", 1_000_000_001),
            ("24h", 86_400_000_000_000),
        ];
        for (text, nanos) in cases {
            assert_eq!(parse(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        let cases = [
            ("", "write a duration"),
            ("3", "no unit"),
            ("s", "write a duration"),
            ("-1s", "write a duration"),
            ("soon", "write a duration"),
            ("1 s", "unknown unit \" s\""),
            ("1d", "unknown unit \"d\""),
            ("1.2.3s", "write a duration"),
            (".s", "write a duration"),
            ("25h", "longer than 24 hours"),
            ("99999999999999999999s", "write a duration"),
            ("5000000h5000000h", "longer than 24 hours"),
            ("1s5", "no unit"),
        ];
        for (text, want) in cases {
            let error = parse(text).expect_err(text);
            assert!(error.contains(want), "{text}: {error}");
        }
    }
}
