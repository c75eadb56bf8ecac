//! What a request line asks for.

use std::ops::Range;

use http::uri::PathAndQuery;
use http::{Method, Uri};

use super::head::Fields;
use super::lines::is_plain_path;
use crate::codec::error::Fault;
use crate::message::without_user;

/// A request line, in its three parts.
pub(super) struct RequestLine<'a> {
    method: &'a [u8],
    target: &'a [u8],
    version: &'a [u8],
}

/// Where a request's target is.
pub(super) enum Target {
    /// In the text that came.
    InPlace(Range<usize>),
    /// It, the host that it names, or other fields have to be put differently.
    Rewritten(String, Option<String>),
}

impl<'a> RequestLine<'a> {
    /// The target is all that is between the first space and the last, as Go has it.
    #[inline]
    pub(super) fn split(line: &'a [u8]) -> Result<Self, Fault> {
        let first = line.iter().position(|byte| *byte == b' ');
        let last = line.iter().rposition(|byte| *byte == b' ');
        match (first, last) {
            (Some(first), Some(last)) if first < last && line[last + 1..].starts_with(b"HTTP/") => {
                Ok(Self { method: &line[..first], target: &line[first + 1..last], version: &line[last + 1..] })
            }
            _ => Err(Fault::Malformed("it does not begin with METHOD TARGET HTTP/1.1")),
        }
    }

    #[inline]
    pub(super) fn is_http_1_0(&self) -> bool {
        self.version == b"HTTP/1.0"
    }

    /// Method and target, if the request is acceptable as a whole.
    #[inline]
    pub(super) fn settle(&self, fields: &Fields) -> Result<(Method, Target), Fault> {
        if !matches!(self.version, b"HTTP/1.1" | b"HTTP/1.0") {
            return Err(Fault::BadVersion);
        }
        let method = Method::from_bytes(self.method).map_err(|_| Fault::BadMethod)?;
        if method == Method::CONNECT {
            return Err(Fault::Connect);
        }
        let uri = if is_plain_path(self.target) { None } else { Some(self.uri()?) };
        fields.refusal.map_or(Ok(()), Err)?;
        // One `Host`, as RFC 9112, 3.2 wants it; HTTP/1.0 and a target with an authority may do without.
        if fields.hosts > 1 {
            return Err(Fault::RepeatedHost);
        }
        let host = uri.as_ref().map_or(Ok(None), host_of)?;
        if fields.hosts == 0 && host.is_none() && !self.is_http_1_0() {
            return Err(Fault::MissingHost);
        }
        let method = if fields.is_head && method == Method::GET { Method::HEAD } else { method };
        Ok((method, self.place(uri.as_ref(), host, fields.names_others)))
    }

    /// The target as a URI, with the `/` that stands for an empty path (RFC 9112, 3.2.1).
    #[cold]
    fn uri(&self) -> Result<Uri, Fault> {
        let uri = Uri::try_from(self.target).map_err(|_| Fault::BadTarget)?;
        match (uri.authority(), uri.scheme()) {
            (None, _) => Ok(uri),
            // A lone authority has no path to pass on, and belongs to CONNECT alone (RFC 9112, 3.2.3).
            (Some(_), None) => Err(Fault::BadTarget),
            (Some(_), Some(_)) => with_path(uri),
        }
    }

    #[inline]
    fn place(&self, uri: Option<&Uri>, host: Option<String>, names_others: bool) -> Target {
        let start = self.method.len() + 1;
        let target = uri.map(Uri::to_string);
        let same = target.as_ref().is_none_or(|target| target.as_bytes() == self.target);
        if same && host.is_none() && !names_others {
            return Target::InPlace(start..start + self.target.len());
        }
        Target::Rewritten(target.unwrap_or_else(|| String::from_utf8_lossy(self.target).into_owned()), host)
    }
}

/// The authority of a target replaces what `Host` says (RFC 9112, 3.2.2), so that nobody behind us can be told two hosts.
fn host_of(uri: &Uri) -> Result<Option<String>, Fault> {
    let Some(authority) = uri.authority() else { return Ok(None) };
    if authority.host().is_empty() {
        return Err(Fault::BadTarget);
    }
    Ok(Some(without_user(authority).to_owned()))
}

fn with_path(uri: Uri) -> Result<Uri, Fault> {
    let mut parts = uri.into_parts();
    let target = parts.path_and_query.as_ref().map_or("", PathAndQuery::as_str);
    let slash = if target.starts_with('/') { "" } else { "/" };
    parts.path_and_query = Some(format!("{slash}{target}").parse().map_err(|_| Fault::BadTarget)?);
    Uri::from_parts(parts).map_err(|_| Fault::BadTarget)
}
