//! A peer that says exactly the bytes it is told to say.
//!
//! [`RawPeer`] stands on one end of any connection, a socket or a [pipe](crate::pipe), as client or as server. Before the
//! hellos it speaks bytes; after them it speaks plain bytes that it compresses, and frames.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::wire::{Compression, Compressor, Decompressor, Error, Frame, Hello, read_frame};

/// The most bytes that the other side may send before [`RawPeer`] gives up on it: 256 MiB decompressed.
const LIMIT: usize = 256 << 20;

/// A scripted client or server. Methods panic when the connection fails or the bytes are wrong.
///
/// No method is cancel safe, but for [`next_frame`](RawPeer::next_frame) and [`frame`](RawPeer::frame): what they had
/// received stays for the next call.
#[derive(Debug)]
pub struct RawPeer<T> {
    io: T,
    compressor: Compressor,
    decompressor: Decompressor,
    /// Received after the hello, decompressed, not yet taken by anyone.
    plain: Vec<u8>,
}

impl<T: AsyncRead + AsyncWrite + Unpin> RawPeer<T> {
    /// A peer on `io` that has said and heard nothing yet.
    pub fn new(io: T) -> Self {
        Self {
            io,
            compressor: Compressor::new(Compression::None),
            decompressor: Decompressor::new(Compression::None, LIMIT),
            plain: Vec::new(),
        }
    }

    /// Says `hello`, hears the server's hello, and compresses as both say.
    pub async fn client(io: T, hello: &Hello) -> Self {
        let mut peer = Self::new(io);
        peer.send(&hello.bytes()).await;
        let heard = peer.hear_hello(&hello.sniff).await;
        peer.begin(hello, &heard);
        peer
    }

    /// Hears a client's hello with the same sniff header, says `hello`, and compresses as both say.
    pub async fn server(io: T, hello: &Hello) -> Self {
        let mut peer = Self::new(io);
        let heard = peer.hear_hello(&hello.sniff).await;
        peer.send(&hello.bytes()).await;
        peer.begin(hello, &heard);
        peer
    }

    /// Reads one hello with that sniff header.
    pub async fn hear_hello(&mut self, sniff: &[u8]) -> Hello {
        let bytes = self.read_exact(sniff.len() + 3).await;
        Hello::read(sniff, &bytes).expect("the peer's hello").0
    }

    /// Begins both compressed streams, after hellos that the test has exchanged itself.
    pub fn begin(&mut self, said: &Hello, heard: &Hello) {
        self.compressor = Compressor::new(said.compression().expect("our own hello"));
        self.decompressor = Decompressor::new(heard.compression().expect("the peer's hello"), LIMIT);
    }

    /// Sends these bytes as they are.
    pub async fn send(&mut self, bytes: &[u8]) {
        self.io.write_all(bytes).await.expect("sending to the peer");
        self.io.flush().await.expect("sending to the peer");
    }

    /// Sends plain bytes through the compressor, flushed.
    pub async fn say(&mut self, plain: &[u8]) {
        let bytes = self.compressor.flush(plain);
        self.send(&bytes).await;
    }

    /// Reads exactly `len` bytes as they are.
    pub async fn read_exact(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let read = self.io.read_exact(&mut bytes).await;
        read.unwrap_or_else(|error| panic!("reading {len} bytes from the peer: {error}"));
        bytes
    }

    /// Reads all bytes as they are, until the end. A reset counts as one: a peer that closes with bytes unread sends it.
    pub async fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.io.read_to_end(&mut bytes).await {
            Ok(_) => bytes,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => bytes,
            Err(error) => panic!("reading to the end from the peer: {error}"),
        }
    }

    /// The next frame, its message read with `read`; `None` when the connection ends between frames.
    ///
    /// # Panics
    ///
    /// The bytes are no such frame, or the connection ends inside one.
    pub async fn next_frame<M>(
        &mut self,
        mut read: impl FnMut(&[u8]) -> Result<(M, usize), Error>,
    ) -> Option<Frame<M>> {
        loop {
            match read_frame(&self.plain, &mut read) {
                Ok((frame, len)) => {
                    self.plain.drain(..len);
                    return Some(frame);
                }
                Err(Error::Incomplete(part)) => {
                    if !self.receive().await {
                        assert!(self.plain.is_empty(), "the peer ended its stream in the {part} of a frame");
                        return None;
                    }
                }
                Err(bad) => panic!("the peer's frame is wrong: {bad}"),
            }
        }
    }

    /// The next frame, which must come.
    ///
    /// # Panics
    ///
    /// As [`next_frame`](RawPeer::next_frame); also when the connection ends.
    pub async fn frame<M>(&mut self, read: impl FnMut(&[u8]) -> Result<(M, usize), Error>) -> Frame<M> {
        self.next_frame(read).await.expect("one more frame before the end of the connection")
    }

    /// Waits for the end of the connection. Flushes without content may come before it.
    ///
    /// # Panics
    ///
    /// Content comes, or was left over.
    pub async fn expect_end(&mut self) {
        while self.receive().await {}
        assert!(self.plain.is_empty(), "before the end came: {}", self.plain.escape_ascii());
    }

    /// Ends the sending direction, as a half-close does.
    pub async fn finish(&mut self) {
        self.io.shutdown().await.expect("ending the sending direction");
    }

    /// The connection; bytes received but not taken are lost.
    pub fn into_inner(self) -> T {
        self.io
    }

    /// Takes what comes next; false at the end.
    async fn receive(&mut self) -> bool {
        let mut bytes = Vec::with_capacity(16 * 1024);
        let len = match self.io.read_buf(&mut bytes).await {
            Ok(len) => len,
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => 0,
            Err(error) => panic!("reading from the peer: {error}"),
        };
        self.plain.extend(self.decompressor.push(&bytes).expect("the peer's compressed stream"));
        len > 0
    }
}
