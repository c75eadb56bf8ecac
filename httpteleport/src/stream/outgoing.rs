//! A body on its way out, whatever it is made of.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use fastrpc::BoxError;
use fastrpc::stream::{BodyWriter, SendBody};
use fastrpc::wire::framed::codec::looks_incompressible;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use http_body::{Body, Frame};

use crate::Limits;
use crate::codec::error::MessageKind;
use crate::codec::framed;

/// Bytes of a body that are sent with its head if they are there at once, and all.
pub(super) const WHOLE: usize = 16 * 1024;

/// How a body begins.
#[derive(Debug)]
pub(super) enum Start {
    /// This is all of it.
    Whole(Bytes),
    /// It goes on like this.
    Goes(Next),
}

impl Start {
    /// Looks at a body once, if it says that it is short: one that is there goes with its head. Another is not asked for
    /// anything before its call leaves.
    pub(super) fn of_request<B: Body<Error: Into<BoxError>>>(body: Pin<&mut B>) -> Self {
        let short = body.is_end_stream() || body.size_hint().upper().is_some_and(|upper| upper <= WHOLE as u64);
        if short { Self::of(body) } else { Self::Goes(Next::Piece(Bytes::new())) }
    }

    /// Looks at a body once. One that is short and there goes with its head.
    pub(super) fn of<B: Body<Error: Into<BoxError>>>(mut body: Pin<&mut B>) -> Self {
        if body.is_end_stream() {
            return Self::Whole(Bytes::new());
        }
        // Whoever pumps the rest polls it again at once, so nobody needs to be woken from here.
        match body.as_mut().poll_frame(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => Self::Goes(Next::Piece(Bytes::new())),
            Poll::Ready(None) => Self::Whole(Bytes::new()),
            Poll::Ready(Some(Err(error))) => Self::Goes(Next::Broken(error.into())),
            Poll::Ready(Some(Ok(frame))) => match sorted(frame) {
                Next::Piece(piece) if piece.len() <= WHOLE && body.is_end_stream() => Self::Whole(piece),
                next => Self::Goes(next),
            },
        }
    }

    /// What was to be sent and was not.
    pub(super) fn again(next: Next) -> Self {
        if let Next::Whole(body) = next { Self::Whole(body) } else { Self::Goes(next) }
    }

    /// What is sent with the head, and what is pumped first.
    pub(super) fn split(self) -> (SendBody, Next) {
        match self {
            Self::Whole(body) => (SendBody::Whole(body), Next::End(None)),
            Self::Goes(next) => (SendBody::Pieces, next),
        }
    }
}

/// Of which message a body is.
pub(super) struct Sender {
    message: MessageKind,
    limits: Limits,
    /// It is compressed already.
    raw: bool,
}

impl Sender {
    /// Of one with these headers.
    pub(super) fn of(message: MessageKind, headers: &HeaderMap, limits: Limits) -> Self {
        Self { message, limits, raw: is_compressed(headers) }
    }
}

/// Whether headers say that their body does not compress.
fn is_compressed(headers: &HeaderMap) -> bool {
    const PACKED: [&str; 6] = ["image/", "video/", "audio/", "font/woff", "application/zip", "application/gzip"];
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
    let (encoding, kind) = (text(CONTENT_ENCODING), text(CONTENT_TYPE));
    let packed = PACKED.iter().any(|packed| kind.starts_with(packed)) && !kind.starts_with("image/svg");
    packed || !(encoding.is_empty() || encoding.eq_ignore_ascii_case("identity"))
}

/// Sends a body once its head has left. What it had of the body comes back if the head never left.
pub(super) async fn pump_once_sent<B>(
    mut body: Pin<Box<B>>,
    first: Next,
    mut writer: BodyWriter,
    of: Sender,
) -> Option<(Next, Pin<Box<B>>)>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    match writer.sent().await {
        Ok(()) => {
            pump(body.as_mut(), first, writer, of).await;
            None
        }
        Err(error) => error.may_retry().then_some((first, body)),
    }
}

/// Sends a body piece by piece, as its receiver makes room, until it ends, breaks, or nobody takes it any more.
pub(super) async fn pump<B>(mut body: Pin<&mut B>, first: Next, mut writer: BodyWriter, of: Sender)
where
    B: Body,
    B::Error: Into<BoxError>,
{
    let Sender { message, limits, mut raw } = of;
    if raw {
        writer.raw();
    }
    let mut step = first;
    loop {
        match step {
            Next::Whole(piece) | Next::Piece(piece) => {
                if !raw && looks_incompressible(&piece) {
                    raw = true;
                    writer.raw();
                }
                if writer.write(piece).await.is_err() {
                    return;
                }
            }
            Next::End(trailers) => {
                // Trailers that cannot be sent break the stream off: a part must not pass for the whole.
                let _ = encode(trailers.as_ref(), message, &limits).map(|trailers| writer.finish(trailers));
                return;
            }
            Next::Broken(_) | Next::Gone => return, // Dropping the writer tells the receiver.
        }
        step = next(body.as_mut(), &mut writer).await;
    }
}

/// What comes next of a body.
#[derive(Debug)]
pub(super) enum Next {
    /// All of it.
    Whole(Bytes),
    Piece(Bytes),
    End(Option<HeaderMap>),
    Broken(BoxError),
    /// Nobody takes it any more.
    Gone,
}

async fn next<B: Body<Error: Into<BoxError>>>(mut body: Pin<&mut B>, writer: &mut BodyWriter) -> Next {
    poll_fn(|cx| {
        if writer.poll_gone(cx).is_ready() {
            return Poll::Ready(Next::Gone);
        }
        body.as_mut().poll_frame(cx).map(|frame| match frame {
            None => Next::End(None),
            Some(Err(error)) => Next::Broken(error.into()),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compressed_already_is_known_by_its_headers() {
        for (name, value, compressed) in [
            ("content-encoding", "gzip", true),
            ("content-encoding", "Identity", false),
            ("content-type", "image/png", true),
            ("content-type", "image/svg+xml", false),
            ("content-type", "application/json", false),
            ("content-type", "video/mp4; codecs=avc1", true),
        ] {
            let headers = HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]);
            assert_eq!(is_compressed(&headers), compressed, "{name}: {value}");
        }
        assert!(!is_compressed(&HeaderMap::new()));
    }
}
