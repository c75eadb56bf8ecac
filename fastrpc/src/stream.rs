//! Calls whose bodies stream: heads of types of your own, and beside them bodies of any length, both ways at once.
//!
//! A [`Client`] makes such calls and a [`Server`](crate::Server) answers them with
//! [`serve_streams`](crate::Server::serve_streams); a [`HeadCodec`] turns heads into bytes and back. They speak the framed
//! wire alone. Dropping what stands for a call, or for a body before its end, cancels the call at the other side too.
//!
//! ```no_run
//! # use bytes::Bytes;
//! # use fastrpc::BoxError;
//! use fastrpc::stream::{Call, HeadCodec, SendBody};
//!
//! /// Heads are names of files.
//! struct Files;
//!
//! impl HeadCodec for Files {
//!     type Request = String;
//!     type Reply = u64;
//!     fn encode_request(&self, name: &String, out: &mut Vec<u8>) -> Result<(), BoxError> {
//!         Ok(out.extend_from_slice(name.as_bytes()))
//!     }
//!     fn decode_request(&self, head: &Bytes) -> Result<String, BoxError> {
//!         Ok(String::from_utf8(head.to_vec())?)
//!     }
//!     fn encode_reply(&self, size: &u64, out: &mut Vec<u8>) -> Result<(), BoxError> {
//!         Ok(out.extend_from_slice(&size.to_le_bytes()))
//!     }
//!     fn decode_reply(&self, head: &Bytes) -> Result<u64, BoxError> {
//!         Ok(u64::from_le_bytes(head[..].try_into()?))
//!     }
//! }
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = fastrpc::stream::Client::builder(Files).connect("10.0.0.2:7000")?;
//! let (reply, _) = client.call(&"report.pdf".to_owned(), SendBody::empty()).await?;
//! let mut reply = reply.await?;
//! println!("{} bytes", reply.head);
//! while let Some(piece) = reply.body.piece().await {
//!     println!("{} of them", piece?.len());
//! }
//! # Ok(())
//! # }
//! ```

mod begun;
mod channel;
mod client;
mod codec;
pub(crate) mod messages;
mod pool;
mod scratch;
mod server;
mod waiting;

pub use crate::mux::session::{BodyReader, BodyWriter, SendBody};
pub use crate::wire::framed::frame::ResetCode;
pub(crate) use channel::Channel;
pub use client::{Answer, Client, ClientBuilder, Driver, Reply};
pub use codec::HeadCodec;
pub use pool::NotFramed;
pub(crate) use server::{Answering, Streaming};
pub use server::{Call, Responder, StreamHandler};
#[doc(hidden)]
pub use server::{FramedCall, Tally};
