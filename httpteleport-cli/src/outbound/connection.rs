//! One HTTP/1.1 connection to an upstream, driven by the task whose request it carries.
//!
//! hyper wants its connection polled, and most programs give it a task of its own. A request then wakes that task, and
//! that task wakes the request's again, for each step. Here whoever waits for the reply polls the connection as well.
//! While it is idle nobody does; the pool looks at it before it is used again.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as _, Frame};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, SendRequest};
use tokio::time::Instant;

use super::one_line;
use super::stream::Stream;
use crate::balance::Load;
use crate::interims::{Heard, Interims};
use crate::request::RequestBody;
use crate::timer::LazyTimer;

/// A connection and what it takes to use it.
pub(crate) struct Connection {
    sender: SendRequest<RequestBody>,
    /// Gone once the connection has ended.
    driver: Option<http1::Connection<Stream, RequestBody>>,
    /// What it left when it ended well: its stream, which speaks another protocol if the upstream has switched to one, and
    /// what was read of that.
    left: Option<(Stream, Bytes)>,
    timer: LazyTimer,
    /// What came ahead of the reply that is waited for.
    heard: Heard,
    /// Counts it among those that are open.
    open: Load,
}

/// Why an exchange brought no reply.
pub(super) enum Unanswered {
    /// The deadline has passed.
    Late,
    /// So many interim replies came that nobody can want them.
    Flooded,
    /// The connection failed, or the reply is not HTTP.
    Failed(Box<TrySendError<Request<RequestBody>>>),
}

impl Connection {
    /// A connection that hyper has made ready.
    pub(super) fn new(
        sender: SendRequest<RequestBody>,
        driver: http1::Connection<Stream, RequestBody>,
        open: Load,
    ) -> Box<Connection> {
        let (timer, heard) = (LazyTimer::default(), Heard::default());
        Box::new(Connection { sender, driver: Some(driver), left: None, timer, heard, open })
    }

    /// Sends the request and waits for the head of its reply. A body that streams moves the deadline: there is `patience`
    /// for each step of it that is the upstream's, and for the reply after the last one. What comes ahead of the reply is counted in `interims`.
    ///
    /// Dropping the future, like any error, leaves a connection that is of no more use.
    pub(super) async fn exchange(
        &mut self,
        mut request: Request<RequestBody>,
        interims: &Interims,
        mut deadline: Instant,
        patience: Duration,
    ) -> Result<Response<Incoming>, Unanswered> {
        let progress = request.body().progress();
        self.heard.begin(&mut request, interims);
        let mut reply = pin!(self.sender.try_send_request(request));
        poll_fn(|cx| {
            self.drive(cx);
            // It becomes ready only inside of `drive`, so nothing but the connection has to wake this task.
            match reply.as_mut().poll(&mut deaf()) {
                Poll::Ready(Ok(reply)) => Poll::Ready(Ok(reply)),
                Poll::Ready(Err(error)) => Poll::Ready(Err(Unanswered::Failed(Box::new(error)))),
                Poll::Pending if self.heard.too_many() => Poll::Ready(Err(Unanswered::Flooded)),
                Poll::Pending => {
                    if progress.as_ref().is_some_and(|progress| progress.goes_on()) {
                        deadline = Instant::now() + patience;
                    }
                    self.timer.poll(cx, deadline).map(|()| Err(Unanswered::Late))
                }
            }
        })
        .await
    }

    /// The next piece of a reply's body.
    pub(crate) fn poll_body(
        &mut self,
        body: &mut Incoming,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        if let ready @ Poll::Ready(_) = Pin::new(&mut *body).poll_frame(&mut deaf()) {
            return ready;
        }
        self.drive(cx);
        Pin::new(body).poll_frame(&mut deaf())
    }

    /// Whether the next request can be sent: the last exchange is over and the upstream has not hung up.
    pub(super) fn is_ready(&mut self) -> bool {
        // Also takes the last request's task off the connection's mind.
        self.drive(&mut deaf());
        self.driver.is_some() && self.sender.is_ready()
    }

    /// Whether it has ended.
    pub(super) fn is_closed(&self) -> bool {
        self.driver.is_none()
    }

    /// The stream below, what was read of it already, and what counts it among those that are open, when the upstream has switched to
    /// another protocol.
    pub(super) async fn into_stream(mut self: Box<Self>) -> Option<(Stream, Bytes, Load)> {
        poll_fn(|cx| {
            self.drive(cx);
            if self.is_closed() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        let (stream, unread) = self.left?;
        Some((stream, unread, self.open))
    }

    /// Ready once the next request can be sent or the connection has ended.
    pub(super) fn poll_tail(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.drive(cx);
        if self.is_closed() || self.sender.is_ready() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Reads and writes what can be read and written now.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if let Some(driver) = &mut self.driver {
            let Poll::Ready(ended) = Pin::new(driver).poll(cx) else { return };
            let driver = self.driver.take();
            match ended {
                Ok(()) => self.left = driver.map(http1::Connection::into_parts).map(|parts| (parts.io, parts.read_buf)),
                Err(error) => tracing::debug!("connection to an upstream ended: {}", one_line(&error)),
            }
        }
    }
}

/// A context for what is polled again anyway when there is news.
fn deaf() -> Context<'static> {
    Context::from_waker(Waker::noop())
}
