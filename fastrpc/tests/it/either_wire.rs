//! Clients and servers that speak either wire find the one that both speak, and remember it. Time is virtual.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fastrpc::codec::tlv::{Reply, Request, Tlv};
use fastrpc::{Call, Client, Compression, Error, ErrorKind, Wire};
use testkit::pipe::End;
use testkit::raw::RawPeer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::sleep;

use crate::support::*;

/// A client's settings for this wire.
fn speaking(wire: Wire) -> fastrpc::ClientBuilder<Tlv> {
    client().wire(wire).backoff(ms(1), ms(1))
}

/// Serves one wire or both.
fn served_by(wire: Wire) -> Port {
    Port::served(server().wire(wire), echo)
}

async fn answered(client: &Client<Tlv>, name: &str) {
    assert_eq!(client.call(ask(name)).await.unwrap().value, name);
}

/// What is wrong, from the outside to the cause.
fn sentences(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}

/// A server of the classic wire in a test's hands: it ends what does not begin with a hello that it knows, as Go's does.
fn scripted(end: End) {
    tokio::spawn(async move {
        let mut peer = RawPeer::server(end, &hello(Compression::None)).await;
        while let Some(frame) = peer.next_frame(testkit::wire::tlv::read_request).await {
            peer.reply(frame.id, "scripted").await;
        }
    });
}

/// The same, to which a framed hello is a hello with a compression that it does not know.
fn like_go(end: End) {
    tokio::spawn(async move {
        let mut peer = RawPeer::new(end);
        let heard = peer.hear_hello(b"fastrpc").await;
        peer.send(&hello(Compression::None).bytes()).await;
        if heard.compression & 0x80 != 0 {
            return;
        }
        peer.begin(&hello(Compression::None), &heard);
        while let Some(frame) = peer.next_frame(testkit::wire::tlv::read_request).await {
            peer.reply(frame.id, "like go").await;
        }
    });
}

#[tokio::test(start_paused = true)]
async fn each_client_gets_on_with_each_server_that_speaks_its_wire() {
    for (ours, theirs, wires) in [
        (Wire::Auto, Wire::Auto, "F"),
        (Wire::Auto, Wire::Framed, "F"),
        (Wire::Framed, Wire::Auto, "F"),
        (Wire::Framed, Wire::Framed, "F"),
        (Wire::Auto, Wire::Classic, "FC"),
        (Wire::Classic, Wire::Auto, "C"),
        (Wire::Classic, Wire::Classic, "C"),
    ] {
        let port = served_by(theirs);
        let client = port.client(speaking(ours));
        for _ in 0..3 {
            answered(&client, "x").await;
        }
        assert_eq!(port.wires(), wires, "{ours:?} {theirs:?}");
        assert_eq!((client.pending(), client.is_failing()), (0, false));
        let stats = client.stats();
        assert_eq!((stats.calls, stats.replies, stats.errors, stats.connections, stats.reconnects), (3, 3, 0, 1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_framed_client_and_a_classic_server_say_what_to_do() {
    let port = served_by(Wire::Classic);
    let error = port.client(speaking(Wire::Framed)).call(ask("x")).await.unwrap_err();
    assert_eq!((error.kind(), error.may_retry(), error.peer()), (ErrorKind::Handshake, true, Some("port")));
    assert!(error.to_string().contains("classic wire alone: set wire to auto or classic"), "{error}");
    assert_eq!(port.wires(), "F");
    let (here, there) = testkit::pipe::duplex();
    scripted(there);
    let error = speaking(Wire::Framed).handshake(here).await.map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("set wire to auto or classic"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_classic_client_and_a_framed_server_say_what_to_do() {
    let (framed, accept) = serving(server().wire(Wire::Framed), echo);
    let port = Port::new(accept);
    let error = port.client(speaking(Wire::Classic)).call(ask("x")).await.unwrap_err();
    assert_eq!((error.kind(), error.may_retry()), (ErrorKind::Handshake, true));
    assert!(sentences(&error).contains("speaks the framed wire alone: set wire to auto or framed"), "{error:?}");
    settle().await;
    assert_eq!((framed.stats().calls, framed.stats().connect_errors, framed.stats().connections), (0, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_classic_peer_is_remembered_and_asked_again_after_ten_minutes_by_one_call() {
    let port = Port::new(like_go);
    let client = port.client(speaking(Wire::Auto));
    // Many that wait for the first dial see it at once.
    let first: Vec<_> = (0..50).map(|_| tokio::spawn(one(client.clone()))).collect();
    for call in first {
        assert_eq!(call.await.unwrap(), "like go");
    }
    assert_eq!((port.wires().as_str(), client.stats().errors), ("FC", 0));
    // The next connections are classic ones at once.
    port.cut(1);
    settle().await;
    assert_eq!(one(client.clone()).await, "like go");
    assert_eq!(port.wires(), "FCC");
    sleep(secs(590)).await; // The connections are idle, and end.
    assert_eq!(one(client.clone()).await, "like go");
    assert_eq!(port.wires(), "FCCC");
    sleep(secs(20)).await;
    for again in ["FCCCF", "FCCCFFC"] {
        let calls: Vec<_> = (0..50).map(|_| tokio::spawn(one(client.clone()))).collect();
        for call in calls {
            assert_eq!(call.await.unwrap(), "like go");
        }
        assert_eq!(port.wires(), again);
        sleep(secs(601)).await;
    }
    // Now it has learnt the framed wire.
    port.replace(serving(server().wire(Wire::Auto), echo).1);
    answered(&client, "x").await;
    answered(&client, "x").await;
    assert!(port.wires().ends_with('F'), "{}", port.wires());
    assert_eq!((client.stats().errors, client.pending()), (0, 0));
}

async fn one(client: Client<Tlv>) -> String {
    String::from_utf8(client.call(ask("x")).await.unwrap().value.to_vec()).unwrap()
}

/// Whoever asks on behalf of all may go away, or fail, before it knows.
#[tokio::test(start_paused = true)]
async fn a_call_that_asks_and_is_given_up_leaves_the_question_to_the_next() {
    let port = served_by(Wire::Classic);
    let client = port.client(speaking(Wire::Auto));
    answered(&client, "x").await;
    sleep(secs(601)).await;
    let mut asks = client.call(ask("given up"));
    assert!(poll_once(&mut asks).is_pending());
    drop(asks);
    settle().await;
    port.replace(drop); // The next fails.
    assert_eq!(client.call(ask("fails")).await.unwrap_err().kind(), ErrorKind::Handshake);
    port.replace(serving(server().wire(Wire::Auto), echo).1);
    answered(&client, "x").await;
    assert_eq!(port.wires(), "FCF-F");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_asks_and_cannot_be_made_leaves_the_question_to_the_next() {
    let port = served_by(Wire::Classic);
    let client = port.client(speaking(Wire::Auto));
    answered(&client, "x").await;
    sleep(secs(601)).await;
    port.replace(serving(server().wire(Wire::Auto), echo).1);
    let too_long = || Request::new("", vec![0; 2 << 20]);
    client.send(&too_long()).unwrap_err();
    assert_eq!(client.call(too_long()).await.unwrap_err().kind(), ErrorKind::Encode);
    answered(&client, "x").await;
    assert_eq!(port.wires(), "FCF");
}

/// What ends an opening exchange without a word of the classic wire is taken for no classic peer.
#[tokio::test(start_paused = true)]
async fn a_close_half_a_hello_garbage_and_silence_are_no_classic_peer() {
    fn saying(what: &'static [u8], stays: bool) -> impl Fn(End) + Send {
        move |mut end: End| {
            tokio::spawn(async move {
                let mut heard = [0; 10];
                end.read_exact(&mut heard).await.unwrap();
                end.write_all(what).await.unwrap();
                if stays {
                    std::future::pending::<()>().await;
                }
            });
        }
    }
    let cases: [(&[u8], bool, ErrorKind); 6] = [
        (b"", false, ErrorKind::Handshake),
        (b"", true, ErrorKind::Handshake),
        (b"fastrpc\0", false, ErrorKind::Handshake),
        (b"fastrpc\0\0", true, ErrorKind::Handshake),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", false, ErrorKind::Handshake),
        (b"fastrpc\x01\0\0", false, ErrorKind::Handshake), // Of another version.
    ];
    for (said, stays, kind) in cases {
        let port = Port::new(saying(said, stays));
        let client = port.client(speaking(Wire::Auto));
        for wires in ["F", "FF"] {
            let error = client.call(ask("x")).await.unwrap_err();
            assert_eq!((error.kind(), error.may_retry()), (kind, true), "{}", said.escape_ascii());
            assert_eq!(port.wires(), wires, "{}", said.escape_ascii());
            assert!(client.is_failing());
        }
        port.replace(serving(server().wire(Wire::Auto), echo).1);
        answered(&client, "x").await;
        assert_eq!(port.wires(), "FFF");
        assert_eq!((client.stats().connect_errors, client.stats().errors, client.is_failing()), (2, 2, false));
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_without_an_answer_finds_the_wire_too_and_teaches_it() {
    let heard = Arc::new(AtomicBool::new(false));
    let hears = heard.clone();
    let handler = move |call: Call<Request>| {
        hears.store(!call.wants_reply(), Ordering::SeqCst);
        async move { Reply::new("") }
    };
    for (theirs, wires) in [(Wire::Auto, "F"), (Wire::Classic, "FC")] {
        let port = Port::served(server().wire(theirs), handler.clone());
        let client = port.client(speaking(Wire::Auto).max_pending(1));
        for _ in 0..3 {
            client.send(&ask("x")).unwrap();
            if port.dialled() == 0 {
                assert!(client.send(&ask("over")).unwrap_err().is_overload());
                assert!(client.call(ask("over")).await.unwrap_err().is_overload());
            }
            until("it is heard", || heard.swap(false, Ordering::SeqCst)).await;
            settle().await;
            assert_eq!(client.pending(), 0);
        }
        assert_eq!(port.wires(), wires);
        let stats = client.stats();
        assert_eq!((stats.errors, stats.overloads), (0, 2));
        assert_eq!(client.call(ask("x")).await.unwrap().value, "");
        assert_eq!(port.wires(), wires);
    }
}

/// What was handed over goes out, though the client closes behind it and the wire is not known yet.
#[tokio::test(start_paused = true)]
async fn a_drain_and_the_last_client_let_through_what_had_begun() {
    for (theirs, wires) in [(Wire::Auto, "F"), (Wire::Classic, "FC")] {
        for drains in [true, false] {
            let (serves, accept) = serving(server().wire(theirs), echo);
            let port = Port::new(accept);
            let client = port.client(speaking(Wire::Auto));
            client.send(&ask("handed over")).unwrap();
            if drains {
                let mut call = client.call(ask("begun"));
                assert!(poll_once(&mut call).is_pending());
                let drain = client.drain();
                let drained = tokio::join!(call, drain, async {
                    assert!(client.call(ask("too late")).await.unwrap_err().is_closed());
                    assert!(client.send(&ask("too late")).unwrap_err().is_closed());
                });
                assert_eq!(drained.0.unwrap().value, "begun");
                assert_eq!(client.pending(), 0);
            }
            drop(client);
            until("all are served", || serves.stats().replies == if drains { 2 } else { 1 }).await;
            assert_eq!(port.wires(), wires);
            let last = port.ways(port.dialled() - 1).0;
            tokio::time::timeout(secs(1), last.ended()).await.expect("the connection ends");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn close_fails_at_once_what_waits_for_a_connection() {
    for wire in [Wire::Auto, Wire::Framed] {
        let client = speaking(wire).connect_with("never", std::future::pending::<std::io::Result<End>>).unwrap();
        client.send(&ask("handed over")).unwrap();
        let mut call = client.call(ask("waits"));
        assert!(poll_once(&mut call).is_pending());
        client.close();
        let error = tokio::time::timeout(ms(1), call).await.expect("at once").unwrap_err();
        assert!(error.is_closed(), "{error:?}");
        assert!(client.call(ask("later")).await.unwrap_err().is_closed());
        settle().await;
        assert_eq!(client.pending(), 0);
        tokio::time::timeout(ms(1), client.drain()).await.expect("there is nothing to wait for");
    }
}
