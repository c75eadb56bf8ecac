//! The classic wire: each message is HTTP/1.1 text that tells its own end.
//!
//! What is sent keeps to the part of HTTP/1.1 that every Go `httpteleport` peer reads without harm: exactly one of
//! `Content-Length`, chunked, or a status without body; one `Host`; no interim replies; heads within the peer's limit;
//! `HEAD` only in the disguise that [`Reply`] describes. What is accepted is what those peers send, which is more.
//!
//! ```
//! use bytes::BytesMut;
//! use fastrpc::codec::{Codec, Decoded};
//! use httpteleport::{Body, ClassicCodec};
//!
//! let codec = ClassicCodec::default();
//! let request = http::Request::get("http://example.com/a%2Fb").body(Body::empty())?;
//! let mut wire = Vec::new();
//! codec.encode_request(&request, &mut wire)?;
//! assert_eq!(wire, b"GET /a%2Fb HTTP/1.1\r\nHost: example.com\r\n\r\n");
//!
//! let mut input = BytesMut::from(&wire[..]);
//! let decoded = codec.decode_request(&mut Default::default(), &mut input)?;
//! let Some(Decoded::Message(request)) = decoded else { panic!("it is whole and acceptable") };
//! assert_eq!(request.uri(), "/a%2Fb");
//! # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
//! ```

use std::fmt;
use std::marker::PhantomData;

use bytes::BytesMut;
use fastrpc::codec::{BoxError, Codec, Decoded, Failure};
use http::StatusCode;

use crate::codec::error::{CodecError, Fault};
use crate::{Body, Limits};

mod chunked;
mod decode;
mod encode;
mod framing;
mod head;
pub(crate) mod lines;
mod messages;
mod oversize;
mod payload;
mod reply;
mod rewrite;
mod target;

pub use decode::Partial;
pub(crate) use encode::{status_line, target};
pub(crate) use framing::length;
pub use messages::{ReplyMessage, RequestMessage};
pub use reply::Reply;
pub(crate) use reply::has_no_body;

/// Turns HTTP requests and replies into messages of the classic wire and back.
///
/// # What is sent
///
/// The target is the URI's path and query, nothing decoded or put right; an empty path is `/`, and a fragment stays behind.
/// `Host` is the header or, without one, the URI's authority: a header that differs from the URI is taken for meant.
/// Hop-by-hop headers, and those that `Connection` names, stay behind; so does a `Content-Length` of the user's, because
/// the length of the body decides. `multipart/form-data` bodies go chunked: a Go peer parses and rewrites others.
///
/// # What is received
///
/// Request URIs are as on the wire, usually in origin form; a fragment is dropped, an empty path is `/`. Where one has an
/// authority, `Host` is made to say the same, whatever it said (RFC 9112, 3.2.2): such a request goes to one host only, on
/// every hop. Hop-by-hop headers, `Expect`, and `Content-Length` are taken
/// out of the headers: the [`Body`] knows its length, and a stale header would contradict it on the next hop. Trailers
/// are read and dropped, since merging them into the headers would let a body's sender set any header (RFC 9110, 6.5.1).
///
/// A message with both `Transfer-Encoding` and `Content-Length` is taken by the former, as Go does: a node re-frames what it
/// passes on, so both ends of the link agree where it ends, and the next hop sees one of the two. What is ambiguous
/// beyond that (a repeated length, another coding, any coding in a request of HTTP/1.0, a folded line, a line without a
/// colon) ends the connection.
///
/// # Refused messages
///
/// Messages over a [limit](Limits), and those whose end is clear but whose content is not HTTP, are read to their end and
/// refused with a [`CodecError`]; a server answers them 431, 413, 400, 501 or 505. A status 1xx ends the call of its id
/// and answers nothing, so that it is refused too: no further reply will come.
///
/// # Buffering
///
/// A head stays in the input until it is whole, up to [`Limits::max_head`]; bodies are taken out as they come.
/// Whoever gives this codec to fastrpc directly, with heads over 8 MiB, has to raise fastrpc's `max_undecoded` as well.
///
/// # Messages
///
/// By default they are those of the `http` crate. Either may be one of [`lazy`](crate::lazy) instead.
pub struct ClassicCodec<Q = http::Request<Body>, P = Reply> {
    limits: Limits,
    messages: PhantomData<fn() -> (Q, P)>,
}

impl ClassicCodec {
    /// A codec with these limits.
    pub fn new(limits: Limits) -> Self {
        Self::of(limits)
    }
}

impl Default for ClassicCodec {
    fn default() -> Self {
        Self::of(Limits::default())
    }
}

impl<Q, P> ClassicCodec<Q, P> {
    /// A codec with these limits for any messages.
    pub fn of(limits: Limits) -> Self {
        Self { limits, messages: PhantomData }
    }

    /// Its limits.
    pub fn limits(&self) -> &Limits {
        &self.limits
    }
}

impl<Q, P> Clone for ClassicCodec<Q, P> {
    fn clone(&self) -> Self {
        Self::of(self.limits)
    }
}

impl<Q, P> fmt::Debug for ClassicCodec<Q, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClassicCodec").field("limits", &self.limits).finish()
    }
}

impl<Q: RequestMessage, P: ReplyMessage> Codec for ClassicCodec<Q, P> {
    type Request = Q;
    type Reply = P;
    type Partial = Partial;

    #[inline]
    fn encode_request(&self, request: &Q, out: &mut Vec<u8>) -> Result<(), BoxError> {
        Ok(request.encode(&self.limits, out).map_err(CodecError::request)?)
    }

    #[inline]
    fn decode_request(&self, partial: &mut Partial, input: &mut BytesMut) -> Result<Option<Decoded<Q, P>>, BoxError> {
        let Some(whole) = decode::request(partial, input, &self.limits).map_err(CodecError::request)? else {
            return Ok(None);
        };
        Ok(Some(match whole.and_then(Q::received) {
            Ok(request) => Decoded::Message(request),
            Err(fault) => Decoded::Refused(refusal(fault)),
        }))
    }

    #[inline]
    fn encode_reply(&self, reply: &P, out: &mut Vec<u8>) -> Result<(), BoxError> {
        Ok(reply.encode(&self.limits, out).map_err(CodecError::reply)?)
    }

    #[inline]
    fn decode_reply(
        &self,
        partial: &mut Partial,
        input: &mut BytesMut,
    ) -> Result<Option<Decoded<P, BoxError>>, BoxError> {
        let Some(whole) = decode::reply(partial, input, &self.limits).map_err(CodecError::reply)? else {
            return Ok(None);
        };
        Ok(Some(match whole.and_then(P::received) {
            Ok(reply) => Decoded::Message(reply),
            Err(fault) => Decoded::Refused(CodecError::reply(fault).into()),
        }))
    }

    fn failure(&self, failure: Failure<'_>) -> P {
        match failure {
            // The very text of the Go server: operators have alerts on it.
            Failure::Overloaded { limit } => P::text(
                StatusCode::TOO_MANY_REQUESTS,
                format!(
                    "concurrency limit exceeded: {limit}. Increase Server.Concurrency or decrease load on the server"
                ),
            ),
            Failure::Draining => P::text(StatusCode::SERVICE_UNAVAILABLE, "the server is shutting down".into()),
            Failure::Panicked => P::text(StatusCode::INTERNAL_SERVER_ERROR, "the request's handler panicked".into()),
            Failure::Unencodable(error) => {
                P::text(StatusCode::BAD_GATEWAY, format!("the reply could not be sent: {error}"))
            }
            _ => P::text(StatusCode::INTERNAL_SERVER_ERROR, "the server failed to answer".into()),
        }
    }
}

/// The reply to a request that is not acceptable.
pub(crate) fn refusal<P: ReplyMessage>(fault: Fault) -> P {
    let error = CodecError::request(fault);
    P::text(error.status(), error.to_string())
}
