//! How much room text takes, as far as that can be told without the reader's font.

/// About how wide `text` is at this size, rather too wide than too narrow.
#[must_use]
pub fn width(text: &str, size: f64) -> f64 {
    text.chars().map(advance).sum::<f64>() * size
}

/// Of usual sans-serif fonts, the widest of them, in parts of the size.
fn advance(c: char) -> f64 {
    match c {
        'i' | 'j' | 'l' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' => 0.30,
        ' ' | 'f' | 't' | 'r' | 'I' | '/' | '(' | ')' | '-' => 0.38,
        'm' | 'w' | 'M' | 'W' | '%' | '@' => 0.92,
        c if c.is_ascii_uppercase() => 0.72,
        _ => 0.58,
    }
}

/// Breaks `text` between words so that no line is wider than `room`.
#[must_use]
pub fn wrap(text: &str, size: f64, room: f64) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("never empty");
        if line.is_empty() {
            line.push_str(word);
        } else if width(line, size) + width(" ", size) + width(word, size) <= room {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_keep_all_words_and_their_room() {
        let text = "one core of a machine with two, 2026-11-25, taskset -c 1 target/release/matrix --only latency --only flush";
        let lines = wrap(text, 12.0, 200.0);
        assert_eq!(lines.join(" "), text);
        assert!(lines.len() > 2 && lines.iter().all(|line| width(line, 12.0) <= 200.0));
        assert_eq!(wrap("", 12.0, 10.0), [""]);
        assert_eq!(wrap("Donaudampfschiff", 12.0, 10.0), ["Donaudampfschiff"]);
    }
}
