//! A body on its way out, whatever it is made of.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use fastrpc::BoxError;
use fastrpc::internals::session::{BodyWriter, SendBody};
use http::HeaderMap;
use http_body::{Body, Frame};

use crate::Limits;
use crate::codec::error::MessageKind;
use crate::codec::framed;

/// Bytes of a body that are sent with its head if they are there at once, and all.
const WHOLE: usize = 16 * 1024;

/// How a body begins.
pub(super) enum Start {
    /// This is all of it.
    Whole(Bytes),
    /// It goes on, after this first piece.
    Pieces(Bytes),
}

impl Start {
    /// Looks at a body once. One that is short and there goes with its head.
    pub(super) fn of<B: Body>(body: Pin<&mut B>) -> Self {
        let mut body = body;
        if body.is_end_stream() {
            return Self::Whole(Bytes::new());
        }
        // Whoever pumps the rest polls it again at once, so nobody needs to be woken from here.
        let first = body.as_mut().poll_frame(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(Some(Ok(frame))) = first else { return Self::Pieces(Bytes::new()) };
        let Ok(mut data) = frame.into_data() else { return Self::Pieces(Bytes::new()) };
        let first = data.copy_to_bytes(data.remaining());
        if first.len() <= WHOLE && body.is_end_stream() { Self::Whole(first) } else { Self::Pieces(first) }
    }

    /// What is sent with the head, and what is pumped first.
    pub(super) fn split(self) -> (SendBody, Bytes) {
        match self {
            Self::Whole(body) => (SendBody::Whole(body), Bytes::new()),
            Self::Pieces(first) => (SendBody::Pieces, first),
        }
    }
}

/// Sends a body piece by piece, as its receiver makes room, until it ends, breaks, or nobody takes it any more.
pub(super) async fn pump<B>(
    mut body: Pin<Box<B>>,
    first: Bytes,
    mut writer: BodyWriter,
    of: MessageKind,
    limits: Limits,
) where
    B: Body,
    B::Error: Into<BoxError>,
{
    if !first.is_empty() && writer.write(first).await.is_err() {
        return;
    }
    loop {
        match next(body.as_mut(), &mut writer).await {
            Next::Piece(piece) => {
                if writer.write(piece).await.is_err() {
                    return;
                }
            }
            Next::End(trailers) => {
                // Trailers that cannot be sent break the stream off: a part must not pass for the whole.
                let _ = encode(trailers.as_ref(), of, &limits).map(|trailers| writer.finish(trailers));
                return;
            }
            Next::Broken => return, // Dropping the writer tells the receiver.
        }
    }
}

enum Next {
    Piece(Bytes),
    End(Option<HeaderMap>),
    Broken,
}

async fn next<B: Body>(mut body: Pin<&mut B>, writer: &mut BodyWriter) -> Next {
    poll_fn(|cx| {
        if writer.poll_gone(cx).is_ready() {
            return Poll::Ready(Next::Broken);
        }
        body.as_mut().poll_frame(cx).map(|frame| match frame {
            None => Next::End(None),
            Some(Err(_)) => Next::Broken,
            Some(Ok(frame)) => sorted(frame),
        })
    })
    .await
}

fn sorted<D: Buf>(frame: Frame<D>) -> Next {
    match frame.into_data() {
        Ok(mut data) => Next::Piece(data.copy_to_bytes(data.remaining())),
        Err(frame) => Next::End(frame.into_trailers().ok()),
    }
}

fn encode(trailers: Option<&HeaderMap>, of: MessageKind, limits: &Limits) -> Result<Option<Bytes>, crate::CodecError> {
    let Some(trailers) = trailers else { return Ok(None) };
    let mut bytes = Vec::new();
    framed::encode_trailers(of, trailers, limits, &mut bytes)?;
    Ok(Some(bytes.into()))
}
