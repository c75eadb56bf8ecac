//! Framed connections as the benches open them: all that they use of `httpteleport::stream`.

use anyhow::{Context, Result, bail};
use fastrpc::internals::session::{Accepted, Connected, ContextMemory, Options, Serve, accept, connect};
use fastrpc::wire::framed::codec::RecordCodec;
use fastrpc::wire::framed::settings::Settings;
use fastrpc::{BoxIo, Compression, Error, Protocol};
use httpteleport::Limits;
use tokio::task::JoinHandle;

pub use httpteleport::stream::{Incoming, StreamClient, service};

/// Most bytes of a head: recorded ones may be longer than the default takes.
const HEAD: u32 = 61_000;

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
pub async fn client(io: BoxIo, codec: RecordCodec) -> Result<Client> {
    let Connected::Framed(caller, driver) = connect(io, &protocol()?, options(codec), None).await? else {
        bail!("the server does not speak the framed wire");
    };
    Ok(Client { calls: StreamClient::new(caller, limits()), driving: tokio::spawn(driver) })
}

/// Serves a connection until it ends.
///
/// # Errors
///
/// It ended with an error, or its client does not speak the framed wire.
pub async fn serve(io: BoxIo, codec: RecordCodec, serve: impl Serve) -> Result<()> {
    match accept(io, &protocol()?, Compression::None, options(codec), None, serve).await? {
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

/// Everything at its default but the compression, for which there is always memory, and the length of heads.
fn options(codec: RecordCodec) -> Options {
    let defaults = Options::default();
    let settings = Settings { head: HEAD, ..defaults.settings.clone() };
    Options { codec, settings, memory: ContextMemory::new(usize::MAX), ..defaults }
}
