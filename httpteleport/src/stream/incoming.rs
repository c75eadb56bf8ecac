//! A body that arrives in pieces.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use fastrpc::stream::{BodyReader, ResetCode};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, StatusCode};
use http_body::{Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use crate::codec::error::{CodecError, Fault, MessageKind};
use crate::codec::framed;
use crate::{Body, Error, Limits};

/// A body that arrives in pieces, each as it comes; trailers last. Dropping that of a response before its end cancels the
/// call.
///
/// # Errors
///
/// It breaks off with its connection, when its sender breaks it off, when it is not as long as it said, and when nothing of it
/// comes for the longest pause that is allowed ([`Error::is_timeout`]). After such a pause in a request its handler can still
/// answer, 408 for instance; after the others nobody waits for an answer.
pub struct Incoming(Source);

enum Source {
    /// It came whole.
    Whole(Bytes),
    Pieces(Box<Pieces>),
}

struct Pieces {
    reader: BodyReader,
    of: MessageKind,
    limits: Limits,
    /// What `Content-Length` says is still to come.
    left: Option<u64>,
    ended: bool,
    /// The longest pause between two pieces; none for a stream that was upgraded.
    pause: Option<Duration>,
    /// Made when a piece is waited for, so that a body that is there at once needs no timer.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Incoming {
    /// Of a message with these headers. `bare`: it has no body whatever they say.
    pub(crate) fn new(
        mut reader: BodyReader,
        of: MessageKind,
        headers: &HeaderMap,
        bare: bool,
        limits: Limits,
        pause: Option<Duration>,
    ) -> Self {
        let left = said_length(headers, bare);
        // Most are here already, and as long as they should be.
        if reader.whole_len().is_some_and(|length| left.is_none_or(|left| left == length as u64)) {
            return Self(Source::Whole(reader.take_whole()));
        }
        Self(Source::Pieces(Box::new(Pieces { reader, of, limits, left, ended: false, pause, timer: None })))
    }
}

/// How long a body is, if its head says so; `bare`: it has none, whatever that says.
pub(crate) fn said_length(headers: &HeaderMap, bare: bool) -> Option<u64> {
    if bare { Some(0) } else { headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok() }
}

impl Incoming {
    /// What is wrong with it, if it came whole and is not as long as it says.
    pub(super) fn contradiction(&self) -> Option<CodecError> {
        let Source::Pieces(pieces) = &self.0 else { return None };
        pieces.reader.whole_len().map(|_| CodecError::new(pieces.of, Fault::WrongLength))
    }

    /// All of it, where it came whole with its head, or on the classic wire.
    ///
    /// # Errors
    ///
    /// It comes in pieces: this comes back.
    pub fn into_whole(self) -> Result<Bytes, Self> {
        match self.0 {
            Source::Whole(bytes) => Ok(bytes),
            Source::Pieces(mut pieces) => match pieces.whole() {
                Some(bytes) => Ok(bytes),
                None => Err(Self(Source::Pieces(pieces))),
            },
        }
    }
}

impl From<Body> for Incoming {
    fn from(body: Body) -> Self {
        Self(Source::Whole(body.into_bytes()))
    }
}

impl Pieces {
    /// All of it, if it came whole and is as long as it says.
    fn whole(&mut self) -> Option<Bytes> {
        let length = self.reader.whole_len()?;
        if self.ended || self.left.is_some_and(|left| left != length as u64) {
            return None;
        }
        self.ended = true;
        Some(self.reader.take_whole())
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Poll::Ready(piece) = self.reader.poll_piece(cx) else { return self.poll_pause(cx) };
        self.timer = None;
        match piece {
            Some(Ok(piece)) => self.piece(piece),
            Some(Err(error)) => {
                self.ended = true;
                Poll::Ready(Some(Err(error.into())))
            }
            None => self.end(),
        }
    }

    fn poll_pause(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let Some(pause) = self.pause else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(pause)));
        ready!(timer.as_mut().poll(cx));
        self.ended = true;
        let why = format!("nothing of the body came for {pause:?}");
        // Whoever sends a request that stalls can be told so in a response; for one that gets a stalled response nothing is left.
        if self.of == MessageKind::Reply {
            self.reader.refuse(ResetCode::Late, why.clone());
        }
        Poll::Ready(Some(Err(fastrpc::Error::stalled(why).into())))
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
                None => return self.fail(Fault::WrongLength),
            }
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn end(&mut self) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        self.ended = true;
        if self.left.is_some_and(|left| left > 0) {
            return self.fail(Fault::WrongLength);
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

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        match &mut self.0 {
            Source::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Source::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Source::Pieces(pieces) => {
                let polled = pieces.poll_frame(cx);
                if pieces.ended {
                    self.0 = Source::Whole(Bytes::new()); // What it occupied is free, however long it is kept.
                }
                polled
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Source::Whole(bytes) => bytes.is_empty(),
            Source::Pieces(pieces) => pieces.reader.is_empty() && pieces.left.unwrap_or(0) == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Source::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Pieces(pieces) => {
                let whole = || pieces.reader.whole_len().map(|length| length as u64);
                pieces.left.or_else(whole).map_or_else(SizeHint::default, SizeHint::with_exact)
            }
        }
    }
}

impl fmt::Debug for Incoming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Incoming").field("size", &http_body::Body::size_hint(self).exact()).finish_non_exhaustive()
    }
}

/// Whether a response has no body whatever its headers say.
pub(super) fn is_bare(asked: &Method, status: StatusCode) -> bool {
    *asked == Method::HEAD || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}
