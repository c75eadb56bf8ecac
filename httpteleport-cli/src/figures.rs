//! Numbers as people read them.

/// A number with commas between its thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number that is not negative, rounded, with commas between its thousands.
pub(crate) fn rounded(number: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative; a cast saturates")]
    grouped(number.round() as u64)
}

/// So many bytes in the largest decimal unit that they fill, three digits or more.
pub(crate) fn bytes(count: u64) -> String {
    let (mut value, mut unit) = (count as f64, "B");
    for larger in ["kB", "MB", "GB", "TB"] {
        // What would be rounded to 1000 belongs to the next unit.
        if value < 999.5 {
            break;
        }
        (value, unit) = (value / 1000.0, larger);
    }
    let places = if unit == "B" || value >= 99.95 {
        0
    } else if value >= 9.995 {
        1
    } else {
        2
    };
    format!("{value:.places$} {unit}")
}

/// Breaks a paragraph between words, into lines of at most so many bytes.
#[must_use]
pub fn folded(text: &str, most: usize) -> String {
    let (mut folded, mut line) = (String::new(), 0);
    for word in text.split(' ') {
        let gap = match line {
            0 => "",
            _ if line + 1 + word.len() > most => "\n",
            _ => " ",
        };
        line = if gap == "\n" { word.len() } else { line + gap.len() + word.len() };
        folded.push_str(gap);
        folded.push_str(word);
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (123_456, "123,456"), (1_000_000, "1,000,000")]
        {
            assert_eq!(grouped(number), text);
        }
        assert_eq!((rounded(999.4), rounded(1999.5)), ("999".to_owned(), "2,000".to_owned()));
        let cases = [
            (0, "0 B"),
            (999, "999 B"),
            (1000, "1.00 kB"),
            (9_994, "9.99 kB"),
            (9_995, "10.0 kB"),
            (99_960, "100 kB"),
            (999_499, "999 kB"),
            (999_500, "1.00 MB"),
            (2_500_000_000, "2.50 GB"),
            (7_000_000_000_000_000, "7000 TB"),
        ];
        for (count, text) in cases {
            assert_eq!(bytes(count), text, "{count}");
        }
    }
}
