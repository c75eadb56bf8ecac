//! The body of a reply on its way to the client: bytes at hand, or a stream from an HTTP upstream.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::Full;
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use crate::balance::Load;
use crate::outbound::pool::Lease;

/// How long a streamed body may pause between two pieces.
const LONGEST_PAUSE: Duration = Duration::from_secs(120);

/// Any error of a body; the client sees its connection end early.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a reply. It counts as load, of its upstream and of the process, until it is dropped.
pub(crate) struct Body {
    kind: Kind,
    held: Option<(Load, Load)>,
    caller: Option<Load>,
}

enum Kind {
    Full(Full<Bytes>),
    Stream(Stream),
}

struct Stream {
    incoming: Incoming,
    /// The connection it comes over, given back when the last piece has come.
    lease: Option<Lease>,
    /// Made when a piece is waited for, so that a body that is there at once needs no timer.
    pause: Option<Pin<Box<Sleep>>>,
}

impl Body {
    /// A streamed body that comes over the connection leased.
    pub(crate) fn stream(incoming: Incoming, lease: Lease) -> Body {
        let mut stream = Stream { incoming, lease: Some(lease), pause: None };
        stream.release_if_done();
        Body { kind: Kind::Stream(stream), held: None, caller: None }
    }

    /// Makes the body hold what its request occupies.
    pub(crate) fn holding(mut self, upstream: Load, process: Load) -> Body {
        self.held = Some((upstream, process));
        self
    }

    /// Makes the body hold what its request occupies of its client's connection.
    pub(crate) fn of_caller(mut self, caller: Option<Load>) -> Body {
        self.caller = caller;
        self
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Body {
        Body { kind: Kind::Full(Full::new(bytes)), held: None, caller: None }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.kind {
            Kind::Full(full) => Pin::new(full).poll_frame(cx).map_err(|never| match never {}),
            Kind::Stream(stream) => stream.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Full(full) => full.is_end_stream(),
            Kind::Stream(stream) => stream.incoming.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Full(full) => full.size_hint(),
            Kind::Stream(stream) => stream.incoming.size_hint(),
        }
    }
}

impl Stream {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let next = match &mut self.lease {
            Some(lease) => lease.connection().poll_body(&mut self.incoming, cx),
            // Its last piece has come, or it has failed.
            None => Pin::new(&mut self.incoming).poll_frame(cx),
        };
        match next {
            Poll::Ready(frame) => {
                self.pause = None;
                match &frame {
                    Some(Ok(_)) => self.release_if_done(),
                    Some(Err(_)) => self.lease = None,
                    None => self.release(),
                }
                Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
            }
            Poll::Pending => {
                let pause = self
                    .pause
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + LONGEST_PAUSE)));
                ready!(pause.as_mut().poll(cx));
                self.lease = None;
                Poll::Ready(Some(Err("the upstream stopped in the middle of its reply".into())))
            }
        }
    }

    fn release_if_done(&mut self) {
        if self.incoming.is_end_stream() {
            self.release();
        }
    }

    fn release(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
    }
}
