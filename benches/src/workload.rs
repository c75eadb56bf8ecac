//! Client and server of a row, joined by in-memory pipes.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use fastrpc::codec::tlv::{self, Tlv};
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::rows::{CONNECTIONS, Row};

/// Bytes that one direction of a pipe holds.
const PIPE: usize = 256 * 1024;
/// The reply of every call.
const REPLY_BYTES: usize = 261;
/// So far that it never comes, yet every call carries it.
const HOUR: Duration = Duration::from_secs(3600);

/// Accepts the server ends of pipes.
pub struct PipeListener(mpsc::UnboundedReceiver<DuplexStream>);

impl fastrpc::Listener for PipeListener {
    type Io = DuplexStream;

    async fn accept(&mut self) -> std::io::Result<(DuplexStream, Option<std::net::SocketAddr>)> {
        self.0.recv().await.map(|stream| (stream, None)).ok_or_else(|| std::io::ErrorKind::NotConnected.into())
    }
}

/// Something a caller does over and over.
pub trait Caller: Clone + 'static {
    /// One operation.
    fn once(&self) -> impl Future<Output = ()>;
}

/// A client and its server for a TLV row.
#[derive(Clone)]
pub struct TlvCaller {
    client: fastrpc::Client<Tlv>,
    request: tlv::Request,
    one_way: bool,
    deadline: Instant,
}

impl TlvCaller {
    /// Starts the server and makes the client, inside the runtime.
    ///
    /// # Panics
    ///
    /// When a setting of the row is unusable.
    #[must_use]
    pub fn start(row: &Row) -> Self {
        let (ends, listener) = mpsc::unbounded_channel();
        let server = fastrpc::Server::builder(Tlv::new())
            .compression(row.compression)
            .batch_delay(row.server_delay)
            .dispatch(if row.pipeline { fastrpc::Dispatch::Pipeline } else { fastrpc::Dispatch::Inline })
            .build()
            .expect("settings of a row");
        let reply = tlv::Reply::new(vec![b'x'; REPLY_BYTES]);
        let serving = server.serve(PipeListener(listener), move |_: fastrpc::Call<tlv::Request>| {
            let reply = reply.clone();
            async move { reply }
        });
        tokio::spawn(serving.into_future());
        let client = fastrpc::Client::builder(Tlv::new())
            .compression(row.compression)
            .batch_delay(row.client_delay)
            .connections(CONNECTIONS)
            .max_pending(if row.one_way { 100 * CONNECTIONS } else { 1 << 15 })
            .connect_with("pipe", move || {
                let (near, far) = tokio::io::duplex(PIPE);
                let sent = ends.send(far).map_err(|_| std::io::ErrorKind::ConnectionRefused.into());
                async move { sent.map(|()| near) }
            })
            .expect("settings of a row");
        Self { client, request: tlv::Request::new("", "foobar"), one_way: row.one_way, deadline: Instant::now() + HOUR }
    }

    /// What the client has counted.
    #[must_use]
    pub fn stats(&self) -> fastrpc::Stats {
        self.client.stats()
    }
}

impl Caller for TlvCaller {
    async fn once(&self) {
        if self.one_way {
            while self.client.send(&self.request).is_err() {
                tokio::task::yield_now().await;
            }
            return;
        }
        let reply = self.client.call(self.request.clone()).deadline(self.deadline).await;
        assert_eq!(reply.expect("a reply").value.len(), REPLY_BYTES);
    }
}

/// Runs `total` operations with `callers` callers at once and gives the time it took.
pub async fn run(caller: &impl Caller, callers: usize, total: u64) -> Duration {
    let left = Rc::new(Cell::new(total));
    let begun = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let (caller, left) = (caller.clone(), left.clone());
            tokio::task::spawn_local(async move {
                while let Some(rest) = left.get().checked_sub(1) {
                    left.set(rest);
                    caller.once().await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a caller ended well");
    }
    begun.elapsed()
}
