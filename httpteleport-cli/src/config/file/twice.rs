//! Keys and tables that stand in a file twice.

use toml::de::Error;

/// How the library says it.
pub(super) const MESSAGE: &str = "duplicate key";

/// What is said of the key at this place, which may be the name of a table.
pub(super) fn line(text: &str, at: usize, key: &str) -> String {
    match header(text, at).filter(|(begin, header)| (*begin..begin + header.len()).contains(&at)) {
        Some((_, header)) => format!("{header}: stands there twice; write all of it below the first one"),
        None => format!("{key}: stands there twice; keep one, and write several values as one list"),
    }
}

/// Whether a key stands there twice as its whole table does, which is one of the faults.
pub(super) fn is_told_of_table(text: &str, fault: &Error, faults: &[Error]) -> bool {
    let (Some(at), true) = (fault.span().map(|span| span.start), fault.message() == MESSAGE) else { return false };
    let Some((begin, header)) = header(text, at) else { return false };
    let name = begin..begin + header.len();
    let is_name =
        |fault: &Error| fault.message() == MESSAGE && fault.span().is_some_and(|span| name.contains(&span.start));
    !name.contains(&at) && faults.iter().any(is_name)
}

/// The last `[TABLE]` at or before this place, and where it begins.
fn header(text: &str, at: usize) -> Option<(usize, &str)> {
    let mut begin = 0;
    let mut last = None;
    for line in text.split_inclusive('\n') {
        if begin > at {
            break;
        }
        let indent = line.len() - line.trim_start().len();
        let own = line[indent..].split(" #").next().unwrap_or_default().trim_end();
        last = (own.starts_with('[') && own.ends_with(']')).then_some((begin + indent, own)).or(last);
        begin += line.len();
    }
    last
}
