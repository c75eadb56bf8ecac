//! The lines of a head, and what each may hold.
//!
//! Lines are split here and not by a library, for the sake of what Go peers send and such libraries refuse: any protocol word
//! in a status line, any target, spaces before a colon. What is accepted here, the `http` crate accepts too.

use crate::codec::error::Fault;

/// Searches the end of a head, and never looks at a byte twice, however few arrive at a time.
#[derive(Debug, Default)]
pub(super) struct Search {
    /// Up to here there is nothing to find.
    scanned: usize,
}

/// What a [`Search`] has come to.
pub(super) enum Found {
    /// The head is not whole yet.
    Nothing,
    /// The head is the first `end` bytes.
    End { end: usize },
    /// The head is longer than allowed.
    TooLong,
}

impl Search {
    /// Looks through what is new in `input`: for a blank line, ended by CRLF or by LF alone.
    pub(super) fn advance(&mut self, input: &[u8], max: usize) -> Found {
        while let Some(at) = memchr::memchr(b'\n', &input[self.scanned..]) {
            let line_feed = self.scanned + at;
            let line_end = line_feed + 1;
            let blank = match input[line_end..] {
                [b'\n', ..] => 1,
                [b'\r', b'\n', ..] => 2,
                // Not enough of the next line to tell: this line end is looked at again.
                [] | [b'\r'] => {
                    self.scanned = line_feed;
                    return if input.len() > max { Found::TooLong } else { Found::Nothing };
                }
                _ => 0,
            };
            self.scanned = line_end;
            if blank > 0 {
                let end = line_end + blank;
                return if end > max { Found::TooLong } else { Found::End { end } };
            }
        }
        self.scanned = input.len();
        if input.len() > max { Found::TooLong } else { Found::Nothing }
    }
}

/// The first line without its end, and what follows it.
#[inline]
pub(crate) fn split_line(lines: &[u8]) -> (&[u8], &[u8]) {
    let Some(end) = memchr::memchr(b'\n', lines) else { return (lines, &[]) };
    let line = &lines[..end];
    (line.strip_suffix(b"\r").unwrap_or(line), &lines[end + 1..])
}

/// The line of `input` that begins at `at`, without its end, and where the next one begins; `None` if its end is not there.
#[inline]
pub(super) fn whole_line(input: &[u8], at: usize) -> Option<(&[u8], usize)> {
    let rest = &input[at..];
    let end = memchr::memchr(b'\n', rest)?;
    let line = &rest[..end];
    Some((line.strip_suffix(b"\r").unwrap_or(line), at + end + 1))
}

/// A header line, without the spaces around its colon and at its end.
pub(crate) struct Field<'a> {
    /// A token, or why it is none. A name that is none is not one that tells a length.
    pub(super) name: Result<&'a [u8], Fault>,
    pub(super) value: &'a [u8],
    /// The line is as we would write it.
    pub(super) canonical: bool,
}

impl<'a> Field<'a> {
    /// Reads one line, without its end.
    #[inline]
    pub(super) fn read(line: &'a [u8]) -> Result<Self, Fault> {
        let end = token_len(line);
        if end > 0 && end <= LONGEST_NAME && line.get(end) == Some(&b':') {
            let (name, rest) = (Ok(&line[..end]), &line[end + 1..]);
            // Most often there is one space before the value and none behind it.
            return Ok(match rest {
                [b' ', value @ ..] if is_trimmed(value) => Self { name, value, canonical: true },
                _ => Self { name, value: trim_spaces(rest), canonical: false },
            });
        }
        Self::read_unusual(line)
    }

    #[cold]
    fn read_unusual(line: &'a [u8]) -> Result<Self, Fault> {
        if let [b' ' | b'\t', ..] = line {
            return Err(Fault::Malformed("a header line begins with a space"));
        }
        let colon = memchr::memchr(b':', line).ok_or(Fault::Malformed("a header line has no colon"))?;
        let name = trim_spaces(&line[..colon]);
        let is_name = !name.is_empty() && token_len(name) == name.len() && name.len() <= LONGEST_NAME;
        let name = if is_name { Ok(name) } else { Err(Fault::BadName) };
        Ok(Self { name, value: trim_spaces(&line[colon + 1..]), canonical: false })
    }
}

/// The fields in the lines of a head that was checked when it came.
pub(crate) fn fields(mut lines: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    std::iter::from_fn(move || {
        while !lines.is_empty() {
            let (line, rest) = split_line(lines);
            lines = rest;
            if let Ok(Field { name: Ok(name), value, .. }) = Field::read(line) {
                return Some((name, value));
            }
        }
        None
    })
}

/// What `http::HeaderName` holds at most.
const LONGEST_NAME: usize = u16::MAX as usize;

/// The number of bytes at the front that belong in a token (RFC 9110, 5.6.2).
#[inline]
fn token_len(bytes: &[u8]) -> usize {
    bytes.iter().position(|byte| !TOKEN[usize::from(*byte)]).unwrap_or(bytes.len())
}

/// Whether this is a token.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && token_len(bytes) == bytes.len()
}

const TOKEN: [bool; 256] = table(b"!#$%&'*+-.^_`|~");
/// What may stand in a path and a query (RFC 3986, 3.3 and 3.4).
const PATH: [bool; 256] = table(b"/?-._~!$&'()*+,;=:@%");

/// Letters, digits and these marks.
pub(crate) const fn table(marks: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut byte = 0u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric();
        byte += 1;
    }
    let mut at = 0;
    while at < marks.len() {
        table[marks[at] as usize] = true;
        at += 1;
    }
    table
}

/// Whether `target` is a path, with a query or without, that every reader takes for the same.
pub(super) fn is_plain_path(target: &[u8]) -> bool {
    target.first() == Some(&b'/')
        && target.len() < usize::from(u16::MAX)
        && target.iter().all(|byte| PATH[usize::from(*byte)])
}

/// Whether a header's value holds nothing but text, spaces, tabs, and bytes over 127 (RFC 9110, 5.5).
#[inline]
pub(super) fn is_value(value: &[u8]) -> bool {
    // Without an early end, so that many bytes are looked at in one step.
    !value.iter().fold(false, |bad, byte| bad | (*byte < b' ' && *byte != b'\t') | (*byte == 0x7f))
}

/// `value` without the spaces and tabs around it; other white space is part of it, and not allowed there.
#[inline]
fn trim_spaces(mut value: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = value {
        value = rest;
    }
    value
}

#[inline]
fn is_trimmed(value: &[u8]) -> bool {
    !matches!(value, [b' ' | b'\t', ..] | [.., b' ' | b'\t'])
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue, Uri};

    use super::*;

    #[test]
    fn what_is_accepted_the_http_crate_accepts_too() {
        for byte in 0..=255u8 {
            let text = [b'a', byte, b'a'];
            assert!(token_len(&text) < 3 || HeaderName::from_bytes(&text).is_ok(), "{byte} in a name");
            assert_eq!(is_value(&text), HeaderValue::from_bytes(&text).is_ok(), "{byte} in a value");
            let path = [b'/', byte];
            let same = Uri::try_from(&path[..]).is_ok_and(|uri| uri.to_string().as_bytes() == path);
            assert!(!is_plain_path(&path) || same, "{byte} in a path");
        }
        let longest = |len| Uri::try_from(&*[b"/", &vec![b'a'; len - 1][..]].concat()).is_ok();
        let most = (1..=1 << 16).rev().find(|len| is_plain_path(&[b"/", &vec![b'a'; len - 1][..]].concat()));
        assert!(longest(most.unwrap()) && !longest(most.unwrap() + 1));
        assert!(HeaderName::from_bytes(&vec![b'a'; LONGEST_NAME]).is_ok());
    }
}
