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

/// Whether a fault at this place is in a table whose name is one of the faults, as that stands there twice.
pub(super) fn is_of_table(text: &str, at: usize, faults: &[Error]) -> bool {
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
        let end = line.rfind(']').filter(|_| line.trim_start().starts_with('['));
        last = end.map(|end| (begin + indent, &line[indent..=end])).or(last);
        begin += line.len();
    }
    last
}
