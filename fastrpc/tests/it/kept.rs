//! Messages that are kept share the chunk that they were read into, and hold a bounded amount of memory by that.

use bytes::{Bytes, BytesMut};
use fastrpc::codec::tlv::{Reply, Request};
use fastrpc::{Call, Compression};

use crate::support::*;

/// The chunk that a client reads into.
const CHUNK: usize = 64 * 1024;
const REPLY: usize = 4 * 1024;

/// Replies with bytes that do not compress, so that each takes its place on the wire as well.
async fn noise(_: Call<Request>) -> Reply {
    Reply::new((0..REPLY).map(|_| fastrand::u8(..)).collect::<Vec<_>>())
}

/// Makes so many chunks' worth of calls and keeps one reply of each. Gives the bytes that those hold.
async fn held_by_kept_replies(compression: Compression, chunks: usize) -> usize {
    let (near, far) = tokio::io::duplex(1 << 20);
    let server = server().compression(compression).build().unwrap();
    let serving = tokio::spawn(async move {
        let _ = server.serve_connection(far, None, std::sync::Arc::new(noise)).await;
    });
    let (client, driver) = client().handshake(near).await.unwrap();
    let driving = tokio::spawn(driver);
    let mut kept: Vec<Bytes> = Vec::new();
    for _ in 0..chunks {
        for call in 0..CHUNK / REPLY + 1 {
            let reply = client.call(ask("noise")).await.unwrap();
            if call == 0 {
                kept.push(reply.value);
            }
        }
    }
    drop(client);
    let _ = driving.await;
    let _ = serving.await;
    // Nobody else holds their chunks now, so that they can be had whole, from the reply on.
    let whole = |reply: Bytes| reply.try_into_mut().map_or(CHUNK, |chunk: BytesMut| chunk.capacity());
    kept.into_iter().map(whole).sum()
}

#[tokio::test]
async fn kept_replies_hold_a_bounded_number_of_large_chunks() {
    for compression in [Compression::None, Compression::Flate, Compression::Snappy] {
        let held = held_by_kept_replies(compression, 100).await;
        // Sixteen large chunks, and for every other reply a small one, which has to hold the reply itself.
        let most = 20 * CHUNK + 100 * 3 * REPLY;
        assert!(held <= most, "{compression}: {held} bytes of {most}");
    }
}
