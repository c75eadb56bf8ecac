//! A body that is given away, and comes back as long as nothing of it was taken.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

use super::RequestBody;
use crate::body::BoxError;

/// What was given away, and may be had again.
pub(crate) enum Held {
    /// All of it is at hand.
    Whole(Bytes),
    /// It streams.
    Stream(Arc<Shared>),
}

/// Where a body waits that nothing was taken of.
pub(crate) struct Shared(Mutex<Option<Box<RequestBody>>>);

/// A streamed body that may be taken back.
pub(super) enum Lent {
    Untouched(Arc<Shared>),
    Begun(Box<RequestBody>),
}

impl Held {
    /// Whether all of it is at hand, so that it comes back whatever happened.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self, Held::Whole(_))
    }

    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Held::Whole(bytes) if bytes.is_empty())
    }

    /// The body once more, if it is whole or nothing of it was taken. What was given away is worth nothing then.
    pub(crate) fn take(self) -> Option<RequestBody> {
        match self {
            Held::Whole(bytes) => Some(bytes.into()),
            Held::Stream(shared) => shared.lock().take().map(|body| *body),
        }
    }
}

impl Shared {
    pub(super) fn new(body: RequestBody) -> Arc<Shared> {
        Arc::new(Shared(Mutex::new(Some(Box::new(body)))))
    }

    fn lock(&self) -> MutexGuard<'_, Option<Box<RequestBody>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lent {
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self {
            Lent::Begun(body) => Pin::new(&mut **body).poll_frame(cx),
            Lent::Untouched(shared) => {
                let mut waiting = shared.lock();
                // It must not look like the end of the body.
                let Some(body) = waiting.as_mut() else { return Poll::Ready(Some(Err(Box::new(TakenBack)))) };
                let first = ready!(Pin::new(&mut **body).poll_frame(cx));
                let body = waiting.take();
                drop(waiting);
                if let Some(body) = body {
                    *self = Lent::Begun(body);
                }
                Poll::Ready(first)
            }
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.with(RequestBody::is_end_stream).unwrap_or(false)
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        self.with(RequestBody::size_hint).unwrap_or_default()
    }

    /// Looks at the body, if it is still here.
    pub(super) fn with<T>(&self, look: impl FnOnce(&RequestBody) -> T) -> Option<T> {
        match self {
            Lent::Begun(body) => Some(look(body)),
            Lent::Untouched(shared) => shared.lock().as_deref().map(look),
        }
    }
}

/// Why nothing more comes of a body that is sent elsewhere.
#[derive(Debug)]
struct TakenBack;

impl fmt::Display for TakenBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request is sent elsewhere")
    }
}

impl std::error::Error for TakenBack {}

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt as _, StreamExt as _, stream};
    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    /// A body whose first piece comes when it is polled for the second time.
    fn body() -> RequestBody {
        let piece = |text: &'static str| Ok::<_, BoxError>(Frame::data(Bytes::from(text)));
        let first = stream::once(async move {
            tokio::task::yield_now().await;
            piece("first ")
        });
        RequestBody::stream(StreamBody::new(Box::pin(first.chain(stream::iter([piece("second")])))))
    }

    #[tokio::test]
    async fn it_comes_back_until_its_first_piece_was_taken() {
        let (mut lent, held) = body().held();
        assert!(lent.progress().is_some() && !held.is_whole());
        assert!(lent.frame().now_or_never().is_none(), "nothing is there yet");
        let (mut again, held) = held.take().expect("untouched").held();
        assert!(lent.frame().await.expect("a frame").is_err(), "it is not the end");
        assert_eq!(again.frame().await.expect("a frame").expect("well").into_data().expect("data"), "first ");
        assert!(held.take().is_none(), "it has begun");
        assert_eq!(again.collect().await.expect("well").to_bytes(), "second");
    }

    #[tokio::test]
    async fn one_that_is_whole_always_comes_back() {
        let (lent, held) = RequestBody::from(Bytes::from("all")).held();
        assert_eq!(lent.collect().await.expect("well").to_bytes(), "all");
        assert!(held.is_whole());
        assert_eq!(held.take().expect("it").collect().await.expect("well").to_bytes(), "all");
    }
}
