//! What is carried: for each workload its server, its clients, and one call of it.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use tokio::time::Instant;
use tokio_rustls::rustls::{ClientConfig, ServerConfig};

use crate::rows::Row;
use crate::transport::{Dialer, Listening};

mod http;
mod lazy;
mod tlv;

pub use self::http::HttpCalls;
pub use self::lazy::LazyCalls;
pub use self::tlv::TlvCalls;

/// The reply of every call with a small payload: as long as that of the Go original's benchmarks, and text as it is there.
pub const REPLY: &str = "The far side answers every call with the same lines of text, which are as long as the reply \
                         in the benchmarks of the Go original. They hold nothing that one of the formats would have to \
                         escape, so each carries them byte for byte and pays for it the same length.";
/// Its length.
pub const REPLY_BYTES: usize = REPLY.len();
const _: () = assert!(REPLY_BYTES == 261);
/// What waits for company between the rounds of other rows must not be taken for gone.
pub const IDLE: Duration = Duration::from_secs(3600);
/// Calls that a caller takes from the common count at once.
const MOST_GRAIN: u64 = 64;

/// So many bytes of [`REPLY`], over and over: a body that is text, however long it is.
#[must_use]
pub fn text(bytes: usize) -> Bytes {
    let mut text = REPLY.repeat(bytes.div_ceil(REPLY_BYTES)).into_bytes();
    text.truncate(bytes);
    text.into()
}

/// Makes one kind of call.
pub trait Caller: Clone + Send + Sync + 'static {
    /// Makes one and looks at its reply.
    fn call(&self, deadline: Instant) -> impl Future<Output = anyhow::Result<()>> + Send;
}

/// A client of one kind of calls, and the server that answers them.
pub trait Workload: Caller + Sized {
    /// Starts the server of `row`; it serves as long as the runtime runs.
    ///
    /// # Errors
    ///
    /// A setting of the row is unusable.
    fn serve(row: &Row, listening: Listening, tls: Option<&Tls>) -> anyhow::Result<Counters>;

    /// Makes a client of `row`. It dials when it first calls.
    ///
    /// # Errors
    ///
    /// A setting of the row is unusable.
    fn connect(row: &Row, dialer: Dialer, tls: Option<&Tls>) -> anyhow::Result<Self>;

    /// What the client has counted.
    fn stats(&self) -> fastrpc::Stats;
}

/// Gives what a server has counted so far.
pub type Counters = Box<dyn Fn() -> fastrpc::Stats + Send + Sync>;

/// Both ends' configurations of TLS.
pub struct Tls {
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

impl Tls {
    /// Those of `row`, if it has TLS. Without the feature `tls` there is no such row.
    #[cfg(not(feature = "tls"))]
    #[must_use]
    pub fn of(_: &Row) -> Option<Self> {
        None
    }
}

#[cfg(feature = "tls")]
impl Tls {
    /// Those of `row`, if it has TLS.
    #[must_use]
    pub fn of(row: &Row) -> Option<Self> {
        row.tls.then(Self::new)
    }

    /// Makes an authority and a certificate of it.
    #[must_use]
    pub fn new() -> Self {
        let authority = testkit::tls::Ca::new();
        Self { server: authority.issue(&["bench"]).server_config(), client: authority.client_config() }
    }
}

#[cfg(feature = "tls")]
impl Default for Tls {
    fn default() -> Self {
        Self::new()
    }
}

/// The settings of a row, on the server builder of either crate: they have the same names, and no type in common.
macro_rules! server_settings {
    ($builder:expr, $row:expr, $tls:expr) => {{
        let dispatch = if $row.pipeline { fastrpc::Dispatch::Pipeline } else { fastrpc::Dispatch::Inline };
        let server = $builder.compression($row.compression).batch_delay($row.server_delay).dispatch(dispatch);
        let server = server.idle_timeout($crate::workload::IDLE);
        match $tls {
            Some(tls) => server.tls(tls.server.clone()),
            None => server,
        }
    }};
}

/// Likewise for clients.
macro_rules! client_settings {
    ($builder:expr, $row:expr, $tls:expr) => {{
        let client = $builder.compression($row.compression).batch_delay($row.client_delay);
        let client = client.connections($row.connections).max_pending($crate::workload::max_pending($row));
        let client = client.max_unsent($crate::workload::max_unsent($row)).idle_timeout($crate::workload::IDLE);
        match $tls {
            Some(tls) => client.tls(tls.client.clone(), "bench".try_into()?),
            None => client,
        }
    }};
}

use {client_settings, server_settings};

fn max_pending(row: &Row) -> usize {
    if row.one_way { 100 * row.connections } else { row.callers.max(1 << 15) }
}

fn max_unsent(row: &Row) -> usize {
    let large = match row.payload {
        crate::rows::Payload::Small => 0,
        crate::rows::Payload::Echo(bytes) => 2 * bytes * row.callers,
        crate::rows::Payload::Down(bytes) => bytes * row.callers,
    };
    large.max(64 << 20)
}

/// Runs `total` calls with `callers` callers at once, spread over `clients`, and gives the time it took.
///
/// # Errors
///
/// A call failed.
pub async fn run<C: Caller>(clients: &[C], callers: usize, total: u64) -> anyhow::Result<Duration> {
    let deadline = Instant::now() + IDLE;
    let grain = (total / (callers as u64 * 16)).clamp(1, MOST_GRAIN);
    let left = Arc::new(AtomicU64::new(total));
    let begun = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|index| {
            let (client, left) = (clients[index % clients.len()].clone(), left.clone());
            tokio::spawn(async move {
                loop {
                    let take = |left: u64| (left > 0).then(|| left.saturating_sub(grain));
                    let Ok(had) = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take) else { break };
                    for _ in 0..had.min(grain) {
                        client.call(deadline).await?;
                    }
                }
                anyhow::Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await.context("a caller panicked")??;
    }
    Ok(begun.elapsed())
}
