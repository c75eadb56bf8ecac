//! A request on its way to an upstream, and its body: bytes at hand, or a stream.

use std::fmt;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use httpteleport::stream::Unsent;

use crate::body::BoxError;
use crate::counters::Counters;
use crate::listen::Client;
use crate::refusal::{Reason, Refusal};
use crate::trailers::Withheld;

mod held;
mod rewind;

pub(crate) use self::held::Held;
use self::held::Lent;
use self::rewind::Rewind;

/// A request as it goes to an upstream. Boxed, because it passes through many hands.
pub(crate) type Outgoing = Box<Request<RequestBody>>;

/// Makes the request have no trailers of these names; can be done twice.
pub(crate) fn withhold(request: &mut Request<RequestBody>, names: &Withheld) {
    if let Kind::Stream(stream) = &mut request.body_mut().0
        && let Some(free) = stream.withheld.iter_mut().find(|withheld| withheld.is_empty())
        && !names.is_empty()
    {
        *free = names.clone();
        names.clean_announced(request.headers_mut());
    }
}

/// The body of a request.
pub(crate) struct RequestBody(Kind);

enum Kind {
    /// At hand, so it can be sent again if it never left.
    Whole(Bytes),
    /// Comes as it is asked for, once.
    Stream(Stream),
    /// Streams, and may be taken back.
    Lent(Lent),
    /// Was taken back, and begins again.
    Again(Box<Rewind>),
}

struct Stream {
    body: UnsyncBoxBody<Bytes, BoxError>,
    progress: Arc<Progress>,
    /// Names that are not among its trailers: of the listener, and of the route.
    withheld: [Withheld; 2],
}

/// How far a streamed body has come, for whoever waits for the reply.
#[derive(Default)]
pub(crate) struct Progress {
    moved: AtomicBool,
    awaited: AtomicBool,
    over: AtomicBool,
    /// Why it ended early.
    fault: OnceLock<BodyFault>,
}

/// Why a streamed body ended early. Its client has to answer for that, not the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyFault {
    /// It has more bytes than it may have.
    TooLarge,
    /// The fields behind it have.
    LargeTrailers,
    /// The client paused for too long.
    Slow,
    /// It is not HTTP.
    Broken,
    /// The client hung up, or took it back.
    Gone,
}

impl RequestBody {
    /// A body that comes as it is asked for. Its errors are [`BodyFault`]s where the client is at fault.
    pub(crate) fn stream(body: impl Body<Data = Bytes, Error = BoxError> + Send + 'static) -> RequestBody {
        RequestBody(Kind::Stream(Stream {
            body: body.boxed_unsync(),
            progress: Arc::default(),
            withheld: Default::default(),
        }))
    }

    /// A body that never left.
    pub(crate) fn again(unsent: Unsent<RequestBody>) -> RequestBody {
        match unsent.into_untouched() {
            Ok(body) => body,
            Err(unsent) => match unsent.as_whole() {
                Some(bytes) => bytes.clone().into(),
                None => RequestBody::stream(unsent),
            },
        }
    }

    /// The same body, if it is whole.
    pub(crate) fn copy(&self) -> Option<RequestBody> {
        match &self.0 {
            Kind::Whole(bytes) => Some(bytes.clone().into()),
            Kind::Stream(_) | Kind::Lent(_) | Kind::Again(_) => None,
        }
    }

    /// The same body to give away, and what brings it back as long as that does no harm.
    pub(crate) fn held(self) -> (RequestBody, Held) {
        let rewind = match self.0 {
            Kind::Whole(bytes) => return (bytes.clone().into(), Held::Whole(bytes)),
            Kind::Again(rewind) => rewind,
            kind @ (Kind::Stream(_) | Kind::Lent(_)) => Box::new(Rewind::new(RequestBody(kind))),
        };
        let (lent, held) = held::lend(rewind);
        (RequestBody(Kind::Lent(lent)), held)
    }

    /// How far it has come; none for one that is whole.
    pub(crate) fn progress(&self) -> Option<Arc<Progress>> {
        match &self.0 {
            Kind::Whole(_) => None,
            Kind::Stream(stream) => Some(Arc::clone(&stream.progress)),
            Kind::Lent(lent) => lent.with(|rewind| rewind.body().progress()).flatten(),
            Kind::Again(rewind) => rewind.body().progress(),
        }
    }

    /// Notes that something was taken of it, though not from its client.
    fn moved(&self) {
        if let Kind::Stream(stream) = &self.0 {
            stream.progress.note(&Poll::Ready(()));
        }
    }
}

impl From<Bytes> for RequestBody {
    fn from(bytes: Bytes) -> RequestBody {
        RequestBody(Kind::Whole(bytes))
    }
}

impl Default for RequestBody {
    fn default() -> RequestBody {
        Bytes::new().into()
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Whole(bytes) => write!(f, "{} bytes", bytes.len()),
            Kind::Stream(_) | Kind::Lent(_) | Kind::Again(_) => f.write_str("a stream"),
        }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Kind::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Kind::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(mem::take(bytes))))),
            Kind::Stream(stream) => {
                let next = Pin::new(&mut stream.body).poll_frame(cx);
                stream.progress.note(&next);
                if let Poll::Ready(Some(Err(error))) = &next
                    && let Some(fault) = BodyFault::of(&**error)
                {
                    let _ = stream.progress.fault.set(fault); // The first one counts.
                }
                let [one, two] = &stream.withheld;
                next.map_ok(|frame| two.clean(one.clean(frame)))
            }
            Kind::Lent(lent) => lent.poll_frame(cx),
            Kind::Again(rewind) => rewind.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(bytes) => bytes.is_empty(),
            Kind::Stream(stream) => stream.body.is_end_stream(),
            Kind::Lent(lent) => lent.is_end_stream(),
            Kind::Again(rewind) => rewind.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Stream(stream) => stream.body.size_hint(),
            Kind::Lent(lent) => lent.size_hint(),
            Kind::Again(rewind) => rewind.size_hint(),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.progress.over.store(true, Ordering::Relaxed);
    }
}

impl Progress {
    fn note<T>(&self, next: &Poll<T>) {
        self.awaited.store(next.is_pending(), Ordering::Relaxed);
        if next.is_ready() {
            self.moved.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the upstream has taken something since the last time this was asked, or waits for the client.
    pub(crate) fn goes_on(&self) -> bool {
        self.moved.swap(false, Ordering::Relaxed) || (self.awaited.load(Ordering::Relaxed) && !self.is_over())
    }

    /// Whether its client was waited for when it was looked at last.
    pub(crate) fn is_awaited(&self) -> bool {
        self.awaited.load(Ordering::Relaxed)
    }

    /// Why it ended early, if it did.
    pub(crate) fn fault(&self) -> Option<BodyFault> {
        self.fault.get().copied()
    }

    /// Whether all of it was taken, or nobody is left who would take it.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

impl BodyFault {
    /// The fault behind an error, if it is one.
    pub(crate) fn of(error: &(dyn std::error::Error + 'static)) -> Option<BodyFault> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(fault) = error.downcast_ref::<BodyFault>() {
                return Some(*fault);
            }
            next = error.source();
        }
        None
    }

    /// What the client is answered.
    pub(crate) fn status(self) -> StatusCode {
        self.reason().status()
    }

    /// The same as a reason to refuse the request.
    pub(crate) fn reason(self) -> Reason {
        match self {
            BodyFault::TooLarge => Reason::LargeBody,
            BodyFault::LargeTrailers => Reason::LargeHead,
            BodyFault::Slow => Reason::SlowBody,
            BodyFault::Broken => Reason::Malformed,
            BodyFault::Gone => Reason::Gone,
        }
    }

    /// What is said when nothing was sent on yet.
    pub(crate) fn refusal(self) -> Refusal {
        Refusal::new(self.reason(), self.why())
    }

    /// Counts and logs the end of a body that is on its way already.
    pub(crate) fn note(self, client: Client, counters: &Counters) {
        self.reason().note(counters, client, format_args!("broken off: {self}"));
    }

    /// The same in words.
    pub(crate) fn why(self) -> &'static str {
        match self {
            BodyFault::TooLarge => "the request's body is too large",
            BodyFault::LargeTrailers => "the request's trailers are too large",
            BodyFault::Slow => "the request's body stopped",
            BodyFault::Broken => "the request's body is broken",
            BodyFault::Gone => "the client hung up in the middle of the request's body",
        }
    }
}

impl fmt::Display for BodyFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.why())
    }
}

impl std::error::Error for BodyFault {}
