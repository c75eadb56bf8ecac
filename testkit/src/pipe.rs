//! An in-memory connection whose behaviour a test commands while it runs.
//!
//! [`duplex`] makes two ends. Each [`End`] is `AsyncRead + AsyncWrite`; each direction between them has a [`Way`], a
//! handle that may choke it, hold it, cut it into pieces, end it, break it, record it, and wait for what happens on it.
//! There is no timer and no randomness inside: what a test commands is what happens.
//!
//! ```
//! use testkit::pipe::duplex;
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let (mut here, mut there) = duplex();
//! let way = here.outgoing();
//! way.allow(3); // three more bytes may be written, then writes pend
//! let writer = tokio::spawn(async move { here.write_all(b"hello").await });
//! way.writer_blocked().await;
//! assert_eq!(way.written(), 3);
//! way.allow_all();
//! writer.await.unwrap().unwrap();
//! let mut text = String::new();
//! there.read_to_string(&mut text).await.unwrap();
//! assert_eq!(text, "hello");
//! # });
//! ```

mod end;
mod state;
mod way;

pub use end::{End, duplex};
pub use way::Way;
