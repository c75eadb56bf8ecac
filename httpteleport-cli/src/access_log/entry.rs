//! What a line tells.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::header::{HOST, HeaderName, HeaderValue, REFERER, USER_AGENT};
use http::{Method, Request, StatusCode, Uri, Version};

use super::AccessLog;
use crate::host::without_user;
use crate::listen::Client;
use crate::trace_context;

/// One request and its reply.
pub(super) struct Entry {
    pub(super) asked: Asked,
    /// None if it was given up before there was one.
    pub(super) status: Option<StatusCode>,
    /// Of the reply's body.
    pub(super) bytes: u64,
    pub(super) took: Duration,
    pub(super) upstream: Option<String>,
}

/// What the request says of itself.
pub(super) struct Asked {
    pub(super) at: SystemTime,
    pub(super) client: Client,
    /// This and the target are none of a request that could not be read.
    pub(super) method: Option<Method>,
    pub(super) target: Option<Uri>,
    pub(super) version: Said,
    pub(super) host: Option<HeaderValue>,
    pub(super) referer: Option<HeaderValue>,
    pub(super) agent: Option<HeaderValue>,
    pub(super) trace: Option<String>,
}

impl Asked {
    /// As cheap copies as there are.
    pub(super) fn of<B>(request: &Request<B>, client: Client) -> Asked {
        let headers = request.headers();
        let field = |name: HeaderName| headers.get(name).cloned();
        Asked {
            at: SystemTime::now(),
            client,
            method: Some(request.method().clone()),
            target: Some(target(request)),
            version: Said::Read(request.version()),
            host: authority(request.uri()).or_else(|| field(HOST)),
            referer: field(REFERER),
            agent: field(USER_AGENT),
            trace: trace_context::trace(headers).map(str::to_owned),
        }
    }

    /// What is known of one whose head could not be read; so much of that has come.
    pub(super) fn unread(client: Client, head: &[u8]) -> Asked {
        let (at, version) = (SystemTime::now(), Said::Unread(said(head)));
        let (method, target, host, referer, agent, trace) = (None, None, None, None, None, None);
        Asked { at, client, method, target, version, host, referer, agent, trace }
    }
}

/// The version of HTTP that a client says it speaks.
pub(super) enum Said {
    /// One that is known.
    Read(Version),
    /// What stands where it should, if that can be one.
    Unread(Option<String>),
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Said::Read(version) => write!(f, "{version:?}"),
            Said::Unread(text) => f.write_str(text.as_deref().unwrap_or(UNKNOWN)),
        }
    }
}

/// The version at the end of the request line, if all of that has come and it is plainly one.
fn said(head: &[u8]) -> Option<String> {
    let head = head.trim_ascii_start();
    let line = head[..head.iter().position(|byte| *byte == b'\n')?].trim_ascii_end();
    let version = line.rsplit(|byte| *byte == b' ').next()?;
    let number = version.strip_prefix(b"HTTP/")?;
    let is_number = (1..=LONGEST).contains(&number.len())
        && number[0].is_ascii_digit()
        && number.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.');
    is_number.then(|| String::from_utf8_lossy(version).into_owned())
}

/// Bytes of a number that may be one of a version.
const LONGEST: usize = 8;

/// What stands where nothing is known.
pub(super) const UNKNOWN: &str = "-";

/// The target as the client has said it; over HTTP/2 it says the host apart.
fn target<B>(request: &Request<B>) -> Uri {
    let path = request.uri().path_and_query().filter(|_| request.version() == Version::HTTP_2);
    path.map_or_else(|| request.uri().clone(), |path| path.clone().into())
}

/// The host that the target names.
fn authority(target: &Uri) -> Option<HeaderValue> {
    HeaderValue::from_str(without_user(target.authority()?)).ok()
}

/// A request that is being served. When it is dropped, whatever became of it, its line is written.
pub(crate) struct Exchange {
    log: Arc<AccessLog>,
    asked: Option<Asked>,
    began: Instant,
    status: Option<StatusCode>,
    bytes: u64,
    upstream: Option<String>,
}

impl Exchange {
    pub(super) fn new(log: Arc<AccessLog>, asked: Asked) -> Exchange {
        Exchange { log, asked: Some(asked), began: Instant::now(), status: None, bytes: 0, upstream: None }
    }

    /// It turned out whose request it is.
    pub(crate) fn of(&mut self, client: Client) {
        if let Some(asked) = &mut self.asked {
            asked.client = client;
        }
    }

    /// The head of its reply is there.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.status = Some(status);
    }

    /// So much more of the reply's body went to the client.
    pub(crate) fn sent(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// Whose reply it is.
    pub(crate) fn by(&mut self, upstream: &str) {
        self.upstream = Some(upstream.to_owned());
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let Some(asked) = self.asked.take() else { return };
        let (took, upstream) = (self.began.elapsed(), self.upstream.take());
        self.log.write(Entry { asked, status: self.status, bytes: self.bytes, took, upstream });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_told_that_is_plainly_said() {
        for (head, want) in [
            ("GET / HTTP/9.9\r\nHost: h\r\n", Some("HTTP/9.9")),
            ("\r\nGET / HTTP/1.1\r\n", Some("HTTP/1.1")),
            ("GET /a b HTTP/1.0\nHost", Some("HTTP/1.0")),
            ("G\u{1}T / HTTP/3\r\n", Some("HTTP/3")),
            ("GET / HTTP/1.1", None),
            ("GET /\r\nHTTP/1.1\r\n", None),
            ("GET / HTTP/\r\n", None),
            ("GET / HTTP/.1\r\n", None),
            ("GET / HTTP/1.1x\r\n", None),
            ("GET / http/1.1\r\n", None),
            ("GET / HTTP/1.23456789\r\n", None),
            ("\u{16}\u{3}\u{1}\r\n", None),
            ("\r\n", None),
            ("", None),
        ] {
            assert_eq!(said(head.as_bytes()).as_deref(), want, "{head}");
        }
    }
}
