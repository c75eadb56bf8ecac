//! Law 6: what a peer claims or packs cannot cost more than its limit.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::BytesMut;
use fastrpc::codec::tlv::{Reply, Request};
use fastrpc::{BoxError, Call, Client, Codec, Compression, Decoded, ErrorKind, Failure};
use testkit::raw::RawPeer;
use testkit::wire::Compressor;

use crate::support::*;

/// A codec that never finds an end, and remembers the most it was ever shown.
#[derive(Clone, Default)]
struct Endless(Arc<AtomicUsize>);

impl Endless {
    fn see(&self, input: &BytesMut) {
        self.0.fetch_max(input.len(), Ordering::SeqCst);
    }
}

impl Codec for Endless {
    type Request = ();
    type Reply = ();
    type Partial = ();

    fn encode_request(&self, (): &(), out: &mut Vec<u8>) -> Result<(), BoxError> {
        out.push(0);
        Ok(())
    }

    fn decode_request(&self, (): &mut (), input: &mut BytesMut) -> Result<Option<Decoded<(), ()>>, BoxError> {
        self.see(input);
        Ok(None)
    }

    fn encode_reply(&self, (): &(), _: &mut Vec<u8>) -> Result<(), BoxError> {
        Ok(())
    }

    fn decode_reply(&self, (): &mut (), input: &mut BytesMut) -> Result<Option<Decoded<(), BoxError>>, BoxError> {
        self.see(input);
        Ok(None)
    }

    fn failure(&self, _: Failure<'_>) {}
}

/// 8 MiB of zeros, as small as they get.
fn bomb(compression: Compression) -> Vec<u8> {
    let zeros = vec![0; 8 << 20];
    match compression {
        Compression::Flate => {
            let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
            encoder.write_all(&zeros).unwrap();
            encoder.flush().unwrap();
            encoder.get_ref().clone()
        }
        _ => Compressor::new(second(compression)).flush(&zeros),
    }
}

const LIMIT: usize = 100_000;
/// One read of the default size more, and what snappy may add to it.
const SLACK: usize = 2 * 64 * 1024;

#[tokio::test(start_paused = true)]
async fn a_server_bounds_what_is_undecoded_also_when_it_is_compressed() {
    for compression in [Compression::None, Compression::Flate, Compression::Snappy] {
        let codec = Endless::default();
        let (here, there) = testkit::pipe::duplex();
        let server =
            fastrpc::Server::builder(codec.clone()).wire(fastrpc::Wire::Classic).max_undecoded(LIMIT).build().unwrap();
        let serving =
            tokio::spawn(async move { server.serve_connection(there, None, Arc::new(async |_: Call<()>| {})).await });
        let to_server = here.outgoing();
        let peer = RawPeer::client(here, &hello(compression)).await;
        tokio::spawn(async move {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut peer.into_inner(), &bomb(compression)).await;
        });
        let error = serving.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{error:?}");
        assert!(error.to_string().contains("max_undecoded"));
        let seen = codec.0.load(Ordering::SeqCst);
        assert!(seen > LIMIT && seen <= LIMIT + SLACK, "{compression}: {seen} bytes were decompressed");
        assert!(to_server.read() < (1 << 20), "{compression}: {} bytes were read", to_server.read());
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_bounds_what_is_undecoded_also_when_it_is_compressed() {
    for compression in [Compression::None, Compression::Flate, Compression::Snappy] {
        let codec = Endless::default();
        let (here, there) = testkit::pipe::duplex();
        let builder = Client::builder(codec.clone()).wire(fastrpc::Wire::Classic).max_undecoded(LIMIT);
        let hello = hello(compression);
        let (opened, peer) = tokio::join!(builder.handshake(here), RawPeer::server(there, &hello));
        let (client, driver) = opened.unwrap();
        tokio::spawn(driver);
        tokio::spawn(async move {
            let _ = tokio::io::AsyncWriteExt::write_all(&mut peer.into_inner(), &bomb(compression)).await;
        });
        assert_eq!(client.call(()).await.unwrap_err().kind(), ErrorKind::Protocol);
        let seen = codec.0.load(Ordering::SeqCst);
        assert!(seen > LIMIT && seen <= LIMIT + SLACK, "{compression}: {seen} bytes were decompressed");
    }
}

#[tokio::test(start_paused = true)]
async fn a_claimed_length_over_the_limit_ends_the_connection_at_once() {
    for claim in [(1 << 20) + 1, u32::MAX] {
        let (mut peer, _, _, serving) = served(server(), echo).await;
        peer.say(&[&1u32.to_le_bytes()[..], &claim.to_le_bytes()].concat()).await;
        assert_eq!(serving.await.unwrap().unwrap_err().kind(), ErrorKind::Protocol);
        peer.expect_end().await;

        let (net, mut ends) = net();
        let client = net.client(client());
        let mut call = client.call(ask("x"));
        let mut peer = meanwhile(&mut call, ends.peer()).await;
        let id = meanwhile(&mut call, peer.request()).await.id;
        peer.say(&[&id.to_le_bytes()[..], &claim.to_le_bytes()].concat()).await;
        assert_eq!(call.await.unwrap_err().kind(), ErrorKind::Protocol);
    }
}

/// The largest legal message passes, byte limit and all.
#[tokio::test(start_paused = true)]
async fn the_largest_message_passes() {
    let (net, ends) = net();
    let (_server, _serving) = serve(server(), ends, async |call: Call<Request>| {
        let request = call.into_request();
        Reply::new([&request.name[..10], &request.value[10..]].concat())
    });
    let client = net.client(client());
    let reply = client.call(Request::new(vec![1; 1 << 20], vec![2; 1 << 20])).await.unwrap();
    assert_eq!(reply.value.len(), 1 << 20);
}
