//! A client's connection that speaks HTTP/1.1.

use std::future::{Future as _, poll_fn};
use std::mem;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::time::{Instant, timeout};

use super::activity::Activity;
use super::http::{Ends, Shared};
use super::rest::{self, ClientIo, TIRED, Watch};
use super::upgrade::{Agreed, Next};
use crate::config::{self, Timeouts};
use crate::timer::HeadTimer;

/// hyper's read buffer; heads have a limit of their own.
const READ_BUFFER: usize = 64 * 1024;

/// hyper, with the input's limits.
pub(super) fn builder(limits: &config::Limits, timeouts: &Timeouts) -> http1::Builder {
    let mut http = http1::Builder::new();
    http.header_read_timeout(timeouts.idle)
        .max_header_size(limits.max_header_size)
        .max_buf_size(READ_BUFFER.max(limits.max_header_size))
        .title_case_headers(true);
    if let Some(most) = limits.max_headers {
        http.max_headers(most);
    }
    http
}

/// How long the last reply on a connection may take that ends because of its client.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How hyper's part of a connection has ended.
enum Ended<S> {
    /// With the connection.
    Over,
    /// It has nothing to do. What was read of a head is not complete.
    Resting(S, Bytes),
    /// It speaks another protocol from here on, of which some may be read already.
    Upgraded(S, Bytes, Box<Agreed>),
}

/// Serves one connection to its end; once draining has begun, or its place is wanted, to the end of the request that runs. `first` was
/// read of it already; the rest of its first head has to be here by the deadline.
pub(super) async fn serve<S>(
    shared: &Arc<Shared>,
    mut stream: S,
    mut first: Bytes,
    deadline: Instant,
    ends: Ends,
    activity: &Arc<Activity>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let heads = HeadTimer::new(shared.timeouts.head, shared.timeouts.idle);
    heads.begin(deadline);
    activity.time_heads(&heads);
    loop {
        let (left, unread) = match awake(shared, stream, first, activity, &heads, ends).await {
            Ok(Ended::Resting(stream, unread)) => (stream, unread),
            Ok(Ended::Upgraded(stream, unread, agreed)) => return Box::pin(agreed.carry(stream, unread)).await,
            Ok(Ended::Over) => return,
            Err((error, unread)) => return shared.note(ends, &error, &unread),
        };
        (stream, first) = (left, unread);
        if activity.is_asked() {
            if !first.is_empty() {
                shared.log_head(ends, StatusCode::REQUEST_TIMEOUT, &first);
                Box::pin(tell_it_is_late(stream)).await;
            }
            return;
        }
        if first.is_empty() {
            let next = tokio::select! {
                // What has come is answered, if it came in the last moment.
                biased;
                next = rest::next_byte(&mut stream, heads.deadline()) => next,
                () = shared.shutdown.parting() => None,
                () = activity.asked() => None,
            };
            let Some(byte) = next else { return };
            first = byte;
            heads.begin_head();
        } else {
            heads.go_on();
        }
    }
}

/// Serves one connection to its end, or until it has nothing to do or speaks no HTTP any more. With an error comes what was read and is
/// no request.
async fn awake<S>(
    shared: &Arc<Shared>,
    stream: S,
    first: Bytes,
    activity: &Arc<Activity>,
    heads: &HeadTimer,
    ends: Ends,
) -> Result<Ended<S>, (hyper::Error, Bytes)>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let next = Next::default();
    // hyper keeps room for this future as long as the connection lives; boxed, it is a pointer's.
    let service = service_fn(|request| Box::pin(shared.answer(request, ends, activity, activity.begin(), &next)));
    let mut http = shared.http1.clone();
    http.timer(heads.clone());
    let io = ClientIo::new(stream, first, Arc::clone(activity), shared, ends).timing(heads);
    let mut connection = Box::new(http.serve_connection(io, service));
    let mut watch = Watch::new(Arc::clone(activity), TIRED);
    let (mut parting, mut asked) = (pin!(shared.shutdown.parting()), pin!(activity.asked()));
    let mut cut = pin!(shared.shutdown.cut());
    // Once polled they wake this task when it is time; to poll them each time would take a lock each time.
    let mut listening = false;
    let mut ending = false;
    let resting = poll_fn(|cx| {
        if !mem::replace(&mut listening, true) {
            activity.served_by(cx);
            let _ = parting.as_mut().poll(cx);
            let _ = asked.as_mut().poll(cx);
            let _ = cut.as_mut().poll(cx);
        }
        if !ending && (shared.shutdown.is_parting() || activity.is_asked()) {
            ending = true;
            // What has come is answered, if it came in the last moment.
            if let Poll::Ready(result) = Pin::new(&mut *connection).poll(cx) {
                return Poll::Ready(result.map(|()| false));
            }
            if activity.is_asked() && !activity.is_busy() {
                return Poll::Ready(Ok(true));
            }
            Pin::new(&mut *connection).graceful_shutdown();
        }
        let breaks = activity.breaks();
        if let Poll::Ready(result) = Pin::new(&mut *connection).poll(cx) {
            return Poll::Ready(result.map(|()| false));
        }
        activity.wrote(breaks);
        if ending { Poll::Pending } else { watch.poll_tired(cx).map(|()| Ok(true)) }
    })
    .await;
    let resting = match resting {
        Ok(resting) => resting,
        Err(error) => {
            let parts = connection.into_parts();
            if !error.is_timeout() {
                return Err((error, parts.read_buf));
            }
            if !parts.read_buf.is_empty() {
                shared.refuse_late_head(ends, &parts.read_buf);
                Box::pin(tell_it_is_late(parts.io.into_inner())).await;
            }
            // Who has nothing more to ask for is done.
            return Ok(Ended::Over);
        }
    };
    let upgrade = next.take();
    if !resting && upgrade.is_none() {
        return Ok(Ended::Over);
    }
    let parts = connection.into_parts();
    let (stream, unread) = (parts.io.into_inner(), parts.read_buf);
    // An empty rest keeps all of hyper's buffer.
    let unread = if unread.is_empty() { Bytes::new() } else { unread };
    Ok(match upgrade {
        Some(agreed) => Ended::Upgraded(stream, unread, agreed),
        None => Ended::Resting(stream, unread),
    })
}

/// Answers a head that has not come whole in time, or while its place was its own. hyper itself just hangs up.
async fn tell_it_is_late(mut stream: impl AsyncWrite + Unpin) {
    let reply = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    let _ = timeout(LAST_WORDS, async {
        stream.write_all(reply).await?;
        stream.shutdown().await
    })
    .await;
}
