//! The framed wire: heads and trailers as compact bytes, beside the bodies. `docs/wire.md` has the bytes.
//!
//! What arrives is refused wherever it could do harm as HTTP/1.1 text on the next hop. What is sent keeps to the same rules:
//! fields that concern one connection stay behind, as do those that `Connection` names and trailers that may be none.
//!
//! Values share the memory of the head that they came in, and keep their bytes, over 127 too. Fields keep their order, those
//! of one name standing together. [`Limits`] count a head as the HTTP/1.1 text that it would be, without a reason.
//!
//! A `Content-Length` is one number and passes on; that the body, which is not seen here, has this length is for whoever
//! reads the body to see to.
//!
//! ```
//! use httpteleport::Limits;
//! use httpteleport::codec::framed;
//!
//! let (parts, ()) = http::Request::get("http://example.com/a%2Fb").body(())?.into_parts();
//! let mut head = Vec::new();
//! framed::encode_request(&parts, &Limits::default(), &mut head)?;
//! assert_eq!(head, b"\x00\x06/a%2Fb\x02\x0bexample.com");
//!
//! let parts = framed::decode_request(&head.into(), &Limits::default())?;
//! assert_eq!((parts.uri, &parts.headers["host"]), ("/a%2Fb".parse()?, &"example.com".parse()?));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use bytes::Bytes;
use http::header::{HeaderMap, HeaderValue};
use http::{Request, request, response};

use crate::Limits;
use crate::codec::error::{CodecError, Fault, MessageKind};

mod decode;
mod encode;
mod names;
mod rules;
mod text;

use rules::Section;

/// Appends the head of a request, at most [`Limits::peer_max_head`] bytes as text.
///
/// The target is the URI's path and query, as it stands; for `CONNECT` its authority, unless [`Protocol`] is among the
/// extensions. `Host` is the header or, without one, the URI's authority. The URI's scheme goes with a [`Protocol`] only.
///
/// # Errors
///
/// It cannot be sent. Nothing is appended then.
pub fn encode_request(parts: &request::Parts, limits: &Limits, out: &mut Vec<u8>) -> Result<(), CodecError> {
    whole(out, |out| encode::request(parts, limits.peer_max_head(), out)).map_err(CodecError::request)
}

/// Reads the head of a request.
///
/// The URI is the target in origin form, with `Host` among the headers; the authority for `CONNECT`, which becomes the
/// `Host` too; or whole, if a scheme came with a [`Protocol`], which is an extension then.
///
/// # Errors
///
/// It is over a limit or not acceptable; the connection may go on.
pub fn decode_request(head: &Bytes, limits: &Limits) -> Result<request::Parts, CodecError> {
    let mut request = Request::new(());
    read_request(head, limits, &mut request)?;
    Ok(request.into_parts().0)
}

/// The same into a request that is new.
pub(crate) fn read_request<B>(head: &Bytes, limits: &Limits, request: &mut Request<B>) -> Result<(), CodecError> {
    decode::request(head, limits, request).map_err(CodecError::request)
}

/// Appends the head of a reply, at most [`Limits::peer_max_head`] bytes as text.
///
/// # Errors
///
/// It cannot be sent, for instance because its status is 1xx. Nothing is appended then.
pub fn encode_reply(parts: &response::Parts, limits: &Limits, out: &mut Vec<u8>) -> Result<(), CodecError> {
    response(parts, Section::Reply, limits, out)
}

/// Reads the head of a reply.
///
/// # Errors
///
/// It is over a limit or not acceptable; the connection may go on.
pub fn decode_reply(head: &Bytes, limits: &Limits) -> Result<response::Parts, CodecError> {
    decode::response(head, limits, Section::Reply).map_err(CodecError::reply)
}

/// Appends an interim head, of a status 1xx but 101, in the way of [`encode_reply`].
///
/// # Errors
///
/// It cannot be sent. Nothing is appended then.
pub fn encode_interim(parts: &response::Parts, limits: &Limits, out: &mut Vec<u8>) -> Result<(), CodecError> {
    response(parts, Section::Interim, limits, out)
}

/// Reads an interim head.
///
/// # Errors
///
/// It is over a limit or not acceptable; the connection may go on.
pub fn decode_interim(head: &Bytes, limits: &Limits) -> Result<response::Parts, CodecError> {
    decode::response(head, limits, Section::Interim).map_err(CodecError::reply)
}

/// Appends the trailers of a message, at most [`Limits::peer_max_head`] bytes as text. Those that frame, route,
/// authenticate or describe a message stay behind.
///
/// # Errors
///
/// They cannot be sent. Nothing is appended then.
pub fn encode_trailers(
    of: MessageKind,
    trailers: &HeaderMap,
    limits: &Limits,
    out: &mut Vec<u8>,
) -> Result<(), CodecError> {
    let encoded = whole(out, |out| encode::trailers(trailers, limits.peer_max_head(), out));
    encoded.map_err(|fault| CodecError::new(of, fault))
}

/// Reads the trailers of a message.
///
/// # Errors
///
/// They are over a limit or not acceptable; the connection may go on.
pub fn decode_trailers(of: MessageKind, trailers: &Bytes, limits: &Limits) -> Result<HeaderMap, CodecError> {
    decode::trailers(trailers, limits).map_err(|fault| CodecError::new(of, fault))
}

/// The protocol that a request asks its stream to become, such as `websocket`: an extension of the request.
///
/// With `CONNECT` it is the extended one of HTTP/2 (RFC 8441), with other methods the `Upgrade` of HTTP/1.1. A reply of
/// 101 agrees to it, whatever the method.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Protocol(HeaderValue);

impl Protocol {
    /// The protocol of this name, with a version or without.
    ///
    /// # Errors
    ///
    /// It is no token, and none with a version.
    pub fn new(name: &str) -> Result<Self, CodecError> {
        Self::from_bytes(name.as_bytes()).map_err(CodecError::request)
    }

    fn from_bytes(name: &[u8]) -> Result<Self, Fault> {
        let name = HeaderValue::from_bytes(name).ok().filter(|name| rules::is_protocol(name.as_bytes()));
        name.map(Self).ok_or(Fault::BadProtocol)
    }

    /// Its name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

fn response(parts: &response::Parts, section: Section, limits: &Limits, out: &mut Vec<u8>) -> Result<(), CodecError> {
    let encoded = whole(out, |out| encode::response(parts, section, limits.peer_max_head(), out));
    encoded.map_err(CodecError::reply)
}

/// Takes back what was appended if it is not all.
fn whole(out: &mut Vec<u8>, encode: impl FnOnce(&mut Vec<u8>) -> Result<(), Fault>) -> Result<(), Fault> {
    let start = out.len();
    encode(out).inspect_err(|_| out.truncate(start))
}
