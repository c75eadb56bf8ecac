//! HTTP/1.1 messages as the classic wire carries them: no message without a length of its own.
//!
//! Header strings are the bytes taken as latin-1, so that every byte survives. The reader is stricter than a proxy:
//! CRLF only, one length header only, legal bytes in names and values. Chunk extensions are skipped.

use super::{Error, bad, take};

/// Header lines, or trailer lines, in order: name, value.
pub type Lines = Vec<(String, String)>;

/// An HTTP request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpRequest {
    /// `GET`, `POST`, ...
    pub method: String,
    /// What stands between method and version, inner spaces and all.
    pub target: String,
    /// `HTTP/1.1`.
    pub version: String,
    /// The header lines.
    pub headers: Lines,
    /// The body; chunks already joined.
    pub body: Vec<u8>,
    /// What came after the last chunk. Not written.
    pub trailers: Lines,
}

/// An HTTP reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HttpReply {
    /// `HTTP/1.1`.
    pub version: String,
    /// The status code.
    pub status: u16,
    /// What follows the status code.
    pub reason: String,
    /// The header lines.
    pub headers: Lines,
    /// The body; chunks already joined.
    pub body: Vec<u8>,
    /// What came after the last chunk. Not written.
    pub trailers: Lines,
}

impl HttpRequest {
    /// A request without headers and body.
    pub fn new(method: &str, target: &str) -> Self {
        Self { method: method.into(), target: target.into(), version: "HTTP/1.1".into(), ..Self::default() }
    }

    /// The same with one more header line.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The same with a body and its `Content-Length`.
    pub fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self.header("Content-Length", &body.len().to_string())
    }

    /// The value of the first header of that name, in any case.
    pub fn value(&self, name: &str) -> Option<&str> {
        value(&self.headers, name)
    }

    /// The message as it stands, without an id. Nothing is added: a wrong message stays wrong.
    pub fn bytes(&self) -> Vec<u8> {
        write(&format!("{} {} {}", self.method, self.target, self.version), &self.headers, &self.body)
    }
}

impl HttpReply {
    /// A reply without headers and body.
    pub fn new(status: u16, reason: &str) -> Self {
        Self { version: "HTTP/1.1".into(), status, reason: reason.into(), ..Self::default() }
    }

    /// The same with one more header line.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The same with a body and its `Content-Length`.
    pub fn body(mut self, body: &[u8]) -> Self {
        self.body = body.to_vec();
        self.header("Content-Length", &body.len().to_string())
    }

    /// The value of the first header of that name, in any case.
    pub fn value(&self, name: &str) -> Option<&str> {
        value(&self.headers, name)
    }

    /// The message as it stands, without an id. Nothing is added: a wrong message stays wrong.
    pub fn bytes(&self) -> Vec<u8> {
        write(&format!("{} {} {}", self.version, self.status, self.reason), &self.headers, &self.body)
    }
}

/// `body` as chunks of the given size, with the empty one at the end.
pub fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in body.chunks(size) {
        out.extend(format!("{:x}\r\n", chunk.len()).bytes());
        out.extend_from_slice(chunk);
        out.extend(b"\r\n");
    }
    out.extend(b"0\r\n\r\n");
    out
}

/// Reads a request off the front of `bytes`; the second value is its length.
///
/// # Errors
///
/// It is not whole, or it is no request that a peer may send.
pub fn read_request(bytes: &[u8]) -> Result<(HttpRequest, usize), Error> {
    let mut rest = bytes;
    let (start, headers) = take_head(&mut rest)?;
    let no_request = || bad(format!("{start:?} is no request line"));
    let (method, tail) = start.split_once(' ').ok_or_else(no_request)?;
    let (target, version) = tail.rsplit_once(' ').ok_or_else(no_request)?;
    if !is_token(method) || target.is_empty() || !version.starts_with("HTTP/1.") {
        return Err(no_request());
    }
    let (body, trailers) = take_body(&mut rest, framing(&headers)?.unwrap_or(Framing::Length(0)))?;
    let (method, target, version) = (method.into(), target.into(), version.into());
    Ok((HttpRequest { method, target, version, headers, body, trailers }, bytes.len() - rest.len()))
}

/// Reads a reply off the front of `bytes`; the second value is its length.
///
/// # Errors
///
/// It is not whole, or it is no reply that a peer may send: without a length, for instance.
pub fn read_reply(bytes: &[u8]) -> Result<(HttpReply, usize), Error> {
    read_reply_as(bytes, false)
}

/// The same for a reply that has no body whatever its headers say.
///
/// # Errors
///
/// As [`read_reply`].
pub fn read_bodiless_reply(bytes: &[u8]) -> Result<(HttpReply, usize), Error> {
    read_reply_as(bytes, true)
}

fn read_reply_as(bytes: &[u8], bodiless: bool) -> Result<(HttpReply, usize), Error> {
    let mut rest = bytes;
    let (start, headers) = take_head(&mut rest)?;
    let no_reply = || bad(format!("{start:?} is no status line"));
    let (version, tail) = start.split_once(' ').ok_or_else(no_reply)?;
    let (code, reason) = tail.split_once(' ').unwrap_or((tail, ""));
    let digits = code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit());
    let status = code.parse().ok().filter(|_| digits && version.starts_with("HTTP/1.")).ok_or_else(no_reply)?;
    let framing = match framing(&headers)? {
        _ if bodiless || matches!(status, 100..=199 | 204 | 304) => Framing::Length(0),
        Some(framing) => framing,
        None => return Err(bad(format!("the reply {start:?} has neither a length nor chunks"))),
    };
    let (body, trailers) = take_body(&mut rest, framing)?;
    let (version, reason) = (version.into(), reason.into());
    Ok((HttpReply { version, status, reason, headers, body, trailers }, bytes.len() - rest.len()))
}

#[derive(Clone, Copy)]
enum Framing {
    Length(usize),
    Chunked,
}

/// What the headers say about the body, if anything.
fn framing(headers: &Lines) -> Result<Option<Framing>, Error> {
    let all = |name: &str| -> Vec<&str> {
        headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str()).collect()
    };
    match (&all("Transfer-Encoding")[..], &all("Content-Length")[..]) {
        ([], []) => Ok(None),
        ([], [len]) if len.bytes().all(|b| b.is_ascii_digit()) => {
            len.parse().map(|len| Some(Framing::Length(len))).map_err(|_| bad(format!("Content-Length: {len:?}")))
        }
        ([coding], []) if coding.eq_ignore_ascii_case("chunked") => Ok(Some(Framing::Chunked)),
        (coding, len) => {
            Err(bad(format!("body length in doubt: Transfer-Encoding {coding:?}, Content-Length {len:?}")))
        }
    }
}

fn take_body(rest: &mut &[u8], framing: Framing) -> Result<(Vec<u8>, Lines), Error> {
    match framing {
        Framing::Length(len) => Ok((take(rest, len, "body")?.to_vec(), Lines::new())),
        Framing::Chunked => take_chunks(rest),
    }
}

fn take_chunks(rest: &mut &[u8]) -> Result<(Vec<u8>, Lines), Error> {
    let mut body = Vec::new();
    loop {
        let line = take_line(rest, "chunk size")?;
        let size = line.split(';').next().unwrap_or_default();
        let digits = !size.is_empty() && size.len() <= 8 && size.bytes().all(|b| b.is_ascii_hexdigit());
        if !digits {
            return Err(bad(format!("{line:?} is no chunk size")));
        }
        let size = usize::from_str_radix(size, 16).expect("at most eight hex digits");
        if size == 0 {
            return Ok((body, take_lines(rest, "trailer")?));
        }
        body.extend_from_slice(take(rest, size, "chunk")?);
        if take(rest, 2, "chunk")? != b"\r\n" {
            return Err(bad("a chunk does not end where its size says"));
        }
    }
}

/// The start line and the header lines.
fn take_head(rest: &mut &[u8]) -> Result<(String, Lines), Error> {
    Ok((take_line(rest, "start line")?, take_lines(rest, "header")?))
}

/// Header or trailer lines, with the blank line after them.
fn take_lines(rest: &mut &[u8], part: &'static str) -> Result<Lines, Error> {
    let mut lines = Lines::new();
    loop {
        let line = take_line(rest, part)?;
        if line.is_empty() {
            return Ok(lines);
        }
        let (name, value) = line.split_once(':').ok_or_else(|| bad(format!("{part} line {line:?} has no colon")))?;
        if !is_token(name) || !value.chars().all(|c| c >= ' ' && c != '\x7F' || c == '\t') {
            return Err(bad(format!("{part} line {line:?} has a byte that may not stand there")));
        }
        lines.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
    }
}

/// One line without its CRLF, as latin-1.
fn take_line(rest: &mut &[u8], part: &'static str) -> Result<String, Error> {
    let end = rest.windows(2).position(|pair| pair == b"\r\n").ok_or(Error::Incomplete(part))?;
    let line = take(rest, end + 2, part)?;
    Ok(line[..end].iter().map(|&byte| char::from(byte)).collect())
}

fn is_token(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn value<'a>(headers: &'a Lines, name: &str) -> Option<&'a str> {
    headers.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

fn write(start: &str, headers: &Lines, body: &[u8]) -> Vec<u8> {
    let mut head = format!("{start}\r\n");
    for (name, value) in headers {
        head.extend([name, ": ", value, "\r\n"]);
    }
    head.push_str("\r\n");
    let mut out = latin1(&head);
    out.extend_from_slice(body);
    out
}

fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(c).expect("header strings are latin-1")).collect()
}
