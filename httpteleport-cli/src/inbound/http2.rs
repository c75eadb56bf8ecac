//! A client's connection that speaks HTTP/2.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};

use super::delivery::{Delivered, Deliveries, Look};
use super::http::{Ends, Shared};
use super::rest::{Activity, ClientIo, Watch};
use super::upgrade::Next;
use crate::config;

/// Requests of one connection at a time.
const MOST_STREAMS: u32 = 200;
/// What is written ahead of what a client reads, for each of them.
const SEND_BUFFER: usize = 64 * 1024;
/// A client is asked so often whether it is still there, and has so long to say so.
const PING: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(20));

/// hyper, with the input's limits.
pub(super) fn builder(limits: &config::Limits) -> http2::Builder<TokioExecutor> {
    let mut http = http2::Builder::new(TokioExecutor::new());
    http.timer(TokioTimer::new())
        .max_concurrent_streams(MOST_STREAMS)
        .max_header_list_size(u32::try_from(limits.max_header_size).unwrap_or(u32::MAX))
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(PING.0)
        .keep_alive_timeout(PING.1)
        .enable_connect_protocol();
    http
}

/// Serves one connection to its end; once draining has begun, or when it has had nothing to do for long, to the end of the
/// requests that run. `first` was read of it already.
pub(super) async fn serve<S>(shared: &Arc<Shared>, stream: S, first: Bytes, ends: Ends)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let activity = Arc::<Activity>::default();
    let deliveries = Arc::<Deliveries>::default();
    let service = service_fn(|mut request| {
        let (shared, activity, deliveries) = (Arc::clone(shared), Arc::clone(&activity), Arc::clone(&deliveries));
        Box::pin(async move {
            let switched = hyper::upgrade::on(&mut request);
            let next = Next::default();
            let reply = shared.answer(request, ends, &activity, &next).await;
            if let Some(agreed) = next.take() {
                shared.shutdown.spawn(agreed.carry_when(switched));
            }
            reply.map(|reply| reply.map(|body| Delivered::new(body, deliveries)))
        })
    });
    let io = ClientIo::new(stream, first, Arc::clone(&activity), shared);
    let mut connection = pin!(shared.http2.serve_connection(io, service));
    let mut watch = Watch::new(Arc::clone(&activity), shared.timeouts.idle);
    let mut look = Look::new(Arc::clone(&deliveries), shared.timeouts.write);
    let mut begun = pin!(shared.shutdown.begun());
    let mut ending = false;
    let ended = poll_fn(|cx| {
        if !ending && (begun.as_mut().poll(cx).is_ready() || watch.poll_tired(cx).is_ready()) {
            ending = true;
            connection.as_mut().graceful_shutdown();
        }
        match connection.as_mut().poll(cx) {
            Poll::Ready(ended) => Poll::Ready(Some(ended)),
            Poll::Pending => look.poll_stuck(cx).map(|()| None),
        }
    })
    .await;
    match ended {
        Some(Ok(())) => {}
        Some(Err(error)) => shared.note(ends, &error),
        None => {
            shared.counters.slow_reader.add();
            tracing::debug!("connection of {}: the client has stopped taking its replies", ends.caller.client);
        }
    }
}
