//! Sizes: `65536`, `64KiB`, `4MiB`, `1GiB`, or `64k`, `4m`, `1g` for short.

use std::ops::RangeInclusive;

/// Bytes of each unit, in lower case.
const UNITS: [(&str, u64); 10] = [
    ("", 1),
    ("b", 1),
    ("k", 1 << 10),
    ("kib", 1 << 10),
    ("m", 1 << 20),
    ("mib", 1 << 20),
    ("g", 1 << 30),
    ("gib", 1 << 30),
    ("t", 1 << 40),
    ("tib", 1 << 40),
];

/// Reads a size within these bounds: a whole number, of bytes if no unit stands behind it, in any case.
///
/// # Errors
///
/// It is none, or out of bounds. The error says what to write.
pub(crate) fn parse(text: &str, bounds: RangeInclusive<u64>) -> Result<u64, String> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let unit = unit.to_ascii_lowercase();
    let factor = UNITS.iter().find(|(name, _)| *name == unit && !number.is_empty()).map(|(_, factor)| *factor);
    let factor = factor.ok_or("is no size; write bytes, such as 65536, or 64KiB, 4MiB, 1GiB")?;
    let size = number.parse().ok().and_then(|number: u64| number.checked_mul(factor));
    let (least, most) = (bounds.start(), bounds.end());
    size.filter(|size| bounds.contains(size)).ok_or_else(|| format!("use {least} to {most} bytes"))
}

/// The same for small ones.
///
/// # Errors
///
/// As [`parse`].
pub(crate) fn parse_small(text: &str, bounds: RangeInclusive<u32>) -> Result<u32, String> {
    let bounds = u64::from(*bounds.start())..=u64::from(*bounds.end());
    let size = parse(text, bounds)?;
    u32::try_from(size).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_or_a_unit() {
        let read = |text| parse(text, 0..=1 << 40);
        for (text, want) in [
            ("0", 0),
            ("7", 7),
            ("7B", 7),
            ("64KiB", 65_536),
            ("64k", 65_536),
            ("4mib", 4 << 20),
            ("1G", 1 << 30),
            ("1TiB", 1 << 40),
        ] {
            assert_eq!(read(text), Ok(want), "{text}");
        }
        for bad in ["", "-1", "1.5MiB", "MiB", "4 MiB", "4MB", "1P", "0x10", "1_000"] {
            let want = "is no size; write bytes, such as 65536, or 64KiB, 4MiB, 1GiB";
            assert_eq!(read(bad), Err(want.to_owned()), "{bad}");
        }
        for out in ["1025g", "99999999999999999999", "18446744073709551615k"] {
            assert_eq!(read(out), Err("use 0 to 1099511627776 bytes".to_owned()), "{out}");
        }
        assert_eq!(parse_small("1MiB", 256..=1 << 20), Ok(1 << 20));
        assert_eq!(parse_small("255", 256..=1 << 20), Err("use 256 to 1048576 bytes".to_owned()));
    }
}
