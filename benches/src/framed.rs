//! Framed connections as the benches open them: all that they use of `httpteleport::stream`.

use anyhow::{Context, Result, bail};
use fastrpc::internals::session::{Accepted, Connected, ContextMemory, Options, Serve, accept, connect};
use fastrpc::wire::framed::codec::RecordCodec;
use fastrpc::wire::framed::settings::{MAX_CREDIT, Settings};
use fastrpc::{BoxIo, Compression, Error, Protocol};
use httpteleport::Limits;
use tokio::task::JoinHandle;

pub use httpteleport::stream::{Incoming, StreamClient, service};

/// Most bytes of a head: recorded ones may be longer than the default takes.
const HEAD: u32 = 61_000;

/// How a connection is used, at both ends.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// How records are compressed.
    pub codec: RecordCodec,
    /// What a stream may send before it hears of the other end; the default if `None`.
    pub credit: Option<u32>,
}

/// A client, and the task of its connection.
pub struct Client {
    /// Makes calls.
    pub calls: StreamClient,
    /// Ends with the connection.
    pub driving: JoinHandle<Result<(), Error>>,
}

/// Opens a connection as its client.
///
/// # Errors
///
/// The other side does not speak the framed wire.
pub async fn client(io: BoxIo, how: How) -> Result<Client> {
    let Connected::Framed(caller, driver) = connect(io, &protocol()?, how.options(), None).await? else {
        bail!("the server does not speak the framed wire");
    };
    Ok(Client { calls: StreamClient::new(caller, limits()), driving: tokio::spawn(driver) })
}

/// Serves a connection until it ends.
///
/// # Errors
///
/// It ended with an error, or its client does not speak the framed wire.
pub async fn serve(io: BoxIo, how: How, serve: impl Serve) -> Result<()> {
    match accept(io, &protocol()?, Compression::None, how.options(), None, serve).await? {
        Accepted::Framed(driver) => driver.await.context("the server's connection failed"),
        Accepted::Classic(_) => bail!("the client does not speak the framed wire"),
    }
}

/// Heads as long as can be.
#[must_use]
pub fn limits() -> Limits {
    let most = HEAD as usize;
    Limits::default().with_max_head(most).with_peer_max_head(most)
}

fn protocol() -> Result<Protocol> {
    Ok(Protocol::new("httpteleport", 0)?)
}

impl How {
    /// Everything else at its default, but that there is always memory for compression, and the length of heads.
    fn options(self) -> Options {
        let defaults = Options::default();
        let mut settings = Settings { head: HEAD, ..defaults.settings.clone() };
        if let Some(credit) = self.credit {
            settings.stream_credit = credit;
            settings.connection_credit = settings.connection_credit.max(credit.saturating_mul(2)).min(MAX_CREDIT);
        }
        Options { codec: self.codec, settings, memory: ContextMemory::new(usize::MAX), ..defaults }
    }
}
