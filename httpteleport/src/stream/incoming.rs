//! A body that arrives in pieces.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use fastrpc::internals::session::BodyReader;
use fastrpc::wire::framed::frame::ResetCode;
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, StatusCode};
use http_body::{Frame, SizeHint};

use crate::codec::error::{CodecError, Fault, MessageKind};
use crate::codec::framed;
use crate::{Error, Limits};

/// A body that arrives in pieces, each as it comes; trailers last. Dropping that of a response before its end cancels the
/// call.
pub struct Incoming {
    reader: BodyReader,
    of: MessageKind,
    limits: Limits,
    /// What `Content-Length` says is still to come.
    left: Option<u64>,
    ended: bool,
}

impl Incoming {
    /// Of a message with these headers. `bare`: it has no body whatever they say.
    pub(super) fn new(reader: BodyReader, of: MessageKind, headers: &HeaderMap, bare: bool, limits: Limits) -> Self {
        let length = || headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok();
        let left = if bare { Some(0) } else { length() };
        Self { reader, of, limits, left, ended: false }
    }

    fn fail(&mut self, fault: Fault) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.ended = true;
        let error = CodecError::new(self.of, fault);
        self.reader.refuse(ResetCode::Malformed, error.to_string());
        Poll::Ready(Some(Err(fastrpc::Error::refused_reply(error).into())))
    }

    fn piece(&mut self, piece: Bytes) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Some(left) = &mut self.left {
            match left.checked_sub(piece.len() as u64) {
                Some(rest) => *left = rest,
                None => return self.fail(Fault::BadLength),
            }
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn end(&mut self) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.ended = true;
        if self.left.is_some_and(|left| left > 0) {
            return self.fail(Fault::BadLength);
        }
        let Some(trailers) = self.reader.trailers() else { return Poll::Ready(None) };
        match framed::decode_trailers(self.of, &trailers, &self.limits) {
            Ok(trailers) if trailers.is_empty() => Poll::Ready(None),
            Ok(trailers) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Err(error) => self.fail(error.fault()),
        }
    }
}

impl http_body::Body for Incoming {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let this = self.get_mut();
        if this.ended {
            return Poll::Ready(None);
        }
        match ready!(this.reader.poll_piece(cx)) {
            Some(Ok(piece)) => this.piece(piece),
            Some(Err(error)) => {
                this.ended = true;
                Poll::Ready(Some(Err(error.into())))
            }
            None => this.end(),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ended
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Whether a response has no body whatever its headers say.
pub(super) fn is_bare(asked: &Method, status: StatusCode) -> bool {
    *asked == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}
