//! A file of sources, one a line.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;

use super::source::{Source, To};
use crate::outbound::plain;

/// Bytes of a file.
const LARGEST: u64 = 4 << 20;

/// Reads a file of sources: a URL a line, as `--out` takes it; empty lines, and what follows a `#` at the beginning of a line
/// or after a space, are for people. There may be none.
///
/// # Errors
///
/// One line: it cannot be read, or which line is wrong in what way.
pub(super) fn read(path: &Path) -> Result<Vec<Source>, String> {
    let mut text = String::new();
    let read = File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_string(&mut text));
    match read {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Err("it is no text in UTF-8".to_owned()),
        Err(error) => Err(plain(&error)),
        Ok(bytes) if bytes as u64 > LARGEST => Err(format!("it has more than {LARGEST} bytes")),
        Ok(_) => parse(&text),
    }
}

fn parse(text: &str) -> Result<Vec<Source>, String> {
    let mut sources = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let url = without_comment(line).trim();
        if url.is_empty() {
            continue;
        }
        let wrong = |why: &str| format!("line {}: {why}", index + 1);
        let source = Source::parse(url).map_err(|why| wrong(&why))?;
        if matches!(source.to, To::File(_)) {
            return Err(wrong("a file cannot name another one; write its lines here"));
        }
        source.check().map_err(wrong)?;
        sources.push(source);
    }
    Ok(sources)
}

fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with('#') {
        return "";
    }
    line.find(" #").or_else(|| line.find("\t#")).map_or(line, |end| &line[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_sources() {
        let text = "# all of them\n\nhttp://10.0.0.1:80#weight=3\n  http://10.0.0.2:80  # the old one\r\nunix:/a\n";
        let sources: Vec<_> = parse(text).expect("fine").iter().map(ToString::to_string).collect();
        assert_eq!(sources, ["http://10.0.0.1:80#weight=3", "http://10.0.0.2:80", "unix:/a"]);
    }

    #[test]
    fn there_may_be_none() {
        assert_eq!((parse(""), parse("# none\n")), (Ok(Vec::new()), Ok(Vec::new())));
    }

    #[test]
    fn what_is_wrong_names_its_line() {
        for (text, want) in
            [("http://a\n\nb:1\n", "line 3: no scheme"), ("file:/x", "line 1: a file cannot name another one")]
        {
            let error = parse(text).expect_err(text);
            assert!(error.starts_with(want), "{text}: {error}");
        }
        assert_eq!(read(Path::new("/nonexistent/file")), Err("no such file".to_owned()));
    }
}
