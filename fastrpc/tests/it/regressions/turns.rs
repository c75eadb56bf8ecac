//! However much a peer sends, the task of its connection gives way to others.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use fastrpc::codec::tlv::{Reply, Request};
use fastrpc::{Call, Compression};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::support::*;

/// A stream that always has more to read, takes whatever is written, and never asks its reader to wait.
struct Flood {
    hello: Vec<u8>,
    pattern: &'static [u8],
    at: usize,
}

impl Flood {
    fn new(compression: Compression, pattern: &'static [u8]) -> Self {
        Self { hello: hello(compression).bytes(), pattern, at: 0 }
    }
}

impl AsyncRead for Flood {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        for _ in 0..into.remaining().min(500) {
            let (at, hello) = (self.at, self.hello.len());
            let byte = self.hello.get(at).copied();
            into.put_slice(&[byte.unwrap_or_else(|| self.pattern[(at - hello) % self.pattern.len()])]);
            self.at += 1;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Flood {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Compressed streams that go on and on and hold nothing.
const EMPTY: [(Compression, &[u8]); 2] =
    [(Compression::Flate, b"\x00\x00\x00\xff\xff"), (Compression::Snappy, b"\xff\x06\x00\x00sNaPpY")];

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

#[test]
fn a_server_gives_way_while_a_compressed_stream_holds_nothing() {
    for (compression, pattern) in EMPTY {
        watched(move || {
            runtime().block_on(async {
                let server = server().build().unwrap();
                let flood = Flood::new(compression, pattern);
                tokio::spawn(async move { server.serve_connection(flood, None, Arc::new(echo)).await });
                for _ in 0..3 {
                    tokio::task::yield_now().await; // It comes back at all.
                }
            });
        });
    }
}

#[test]
fn a_client_gives_way_while_a_compressed_stream_holds_nothing() {
    for (compression, pattern) in EMPTY {
        watched(move || {
            runtime().block_on(async {
                let (client, driver) = client().handshake(Flood::new(compression, pattern)).await.unwrap();
                tokio::spawn(driver);
                let error = client.call(ask("")).timeout(ms(50)).await.unwrap_err();
                assert!(error.is_timeout(), "{error}");
            });
        });
    }
}

#[test]
fn a_server_gives_way_and_ends_while_a_peer_floods_a_connection_that_closes() {
    watched(|| {
        runtime().block_on(async {
            let server = server().write_timeout(ms(50)).build().unwrap();
            let stopping = server.clone();
            let flood = Flood::new(Compression::None, &[0]); // Fire-and-forget calls without name and value.
            let handler = Arc::new(async |_: Call<Request>| Reply::new(""));
            let serving = tokio::spawn(async move { server.serve_connection(flood, None, handler).await });
            while stopping.stats().calls < 1000 {
                tokio::task::yield_now().await;
            }
            stopping.shutdown();
            serving.await.unwrap().unwrap();
        });
    });
}
