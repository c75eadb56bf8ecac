//! Law 5: when a connection ends, every call on it fails with one cause, and only what never left is made again.

use std::error::Error as _;
use std::io;

use fastrpc::codec::tlv::Request;
use fastrpc::{Codec, Compression, ErrorKind};
use testkit::pipe::End;
use testkit::raw::RawPeer;

use crate::support::*;

/// Ends a connection that carries a call, and gives the call's error.
async fn ended_by(how: impl AsyncFnOnce(RawPeer<End>)) -> fastrpc::Error {
    let (net, mut ends) = net();
    let client = net.client(client());
    let mut calls = [client.call(ask("a")), client.call(ask("b"))];
    let mut peer = meanwhile(&mut calls[0], ends.peer()).await;
    for call in &mut calls {
        meanwhile(call, peer.request()).await;
    }
    how(peer).await;
    let [a, b] = calls;
    let (a, b) = (a.await.unwrap_err(), b.await.unwrap_err());
    assert_eq!((a.kind(), a.may_retry(), a.to_string()), (b.kind(), b.may_retry(), b.to_string()));
    if let (Some(a), Some(b)) = (a.source(), b.source()) {
        assert!(std::ptr::eq(a, b), "one cause, shared");
    }
    assert_eq!(a.peer(), Some("test"));
    assert!(!a.may_retry(), "the peer has seen it");
    assert!(ends.is_empty(), "nothing is repeated");
    assert_eq!(client.pending(), 0);
    a
}

#[tokio::test(start_paused = true)]
async fn by_its_end() {
    let error = ended_by(async |peer| drop(peer)).await;
    assert_eq!(error.kind(), ErrorKind::Connection);
}

#[tokio::test(start_paused = true)]
async fn by_a_reset() {
    let error = ended_by(async |peer| {
        let end = peer.into_inner();
        end.outgoing().fail(io::ErrorKind::ConnectionReset);
    })
    .await;
    assert_eq!(error.kind(), ErrorKind::Connection);
    let cause = error.source().unwrap().downcast_ref::<io::Error>().unwrap();
    assert_eq!(cause.kind(), io::ErrorKind::ConnectionReset);
}

#[tokio::test(start_paused = true)]
async fn in_the_middle_of_a_reply() {
    let error = ended_by(async |mut peer| peer.say(&reply_bytes(7, b"half")[..6]).await).await;
    assert_eq!(error.kind(), ErrorKind::Connection);
    assert!(error.to_string().contains("middle"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn by_bytes_that_are_no_message() {
    let error = ended_by(async |mut peer| peer.say(&[0xff; 8]).await).await;
    assert_eq!(error.kind(), ErrorKind::Protocol);
}

#[tokio::test(start_paused = true)]
async fn by_a_damaged_compressed_stream() {
    for compression in [Compression::Flate, Compression::Snappy] {
        let (net, mut ends) = net();
        let client = net.client(client());
        let mut call = client.call(ask("lost"));
        let end = meanwhile(&mut call, ends.next()).await;
        let mut peer = meanwhile(&mut call, RawPeer::server(end, &hello(compression))).await;
        meanwhile(&mut call, peer.request()).await;
        peer.send(&[0xff; 100]).await;
        let error = call.await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{compression}");
        assert!(error.source().is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_hello_fails_what_waits_for_it() {
    let mut unknown = hello(Compression::None);
    unknown.compression = 9;
    for (said, retry) in [(&b"httptele\0\0"[..], true), (&unknown.bytes()[..], true), (&b"fast"[..], true)] {
        let (net, mut ends) = net();
        let client = net.client(client());
        let mut call = client.call(ask("early"));
        let mut peer = RawPeer::new(meanwhile(&mut call, ends.next()).await);
        peer.send(said).await;
        drop(peer);
        let error = call.await.unwrap_err();
        assert_eq!((error.kind(), error.may_retry()), (ErrorKind::Handshake, retry), "{error}");
        assert_eq!(error.peer(), Some("test"));
        assert!(client.is_failing());
        assert_eq!(client.stats().connect_errors, 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_never_left_is_made_once_more() {
    let (net, mut ends) = net();
    let client = net.client(client().batch_delay(ms(10)));
    let mut call = client.call(ask("again"));
    drop(meanwhile(&mut call, ends.peer()).await);
    let mut peer = meanwhile(&mut call, ends.peer()).await;
    let id = meanwhile(&mut call, peer.request()).await.id;
    peer.reply(id, "second try").await;
    assert_eq!(call.await.unwrap().value, "second try");
    assert_eq!(client.stats().reconnects, 1);
    assert_eq!(client.stats().calls, 1);
    assert_eq!(client.pending(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_never_left_twice_fails_and_says_so() {
    let (net, mut ends) = net();
    let client = net.client(client().batch_delay(ms(10)));
    let mut call = client.call(ask("again"));
    drop(meanwhile(&mut call, ends.peer()).await);
    drop(meanwhile(&mut call, ends.peer()).await);
    let error = call.await.unwrap_err();
    assert_eq!((error.kind(), error.may_retry()), (ErrorKind::Connection, true));
    assert!(ends.is_empty());
    assert_eq!(client.pending(), 0);
}

/// Behind a batch that is stuck half-way a call has not left; those in the batch may have.
#[tokio::test(start_paused = true)]
async fn what_waits_behind_a_stuck_batch_is_made_again_and_the_batch_is_not() {
    let (net, mut ends) = net();
    let client = net.client(client());
    let mut warm = client.call(ask("warm"));
    let peer = meanwhile(&mut warm, ends.peer()).await;
    let end = peer.into_inner();
    settle().await;
    end.incoming().allow(1);
    let mut stuck = client.call(Request::new("stuck", vec![0; 1000]));
    meanwhile(&mut stuck, end.incoming().writer_blocked()).await;
    let mut behind = client.call(ask("behind"));
    assert!(poll_once(&mut behind).is_pending());
    settle().await;
    drop(end);
    let error = stuck.await.unwrap_err();
    assert!(!error.may_retry(), "its first byte left");
    assert!(!warm.await.unwrap_err().may_retry());
    let mut peer = meanwhile(&mut behind, ends.peer()).await;
    let frame = meanwhile(&mut behind, peer.request()).await;
    assert_eq!(frame.message.name, b"behind");
    peer.reply(frame.id, "done").await;
    assert_eq!(behind.await.unwrap().value, "done");
}

/// A codec whose decoder panics.
struct Panicking;

impl Codec for Panicking {
    type Request = ();
    type Reply = ();
    type Partial = ();

    fn encode_request(&self, (): &(), out: &mut Vec<u8>) -> Result<(), fastrpc::BoxError> {
        out.push(b'?');
        Ok(())
    }

    fn decode_request(
        &self,
        (): &mut (),
        _: &mut bytes::BytesMut,
    ) -> Result<Option<fastrpc::Decoded<(), ()>>, fastrpc::BoxError> {
        panic!("decode_request")
    }

    fn encode_reply(&self, (): &(), _: &mut Vec<u8>) -> Result<(), fastrpc::BoxError> {
        Ok(())
    }

    fn decode_reply(
        &self,
        (): &mut (),
        _: &mut bytes::BytesMut,
    ) -> Result<Option<fastrpc::Decoded<(), fastrpc::BoxError>>, fastrpc::BoxError> {
        panic!("decode_reply")
    }

    fn failure(&self, _: fastrpc::Failure<'_>) {}
}

#[tokio::test(start_paused = true)]
async fn by_a_decoder_that_panics() {
    let (here, there) = testkit::pipe::duplex();
    let client = fastrpc::Client::builder(Panicking).wire(fastrpc::Wire::Classic).compression(Compression::None);
    let hello = hello(Compression::None);
    let (opened, mut peer) = tokio::join!(client.handshake(here), RawPeer::server(there, &hello));
    let (client, driver) = opened.unwrap();
    let driver = tokio::spawn(driver);
    let mut call = client.call(());
    assert!(poll_once(&mut call).is_pending());
    peer.reply(1, "anything").await;
    let error = call.await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection);
    assert_eq!(client.pending(), 0);
    assert!(driver.await.unwrap_err().is_panic());
}

#[tokio::test(start_paused = true)]
async fn a_decoder_that_panics_on_the_server_costs_its_connection_alone() {
    let (net, ends) = net();
    let server = fastrpc::Server::builder(Panicking)
        .wire(fastrpc::Wire::Classic)
        .compression(Compression::None)
        .build()
        .unwrap();
    let serving = tokio::spawn(server.serve(ends, async |_: fastrpc::Call<()>| {}).into_future());
    let client = net.client(client());
    assert_eq!(client.call(ask("panic")).await.unwrap_err().kind(), ErrorKind::Connection);
    assert_eq!(client.call(ask("panic")).await.unwrap_err().kind(), ErrorKind::Connection);
    assert!(!serving.is_finished());
}
