//! Fuzz targets `frames_server` and `frames_client`: whole connections that hear any bytes.

use std::sync::Arc;

use fastrpc::codec::tlv::{Reply, Request, Tlv};
use fastrpc::{Call, Client, Compression, Server};
use tokio::runtime::Builder;

use crate::pipe::duplex;
use crate::raw::RawPeer;
use crate::wire::{self, Frame, Hello, TlvReply, TlvRequest, read_frame, tlv};

/// A server hears `input` after a hello; its first byte chooses the compression. Without compression each call that the
/// second reader finds must have its reply, in order, unless the stream is wrong further on.
///
/// # Panics
///
/// A fault was found.
pub fn frames_server(input: &[u8]) {
    let Some((compression, stream)) = split(input) else { return };
    block_on(async {
        let (here, there) = duplex();
        here.outgoing().set_capacity(usize::MAX);
        here.incoming().set_capacity(usize::MAX);
        let server = Server::builder(Tlv::new())
            .wire(fastrpc::Wire::Classic)
            .compression(Compression::None)
            .max_undecoded(1 << 22);
        let server = server.build().expect("settings that work");
        let handler = Arc::new(async |call: Call<Request>| Reply::new(call.into_request().name));
        let serving = tokio::spawn(async move { server.serve_connection(there, None, handler).await });
        let hello = Hello::new(b"fastrpc", 0, compression);
        let mut peer = RawPeer::client(here, &hello).await;
        peer.send(stream).await;
        peer.finish().await;
        let mut replies = Vec::new();
        while let Some(frame) = peer.next_frame(tlv::read_reply).await {
            replies.push((frame.id, frame.message));
        }
        drop(peer);
        let ended = serving.await.expect("no panic, whatever the peer says");
        if compression == wire::Compression::None && ended.is_ok() {
            let calls = calls(stream);
            let expected = calls.iter().filter(|call| call.id != 0);
            assert!(expected.map(|call| (call.id, TlvReply::new(&call.message.name))).eq(replies));
        }
    });
}

/// A client with eight calls hears `input` after a hello, then the end; its first byte chooses the compression. Every call
/// must end, and a reply that it gets must be in the stream under its id.
///
/// # Panics
///
/// A fault was found.
pub fn frames_client(input: &[u8]) {
    let Some((compression, stream)) = split(input) else { return };
    block_on(async {
        let (here, there) = duplex();
        here.incoming().set_capacity(usize::MAX);
        let builder = Client::builder(Tlv::new())
            .wire(fastrpc::Wire::Classic)
            .compression(Compression::None)
            .max_undecoded(1 << 22);
        let hello = Hello::new(b"fastrpc", 0, compression);
        let (opened, mut peer) = tokio::join!(builder.handshake(here), RawPeer::server(there, &hello));
        let (client, driver) = opened.expect("a hello like any other");
        let driver = tokio::spawn(driver);
        let calls: Vec<_> = (0..8)
            .map(|n: u8| {
                let client = client.clone();
                tokio::spawn(async move { client.call(Request::new(vec![n], "")).await })
            })
            .collect();
        let mut ids = Vec::new();
        for _ in 0..calls.len() {
            ids.push(peer.frame(tlv::read_request).await.id);
        }
        peer.send(stream).await;
        drop(peer);
        for (call, id) in calls.into_iter().zip(ids) {
            let Ok(reply) = call.await.expect("no panic, whatever the peer says") else { continue };
            if compression == wire::Compression::None {
                let said = [&id.to_le_bytes()[..], &TlvReply::new(&reply.value).bytes()].concat();
                assert!(stream.windows(said.len()).any(|window| window == said), "nobody said this");
            }
        }
        assert_eq!(client.pending(), 0);
        assert!(driver.await.expect("no panic, whatever the peer says").is_err());
    });
}

fn split(input: &[u8]) -> Option<(wire::Compression, &[u8])> {
    let (first, stream) = input.split_first()?;
    Some((wire::Compression::ALL[usize::from(*first) % 3], stream))
}

/// The calls at the front of `stream`, as the second reader finds them.
fn calls(mut stream: &[u8]) -> Vec<Frame<TlvRequest>> {
    let mut calls = Vec::new();
    while let Ok((frame, len)) = read_frame(stream, tlv::read_request) {
        calls.push(frame);
        stream = &stream[len..];
    }
    calls
}

fn block_on(test: impl Future<Output = ()>) {
    Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(test);
}
