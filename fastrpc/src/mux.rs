//! One connection: the calls that wait, the batches that form, the task that drives both directions.

pub(crate) mod admission;
pub(crate) mod batch;
mod chunks;
pub(crate) mod client_driver;
pub(crate) mod conn;
pub(crate) mod dispatch;
mod drain;
pub mod framed;
mod frames;
pub(crate) mod handlers;
pub mod handshake;
pub(crate) mod last_words;
pub(crate) mod link;
mod metered;
pub(crate) mod outbox;
pub(crate) mod pending;
mod prefixed;
pub(crate) mod replies;
pub(crate) mod server_driver;
pub mod session;
mod timer;
