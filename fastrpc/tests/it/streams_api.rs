//! Streamed calls as their users make and answer them: typed heads, bodies both ways, cancels. Time is virtual.

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use fastrpc::stream::{self, BodyReader, HeadCodec, ResetCode, SendBody, StreamHandler};
use fastrpc::{BoxError, Compression, Error, ErrorKind, RecordCodec, Server, ServerBuilder, Wire};
use tokio::time::{Instant, sleep, timeout};

use crate::panics::quiet;
use crate::support::*;

mod ends;
mod wires;

/// A request is a number, a reply a text; both may be what cannot be written or read.
#[derive(Clone)]
struct Heads;

const UNWRITABLE: u32 = 13;
const UNREADABLE: u32 = 14;

impl HeadCodec for Heads {
    type Request = u32;
    type Reply = String;

    fn encode_request(&self, number: &u32, out: &mut Vec<u8>) -> Result<(), BoxError> {
        out.extend_from_slice(&number.to_le_bytes());
        if *number == UNWRITABLE { Err("thirteen".into()) } else { Ok(()) }
    }

    fn decode_request(&self, head: &Bytes) -> Result<u32, BoxError> {
        let number = u32::from_le_bytes(head[..].try_into()?);
        if number == UNREADABLE { Err("fourteen".into()) } else { Ok(number) }
    }

    fn encode_reply(&self, text: &String, out: &mut Vec<u8>) -> Result<(), BoxError> {
        out.extend_from_slice(text.as_bytes());
        if text == "unwritable" { Err("as asked".into()) } else { Ok(()) }
    }

    fn decode_reply(&self, head: &Bytes) -> Result<String, BoxError> {
        if head == "unreadable" { Err("nobody reads this".into()) } else { Ok(String::from_utf8(head.to_vec())?) }
    }
}

type Client = stream::Client<Heads>;
type Call = stream::Call<Heads>;

fn builder() -> stream::ClientBuilder<Heads> {
    Client::builder(Heads).backoff(ms(1), ms(1))
}

fn serves() -> ServerBuilder<Heads> {
    Server::builder(Heads)
}

fn served<H: StreamHandler<Heads>>(settings: ServerBuilder<Heads>, handler: H) -> (Server<Heads>, Port) {
    let (server, handler) = (settings.build().unwrap(), Arc::new(handler));
    let serving = server.clone();
    let port = Port::new(move |end| {
        let (server, handler) = (serving.clone(), handler.clone());
        tokio::spawn(async move { server.serve_streams_connection(end, None, handler).await });
    });
    (server, port)
}

fn dials(port: &Port, builder: stream::ClientBuilder<Heads>) -> Client {
    builder.connect_with("port", port.dial()).unwrap()
}

/// A client whose calls `handler` answers.
fn connected<H: StreamHandler<Heads>>(handler: H) -> (Client, Port) {
    let (_, port) = served(serves(), handler);
    (dials(&port, builder()), port)
}

async fn all(body: &mut BodyReader) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    while let Some(piece) = body.piece().await {
        bytes.extend_from_slice(&piece?);
    }
    Ok(bytes)
}

/// Gives the body back as it comes, with what came behind it.
async fn echo(call: Call) {
    let (number, mut body, mut responder) = call.into_parts();
    let mut writer = responder.reply(&format!("{number}"), SendBody::Pieces).unwrap().unwrap();
    while let Some(Ok(piece)) = body.piece().await {
        if writer.write(piece).await.is_err() {
            return;
        }
    }
    let _ = writer.finish(body.trailers());
}

#[tokio::test(start_paused = true)]
async fn both_bodies_stream_at_once_and_trailers_come_behind() {
    let (client, port) = connected(echo);
    let (answer, writer) = client.call(&7, SendBody::Pieces).await.unwrap();
    let mut writer = writer.unwrap();
    let mut reply = answer.await.unwrap(); // Before anything of the body went.
    assert_eq!(reply.head, "7");
    for n in 0..20u8 {
        writer.write(Bytes::from(vec![n; 10_000])).await.unwrap();
        let mut back = 0;
        while back < 10_000 {
            let piece = reply.body.piece().await.unwrap().unwrap();
            assert!(piece.iter().all(|byte| *byte == n));
            back += piece.len();
        }
    }
    assert!(reply.body.trailers().is_none());
    assert_eq!(client.pending(), 1, "until the body has ended");
    writer.finish(Some(Bytes::from_static(b"trailers"))).unwrap();
    assert!(reply.body.piece().await.is_none());
    assert_eq!(reply.body.trailers().unwrap(), "trailers");
    assert!(reply.body.trailers().is_none() && reply.body.piece().await.is_none());
    assert_eq!(client.pending(), 0);

    // What is at hand goes as it is.
    for length in [0, 1, 16_384, 16_385, 1_000_000] {
        let mut reply = client.exchange(&1, vec![5; length].into()).await.unwrap();
        assert_eq!(all(&mut reply.body).await.unwrap(), vec![5; length]);
    }
    assert_eq!((port.dialled(), client.pending(), client.stats().errors), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn heads_come_ahead_of_the_reply() {
    let (client, _port) = connected(|call: Call| async move {
        let (_, _, mut responder) = call.into_parts();
        for n in 0..3 {
            responder.interim(&format!("ahead {n}")).unwrap();
            sleep(secs(1)).await;
        }
        assert!(responder.interim(&"unwritable".to_owned()).is_err());
        responder.reply(&"reply".to_owned(), SendBody::empty()).unwrap();
        responder.interim(&"too late".to_owned()).unwrap();
        assert!(responder.reply(&"again".to_owned(), SendBody::empty()).unwrap().is_none());
    });
    let (mut answer, _) = client.call(&1, SendBody::empty()).await.unwrap();
    let start = Instant::now();
    for n in 0..3u32 {
        assert_eq!(answer.interim().await.unwrap(), format!("ahead {n}"));
        assert_eq!(start.elapsed().as_secs(), u64::from(n));
    }
    assert!(answer.interim().await.is_none());
    assert_eq!(answer.await.unwrap().head, "reply");
}

/// Writes and reads until it is dropped, and never ends.
fn endless(alive: &Arc<AtomicUsize>) -> impl StreamHandler<Heads> + use<> {
    let alive = alive.clone();
    move |call: Call| {
        let alive = Alive::new(&alive);
        async move {
            let _alive = alive;
            let (number, mut body, mut responder) = call.into_parts();
            if number == 0 {
                return std::future::pending().await; // Without a reply.
            }
            let mut writer = responder.reply(&String::new(), SendBody::Pieces).unwrap().unwrap();
            while writer.write(Bytes::from_static(&[0; 1000])).await.is_ok() {
                let _ = timeout(ms(1), body.piece()).await;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn dropping_any_part_of_a_call_ends_it_at_the_server() {
    let alive = Arc::<AtomicUsize>::default();
    let (client, _port) = connected(endless(&alive));
    let ends = async |what: &str| {
        until(what, || alive.load(Ordering::SeqCst) == 0).await;
        assert_eq!(client.pending(), 0, "{what}");
    };
    let begins = async |number| {
        let (answer, writer) = client.call(&number, SendBody::Pieces).await.unwrap();
        until("it begins", || alive.load(Ordering::SeqCst) == 1).await;
        (answer, writer.unwrap())
    };
    let (answer, writer) = begins(0).await;
    drop(answer);
    ends("the answer was dropped").await;
    drop(writer);
    let (answer, writer) = begins(0).await;
    drop(writer);
    assert_eq!(answer.await.err().unwrap().kind(), ErrorKind::Reset);
    ends("the writer was dropped").await;
    let (answer, mut writer) = begins(1).await;
    let mut reply = answer.await.unwrap();
    reply.body.piece().await.unwrap().unwrap();
    assert_eq!(client.pending(), 1);
    drop(reply);
    ends("the reply was dropped").await;
    assert!(writer.write(Bytes::new()).await.is_err());
    let (answer, writer) = begins(1).await;
    let mut reply = answer.await.unwrap();
    drop(writer);
    while let Some(piece) = reply.body.piece().await {
        if let Err(error) = piece {
            assert_eq!(error.kind(), ErrorKind::Reset);
        }
    }
    drop(reply);
    ends("the request was broken off").await;
    let (answer, _) = client.call_before(Instant::now() + ms(50), &0, SendBody::empty()).await.unwrap();
    assert!(answer.await.err().unwrap().is_timeout());
    ends("its time was over").await;
}

#[tokio::test(start_paused = true)]
async fn a_server_may_break_a_call_off_at_any_point() {
    quiet();
    let (client, port) = connected(|call: Call| async move {
        let (number, body, mut responder) = call.into_parts();
        match number {
            1 => responder.fail(ResetCode::TooLarge, "not today"),
            2 => drop(responder),
            3 => panic!("as asked"),
            _ => {
                let mut writer = responder.reply(&"a part".to_owned(), SendBody::Pieces).unwrap().unwrap();
                writer.write(Bytes::from_static(b"a part")).await.unwrap();
                sleep(ms(10)).await; // What has not left yet may be taken back.
                if number == 5 {
                    writer.finish(None).unwrap();
                }
            }
        }
        drop(body);
    });
    for (number, says) in [(1, "not today"), (2, "ended without a reply"), (3, "ended without a reply")] {
        let error = client.exchange(&number, vec![0; 100_000].into()).await.unwrap_err();
        assert_eq!((error.kind(), error.may_retry(), error.peer()), (ErrorKind::Reset, false, Some("port")));
        assert!(error.to_string().contains(says), "{error}");
    }
    let mut reply = client.exchange(&4, Bytes::new()).await.unwrap();
    assert_eq!(all(&mut reply.body).await.unwrap_err().kind(), ErrorKind::Reset);
    let mut reply = client.exchange(&5, vec![0; 1_000_000].into()).await.unwrap();
    assert_eq!(all(&mut reply.body).await.unwrap(), b"a part", "an early reply stands");
    assert_eq!((port.dialled(), client.pending(), client.stats().errors), (1, 0, 3));
}

#[tokio::test(start_paused = true)]
async fn heads_that_cannot_be_written_or_read_cost_their_call_alone() {
    let (server, port) = served(serves().max_head(2000), |call: Call| async move {
        let (number, _, mut responder) = call.into_parts();
        let head = match number {
            1 => "unwritable".to_owned(),
            2 => "unreadable".to_owned(),
            3 => "x".repeat(1500),
            _ => "fine".to_owned(),
        };
        if responder.reply(&head, SendBody::Whole(vec![0; 100_000].into())).is_err() {
            responder.reply(&"in its stead".to_owned(), SendBody::empty()).unwrap();
        }
    });
    let client = dials(&port, builder().max_head(1000));
    let exchange = async |number| client.exchange(&number, Bytes::new()).await.map(|reply| reply.head);
    assert_eq!(exchange(0).await.unwrap(), "fine");
    let error = exchange(UNWRITABLE).await.unwrap_err();
    assert_eq!((error.kind(), error.may_retry()), (ErrorKind::Encode, false));
    let error = exchange(UNREADABLE).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Reset);
    assert!(error.to_string().contains("fourteen"), "{error}");
    assert_eq!(exchange(1).await.unwrap(), "in its stead");
    assert_eq!(exchange(3).await.unwrap(), "in its stead", "it is longer than the client takes");
    let error = exchange(2).await.unwrap_err();
    assert_eq!((error.kind(), error.may_retry(), error.peer()), (ErrorKind::Refused, false, Some("port")));
    assert_eq!(exchange(0).await.unwrap(), "fine");
    assert_eq!((port.dialled(), client.pending(), server.stats().pending), (1, 0, 0));
    let stats = client.stats();
    assert_eq!((stats.calls, stats.replies, stats.errors), (7, 5, 2));
}

#[tokio::test(start_paused = true)]
async fn as_many_handlers_run_as_may_and_others_may_be_tried_elsewhere() {
    let alive = Arc::<AtomicUsize>::default();
    let (server, port) = served(serves().concurrency(2), endless(&alive));
    let client = dials(&port, builder());
    let first = client.call(&0, SendBody::empty()).await.unwrap();
    let _second = client.call(&0, SendBody::empty()).await.unwrap();
    until("both run", || alive.load(Ordering::SeqCst) == 2).await;
    let error = client.exchange(&1, Bytes::new()).await.unwrap_err();
    assert_eq!((error.kind(), error.may_retry()), (ErrorKind::Reset, true), "{error:?}");
    assert!(error.to_string().contains("2 handlers run"), "{error}");
    assert_eq!((server.stats().overloads, server.stats().pending), (1, 2));
    drop(first);
    until("one is dropped", || server.stats().pending == 1).await;
    client.exchange(&1, Bytes::new()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn places_are_given_back_when_bodies_end() {
    let (_, port) = served(serves(), echo);
    let client = dials(&port, builder().max_pending(1));
    let full = async |what: &str| {
        let (answer, writer) =
            client.call(&1, SendBody::Pieces).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        let error = client.call(&1, SendBody::empty()).await.err().unwrap();
        assert!(error.is_overload() && error.may_retry(), "{what}: {error}");
        (answer.await.unwrap(), writer.unwrap())
    };
    let (reply, _writer) = full("at first").await;
    drop(reply);
    let (mut reply, writer) = full("a reply was dropped").await;
    drop(writer);
    assert!(all(&mut reply.body).await.is_err());
    let (mut reply, writer) = full("a body broke off").await;
    writer.finish(None).unwrap();
    all(&mut reply.body).await.unwrap();
    let _kept = reply;
    let kept = full("a body has ended, though its reader is kept").await;
    assert_eq!(client.pending(), 1);
    client.close();
    drop(kept);
    assert_eq!(client.pending(), 0);
    assert!(client.call(&1, SendBody::empty()).await.err().unwrap().is_closed());
}

/// Calls that fill what may wait for a peer that reads nothing.
async fn fill(client: &Client) -> Vec<stream::Answer<Heads>> {
    let mut answers = Vec::new();
    for _ in 0..5 {
        answers.push(client.call(&1, SendBody::Whole(vec![0; 100_000].into())).await.unwrap().0);
    }
    settle().await;
    answers
}

#[tokio::test(start_paused = true)]
async fn an_exchange_that_never_left_is_made_once_more() {
    let (_, port) = served(serves(), echo);
    let client = dials(&port, builder().framed_compression(RecordCodec::None));
    client.exchange(&1, Bytes::new()).await.unwrap();
    let (up, _) = port.ways(0);
    up.choke();
    let filling = fill(&client).await;
    let unsent = tokio::spawn({
        let client = client.clone();
        async move { all(&mut client.exchange(&2, vec![3; 30_000].into()).await.unwrap().body).await.unwrap() }
    });
    settle().await;
    port.cut(0);
    assert_eq!(unsent.await.unwrap(), vec![3; 30_000]);
    for answer in filling {
        assert_eq!(answer.await.err().unwrap().kind(), ErrorKind::Connection);
    }
    assert_eq!((port.dialled(), client.pending()), (2, 0));
    // A call that is not an exchange is left to its maker, who is told.
    let (up, _) = port.ways(1);
    up.choke();
    let _filling = fill(&client).await;
    let (answer, writer) = client.call(&2, SendBody::Pieces).await.unwrap();
    settle().await;
    port.cut(1);
    let error = answer.await.err().unwrap();
    assert_eq!((error.kind(), error.may_retry()), (ErrorKind::Connection, true));
    assert!(writer.unwrap().sent().await.unwrap_err().may_retry());
    assert_eq!(port.dialled(), 2);
}

/// How far a writer gets ahead of who does not read.
#[tokio::test(start_paused = true)]
async fn a_body_that_nobody_reads_is_bounded() {
    let written = Arc::new(Mutex::new(0));
    let counts = written.clone();
    let (client, _port) = connected(move |call: Call| {
        let counts = counts.clone();
        async move {
            let (_, _, mut responder) = call.into_parts();
            let mut writer = responder.reply(&String::new(), SendBody::Pieces).unwrap().unwrap();
            while writer.write(Bytes::from_static(&[0; 10_000])).await.is_ok() {
                *counts.lock().unwrap() += 10_000;
            }
        }
    });
    let (answer, _) = client.call(&1, SendBody::empty()).await.unwrap();
    let mut reply = answer.await.unwrap();
    sleep(secs(5)).await;
    let ahead = *written.lock().unwrap();
    assert!((64 << 10..3 << 20).contains(&ahead), "{ahead} bytes");
    let mut read = 0;
    while read < 10 << 20 {
        read += poll_fn(|cx| reply.body.poll_piece(cx)).await.unwrap().unwrap().len();
    }
}
