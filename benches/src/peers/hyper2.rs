//! hyper's HTTP/2: one connection, which all callers share.

use bytes::Bytes;
use http_body_util::Empty;
use hyper::client::conn::http2 as client;
use hyper::server::conn::http2 as server;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::BoxError;
use super::caller::{Caller, Callers};
use super::gathered::{Stream, Writes};
use super::hyper1::{answer, whole};
use super::workload::{Get, connect, listen};

/// Bytes that one stream, and the connection as a whole, may have on the way: more than all callers together ever have.
/// HTTP/2's own 64 KiB would stall the connection, and small windows cost frames that widen them.
pub(super) const STREAM_WINDOW: u32 = 1 << 20;
/// See [`STREAM_WINDOW`]. Half of it is used up before the other side is told, so this also makes that rare.
pub(super) const CONNECTION_WINDOW: u32 = 1 << 28;
/// Streams that may be open at once: more than there are callers.
pub(super) const STREAMS: u32 = 1 << 16;
/// Bytes that a stream may have buffered to be sent.
const SEND_BUFFER: usize = 1 << 20;

/// Set so that nothing throttles it: windows and the number of streams are far from what is used. No pings, and no
/// `Date`, which ours does not write. Frames of 16 KiB, the default, hold every message whole.
pub(super) async fn start(callers: usize, writes: Writes) -> Result<Callers<Http2>, BoxError> {
    let (listener, address) = listen().await?;
    let (near, far) = connect(&listener, &address).await?;
    let serving = server::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(STREAMS)
        .max_send_buf_size(SEND_BUFFER)
        .auto_date_header(false)
        .serve_connection(TokioIo::new(Stream::new(far, writes)), service_fn(answer));
    tokio::spawn(serving);
    let (sender, connection) = client::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .initial_max_send_streams(STREAMS as usize)
        .max_send_buf_size(SEND_BUFFER)
        .handshake(TokioIo::new(Stream::new(near, writes)))
        .await?;
    tokio::spawn(connection);
    Ok(Callers(vec![Http2 { sender, get: Get::with_authority() }; callers]))
}

/// A caller with its handle of the connection.
#[derive(Clone)]
pub(super) struct Http2 {
    sender: client::SendRequest<Empty<Bytes>>,
    get: Get,
}

impl Caller for Http2 {
    type Value = Bytes;

    async fn call(&mut self) -> Result<Bytes, BoxError> {
        self.sender.ready().await?;
        whole(self.sender.send_request(self.get.request(Empty::new())).await?).await
    }
}
