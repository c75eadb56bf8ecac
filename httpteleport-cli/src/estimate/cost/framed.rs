//! Framed connections over a stream that is there: one, whose client and server take messages of any size.

use std::sync::Arc;

use anyhow::{Context, Result};
use fastrpc::wire::framed::settings::MAX_HEAD;
use httpteleport::stream::StreamHandler;
use httpteleport::{BoxIo, Client, ContextMemory, Limits, RecordCodec, Server, Wire};

pub use httpteleport::stream::Incoming;

/// Bytes of the longest body that a sample may have.
pub const MOST_BODY: usize = 64 << 20;

/// A client of the one connection over `io`, which is open then.
///
/// # Errors
///
/// The other side does not speak the framed wire.
pub async fn client(io: BoxIo, codec: RecordCodec) -> Result<Client> {
    let builder = Client::builder(limits()).wire(Wire::Framed).framed_compression(codec);
    let (client, driver) = builder.context_memory(memory()).handshake(io).await?;
    tokio::spawn(driver);
    Ok(client)
}

/// Serves a connection until it ends.
///
/// # Errors
///
/// It ended with an error, or its client does not speak the framed wire.
pub async fn serve(io: BoxIo, codec: RecordCodec, handler: impl StreamHandler) -> Result<()> {
    let builder = Server::builder(limits()).wire(Wire::Framed).framed_compression(codec);
    let server = builder.context_memory(memory()).build()?;
    let served = server.serve_streams_connection(io, None, Arc::new(handler)).await;
    served.context("the server's connection failed")
}

/// Messages as long as can be: recorded ones may be longer than the default takes.
pub(super) fn limits() -> Limits {
    let head = MAX_HEAD as usize;
    Limits::default().with_max_head(head).with_peer_max_head(head).with_max_body(MOST_BODY)
}

/// There is always enough.
fn memory() -> ContextMemory {
    ContextMemory::new(usize::MAX)
}
