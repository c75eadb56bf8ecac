//! The body of a reply on its way to the client: bytes at hand, or a stream from an HTTP upstream.

use std::error::Error;
use std::fmt;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::Full;
use http_body_util::combinators::UnsyncBoxBody;
use httpteleport::ErrorKind;
use hyper::body::Incoming;
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tokio::time::{Instant, Sleep};

use crate::access_log::Exchange;
use crate::balance::Load;
use crate::headers::size_of_fields;
use crate::inbound::Busy;
use crate::outbound::pool::Lease;
use crate::outbound::{Attempt, FailureKind, one_line};
use crate::spans::Span;
use crate::timer::poll_late;
use crate::tls::cause;
use crate::trailers::Withheld;

/// Any error of a body; the client sees its connection end early.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// The body of a reply. It counts as load, of its upstream and of the process, until it is dropped.
pub(crate) struct Body {
    kind: Kind,
    held: Option<(Attempt, Load)>,
    caller: Option<Busy>,
    /// It has failed, which its client learns when it has what came before.
    broken: Option<Box<Broken>>,
    /// It does so at once.
    abrupt: bool,
    client: Option<Load>,
    /// Names that are not among its trailers.
    withheld: Withheld,
    /// Where its line of the access log is made.
    logged: Option<Box<Exchange>>,
    /// What ends with it: the span of the request to the upstream, and then that of the request itself.
    attempted: Option<Span>,
    span: Option<Span>,
    /// Nothing more comes of it.
    over: bool,
}

struct Broken {
    error: BoxError,
    written: oneshot::Receiver<()>,
}

enum Kind {
    Full(Full<Bytes>),
    Stream(Stream),
    /// Comes over teleport.
    Teleport(httpteleport::stream::Incoming),
    Other(UnsyncBoxBody<Bytes, BoxError>),
}

/// What a streamed body is held to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HeldTo {
    /// The longest pause between two pieces.
    pub(crate) pause: Duration,
    /// Most bytes of its trailers, as HTTP/2 counts them.
    pub(crate) trailers: usize,
}

struct Stream {
    incoming: Incoming,
    source: Source,
    /// What was here of it when its head was; boxed, as few have any.
    ahead: Option<Box<Frame<Bytes>>>,
    held_to: HeldTo,
    /// Made when a piece is waited for, so that a body that is there at once needs no timer.
    pause: Option<Pin<Box<Sleep>>>,
}

/// The connection that it comes over.
enum Source {
    /// Polled with the body, and given back when the last piece has come.
    Leased(Lease),
    /// Has a task of its own, which learns from this that nobody reads the body any more.
    Apart(#[expect(dead_code, reason = "its drop is what tells")] oneshot::Sender<()>),
    /// Shared with other requests.
    Shared(#[expect(dead_code, reason = "held until the last piece has come")] (OwnedSemaphorePermit, Load)),
    /// Gone: the last piece has come, or it has failed.
    Gone,
}

impl Body {
    fn of(kind: Kind) -> Body {
        Body {
            kind,
            held: None,
            caller: None,
            broken: None,
            abrupt: false,
            client: None,
            withheld: Withheld::default(),
            logged: None,
            attempted: None,
            span: None,
            over: false,
        }
    }

    /// A streamed body that comes over the connection leased; `early` if the body of its
    /// request has not ended.
    ///
    /// # Errors
    ///
    /// What is here of it already is no body.
    pub(crate) fn stream(incoming: Incoming, lease: Lease, early: bool, held_to: HeldTo) -> Result<Body, BoxError> {
        let mut stream = Stream { incoming, source: Source::Leased(lease), ahead: None, held_to, pause: None };
        stream.release_if_done();
        if early {
            stream.part();
        } else {
            stream.look_ahead()?;
        }
        Ok(Body::of(Kind::Stream(stream)))
    }

    /// A streamed body that comes over a connection of HTTP/2, which has a task.
    pub(crate) fn multiplexed(incoming: Incoming, held: (OwnedSemaphorePermit, Load), held_to: HeldTo) -> Body {
        let mut stream = Stream { incoming, source: Source::Shared(held), ahead: None, held_to, pause: None };
        stream.release_if_done();
        Body::of(Kind::Stream(stream))
    }

    /// A body that comes over teleport.
    pub(crate) fn teleport(incoming: httpteleport::stream::Incoming) -> Body {
        Body::of(Kind::Teleport(incoming))
    }

    /// A body that comes from wherever, with its own limits.
    pub(crate) fn boxed(body: UnsyncBoxBody<Bytes, BoxError>) -> Body {
        Body::of(Kind::Other(body))
    }

    /// Makes the body hold what its request occupies, and keep the upstream that it comes from: other settings may have no
    /// place for that. The span of that request ends with it.
    pub(crate) fn holding(mut self, upstream: Attempt, process: Load, span: Option<Span>) -> Body {
        self.held = Some((upstream, process));
        self.attempted = span;
        self
    }

    /// Makes the body keep its client's connection busy, which writes what came of the body before that fails.
    pub(crate) fn keep_busy(&mut self, caller: Busy) {
        self.caller = Some(caller);
    }

    /// Makes the body fail at once where it fails: whoever reads it writes it to the client, and no HTTP.
    pub(crate) fn breaks_at_once(&mut self) {
        self.abrupt = true;
    }

    /// Makes it have no trailers of these names.
    pub(crate) fn withhold(&mut self, names: &Withheld) {
        self.withheld = names.clone();
    }

    /// How long it is, if all of it is here.
    pub(crate) fn length_at_hand(&self) -> Option<u64> {
        if let Kind::Full(full) = &self.kind { full.size_hint().exact() } else { None }
    }

    /// Gives up what is to come of it, and keeps what it holds.
    pub(crate) fn leave_out(&mut self) {
        self.kind = Kind::Full(Full::default());
    }

    /// Makes the body hold what its request occupies of its client's limits.
    pub(crate) fn keep(&mut self, client: Option<Load>) {
        self.client = client;
    }
}

impl Body {
    /// Makes the body a part of what the access log says of its request: the line is written when it is dropped.
    pub(crate) fn log(&mut self, mut exchange: Box<Exchange>) {
        if let Some((attempt, _)) = &self.held {
            exchange.by(attempt.target().name());
        }
        self.logged = Some(exchange);
    }

    /// Makes the span of the request end when the body is dropped.
    pub(crate) fn end_span(&mut self, span: Span) {
        self.span = Some(span);
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Body {
        Body::of(Kind::Full(Full::new(bytes)))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.broken.is_some() {
            return self.poll_broken(cx);
        }
        let next = match &mut self.kind {
            Kind::Full(full) => Pin::new(full).poll_frame(cx).map_err(|never| match never {}),
            Kind::Stream(stream) => stream.poll_frame(cx),
            Kind::Teleport(incoming) => Pin::new(incoming).poll_frame(cx).map_err(Into::into),
            Kind::Other(body) => Pin::new(body).poll_frame(cx),
        };
        let next = next.map_ok(|frame| self.withheld.clean(frame));
        self.over |= matches!(&next, Poll::Ready(None | Some(Err(_))));
        if let (Poll::Ready(Some(frame)), Some((attempt, _))) = (&next, &mut self.held) {
            match frame.as_ref().map(Frame::trailers_ref) {
                Ok(None) => {}
                Ok(Some(trailers)) => {
                    attempt.note_trailers(trailers);
                    self.over = true;
                }
                Err(error) => {
                    attempt.note_broken(broke_alone(&**error), &**error);
                    if let Some(span) = &mut self.attempted {
                        span.failed(FailureKind::Broken);
                    }
                }
            }
        }
        if let (Poll::Ready(Some(Ok(frame))), Some(exchange)) = (&next, &mut self.logged) {
            exchange.sent(frame.data_ref().map_or(0, Bytes::len));
        }
        match (next, &self.caller) {
            (Poll::Ready(Some(Err(error))), Some(caller)) if !self.abrupt => {
                self.broken = Some(Box::new(Broken { error, written: caller.written() }));
                self.poll_broken(cx)
            }
            (next, _) => next,
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Full(full) => full.is_end_stream(),
            Kind::Stream(stream) => stream.ahead.is_none() && stream.incoming.is_end_stream(),
            Kind::Teleport(incoming) => incoming.is_end_stream(),
            Kind::Other(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Full(full) => full.size_hint(),
            Kind::Stream(stream) => stream.incoming.size_hint(),
            Kind::Teleport(incoming) => incoming.size_hint(),
            Kind::Other(body) => body.size_hint(),
        }
    }
}

impl Body {
    /// The failure, once the client has what came before.
    fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(broken) = &mut self.broken {
            // Nothing is ever said: it is let go of.
            let _ = ready!(Pin::new(&mut broken.written).poll(cx));
        }
        // In words alone: hyper would pass the code behind the error on to a client of HTTP/2, and one of them says that nobody has seen the
        // request.
        Poll::Ready(self.broken.take().map(|broken| Err(one_line(&*broken.error).into())))
    }
}

impl Drop for Body {
    /// Who lets go of it before its end has given it up.
    fn drop(&mut self) {
        if self.span.is_none() && self.attempted.is_none() {
            return;
        }
        // Of what is at hand nobody knows how far it went, and a reply to HEAD is not read.
        let given_up = !self.over && !matches!(self.kind, Kind::Full(_)) && !self.is_end_stream();
        if given_up {
            for span in [&mut self.attempted, &mut self.span].into_iter().flatten() {
                span.cancelled();
            }
        }
    }
}

impl Stream {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(frame) = self.ahead.take() {
            return Poll::Ready(Some(Ok(*frame)));
        }
        if let Poll::Ready(frame) = self.poll_next(cx) {
            self.pause = None;
            return Poll::Ready(frame);
        }
        let patience = self.held_to.pause;
        let pause = self.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(Instant::now() + patience)));
        ready!(poll_late(pause, cx));
        self.source = Source::Gone;
        Poll::Ready(Some(Err(Box::new(Stopped))))
    }

    /// What comes next, however long that takes.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = match &mut self.source {
            Source::Leased(lease) => ready!(lease.connection().poll_body(&mut self.incoming, cx)),
            Source::Apart(_) | Source::Shared(_) | Source::Gone => ready!(Pin::new(&mut self.incoming).poll_frame(cx)),
        };
        match &frame {
            Some(Ok(frame))
                if frame.trailers_ref().is_some_and(|fields| size_of_fields(fields) > self.held_to.trailers) =>
            {
                self.source = Source::Gone;
                return Poll::Ready(Some(Err("the trailers of its reply are too large".into())));
            }
            // Nothing follows trailers.
            Some(Ok(frame)) if frame.is_trailers() => self.release(),
            Some(Ok(_)) => self.release_if_done(),
            Some(Err(_)) => self.source = Source::Gone,
            None if self.is_cut() => {
                self.source = Source::Gone;
                return Poll::Ready(Some(Err("the upstream broke off its reply".into())));
            }
            None => self.release(),
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    /// Looks at what is here already of a body that may be none: its first chunk may be broken, and the client can still be told so
    /// as long as it has not the head. Waits for nothing.
    fn look_ahead(&mut self) -> Result<(), BoxError> {
        if !matches!(self.source, Source::Leased(_)) || self.incoming.size_hint().exact().is_some() {
            return Ok(());
        }
        // Whoever reads the body polls it again.
        if let Poll::Ready(Some(frame)) = self.poll_next(&mut Context::from_waker(Waker::noop())) {
            self.ahead = Some(Box::new(frame?));
        }
        Ok(())
    }

    /// Whether a reply over HTTP/2 that seems to have ended was broken off: hyper takes that for its end, if no error was named. One that is
    /// whole has said so before, also where the upstream wants no more of the request and resets its stream (RFC 9113, 8.1).
    fn is_cut(&self) -> bool {
        matches!(self.source, Source::Shared(_)) && !self.incoming.is_end_stream()
    }

    fn release_if_done(&mut self) {
        if self.incoming.is_end_stream() {
            self.release();
        }
    }

    fn release(&mut self) {
        if let Source::Leased(lease) = mem::replace(&mut self.source, Source::Gone) {
            lease.give_back();
        }
    }

    /// Both ways go on at once, and a client that does not read yet must not keep its own request from going on.
    fn part(&mut self) {
        match mem::replace(&mut self.source, Source::Gone) {
            Source::Leased(lease) => self.source = Source::Apart(lease.go_on()),
            other => self.source = other,
        }
    }
}

/// Nothing came of a reply for too long.
#[derive(Debug)]
struct Stopped;

impl fmt::Display for Stopped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the upstream stopped in the middle of its reply")
    }
}

impl Error for Stopped {}

/// Whether a reply broke off by itself, and its connection was not lost.
fn broke_alone(error: &(dyn Error + 'static)) -> bool {
    let teleport = || cause::<httpteleport::Error>(error).map(httpteleport::Error::kind);
    error.is::<Stopped>()
        || cause::<h2::Error>(error).is_some_and(|error| error.is_reset() && error.is_remote())
        || matches!(teleport(), Some(ErrorKind::Reset | ErrorKind::Timeout))
}
