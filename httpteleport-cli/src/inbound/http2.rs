//! A client's connection that speaks HTTP/2.

use std::future::{Future as _, poll_fn};
use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::activity::{Activity, Usage};
use super::delivery::{Delivered, Deliveries, Look};
use super::farewell::{Farewell, Why};
use super::http::{Ends, Shared};
use super::rest::{ClientIo, Watch};
use super::upgrade::Next;
use crate::config;
use crate::headers::{BEYOND, OF_A_FIELD, size_of_fields};
use crate::unserved;

/// Requests of one connection at a time.
const MOST_STREAMS: u32 = 200;
/// What clients may send ahead of what is read, of each request and of all of a connection: as much in all as for other proxies.
///
/// The library ends a connection on which more than half the latter is lost to small frames that are not read yet, of which each counts as 256
/// bytes less its own: some 17,000 messages of gRPC of ten bytes.
const WINDOWS: (u32, u32) = (1024 * 1024, 8 * 1024 * 1024);
/// What is written ahead of what a client reads, for each of them.
const SEND_BUFFER: usize = 64 * 1024;
/// A client is asked so often whether it is still there, and has so long to say so.
const PING: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(20));

/// How a connection has ended.
enum Ended {
    /// By itself.
    Over(hyper::Result<()>),
    /// Its client takes nothing of its replies.
    Stuck,
    /// Its place was wanted, or it had nothing to do for too long.
    Left,
}

/// How large a head is (RFC 9113, 6.5.2).
pub(super) fn size_of_head<B>(request: &Request<B>) -> usize {
    let uri = request.uri();
    let pseudo = [
        (":method", request.method().as_str().len()),
        (":scheme", uri.scheme_str().map_or(0, str::len)),
        (":authority", uri.authority().map_or(0, |authority| authority.as_str().len())),
        (":path", uri.path_and_query().map_or(0, |path| path.as_str().len())),
    ];
    let pseudo = pseudo.iter().map(|(name, length)| name.len() + length + OF_A_FIELD).sum::<usize>();
    pseudo + size_of_fields(request.headers())
}

/// Whether a value begins or ends with a blank, which HTTP/2 forbids (RFC 9113, 8.2.1): others would take it for another one.
pub(super) fn has_blank_ends(headers: &HeaderMap) -> bool {
    let is_blank = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    headers.values().map(HeaderValue::as_bytes).any(|value| is_blank(value.first()) || is_blank(value.last()))
}

/// hyper, with the input's limits.
pub(super) fn builder(limits: &config::Limits) -> http2::Builder<TokioExecutor> {
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .max_concurrent_streams(MOST_STREAMS)
        .max_header_list_size(u32::try_from(limits.max_header_size).unwrap_or(u32::MAX).saturating_add(BEYOND))
        .initial_stream_window_size(WINDOWS.0)
        .initial_connection_window_size(WINDOWS.1)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1)
        .enable_connect_protocol();
    http
}

/// Serves one connection to its end; once draining has begun, when it has had nothing to do for long, or when its place is wanted, to
/// the end of the requests that run. `first` was read of it already.
pub(super) async fn serve<S>(shared: &Arc<Shared>, stream: S, first: Bytes, ends: Ends, activity: &Arc<Activity>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let deliveries = Arc::<Deliveries>::default();
    let service = service_fn(|mut request| {
        let (shared, activity, deliveries) = (Arc::clone(shared), Arc::clone(activity), Arc::clone(&deliveries));
        // From here on it runs, and not from when hyper's task for it does: its connection would leave meanwhile.
        let running = activity.begin();
        Box::pin(async move {
            let switched = hyper::upgrade::on(&mut request);
            let next = Next::default();
            let reply = shared.answer(request, ends, &activity, running, &next).await;
            if let Some(agreed) = next.take() {
                shared.shutdown.spawn(agreed.carry_when(switched));
            }
            reply.map(|reply| reply.map(|body| Delivered::new(body, deliveries)))
        })
    });
    let io = ClientIo::new(stream, first, Arc::clone(activity), shared, ends);
    let mut connection = pin!(shared.http2.serve_connection(io, service));
    let mut watch = Watch::new(Arc::clone(activity), shared.timeouts.idle);
    let mut usage = Usage::new(Arc::clone(activity));
    let mut look = Look::new(Arc::clone(&deliveries), shared.timeouts.write);
    let mut begun = pin!(shared.shutdown.begun());
    let mut asked = pin!(activity.asked());
    // Once polled it wakes this task when it is time; to poll it each time would take a lock each time.
    let mut listening = false;
    let mut farewell = Farewell::default();
    let mut ending = None;
    let ended = poll_fn(|cx| {
        if !mem::replace(&mut listening, true) {
            activity.served_by(cx);
            let _ = asked.as_mut().poll(cx);
        }
        if ending != Some(Why::Wanted) && activity.is_asked() {
            ending = Some(Why::Wanted);
            connection.as_mut().graceful_shutdown();
        }
        if ending.is_none() {
            let tired = watch.poll_tired(cx).is_ready().then_some(Why::Tired);
            ending = tired.or_else(|| begun.as_mut().poll(cx).is_ready().then_some(Why::Drain));
            if ending.is_some() {
                connection.as_mut().graceful_shutdown();
            }
        }
        let breaks = activity.breaks();
        let (polled, unserved) = unserved::while_polling(|| connection.as_mut().poll(cx));
        shared.note_unserved(ends, &unserved);
        if let Poll::Ready(ended) = polled {
            return Poll::Ready(Ended::Over(ended));
        }
        activity.wrote(breaks);
        usage.poll(cx);
        if let Some(why) = ending
            && farewell.poll_over(cx, why, activity).is_ready()
        {
            return Poll::Ready(Ended::Left);
        }
        look.poll_stuck(cx).map(|()| Ended::Stuck)
    })
    .await;
    match ended {
        Ended::Over(Ok(())) | Ended::Left => {}
        Ended::Over(Err(error)) => shared.note(ends, &error, b""),
        Ended::Stuck => {
            let became = "closed: the client has stopped taking its replies";
            shared.counters.slow_reader.note("connection", ends.caller.client, became);
        }
    }
}
