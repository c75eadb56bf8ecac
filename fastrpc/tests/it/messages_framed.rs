//! Whole messages on the framed wire. Time is virtual.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use fastrpc::codec::tlv::{Reply, Request, Tlv};
use fastrpc::stream::{self, HeadCodec, ResetCode, SendBody};
use fastrpc::{
    AtLimit, BoxError, Call, Client, ClientBuilder, Codec, Decoded, Dispatch, Error, ErrorKind, Failure, RecordCodec,
    Server, ServerBuilder, Wire,
};
use testkit::pipe::duplex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

use crate::hex;
use crate::panics::quiet;
use crate::support::*;

mod deadlines;
mod ends;
mod failures;
mod limits;

fn framed() -> ClientBuilder<Tlv> {
    client().wire(Wire::Framed).framed_compression(RecordCodec::None).backoff(ms(1), ms(1))
}

fn serves() -> ServerBuilder<Tlv> {
    server().wire(Wire::Framed).framed_compression(RecordCodec::None)
}

/// Answers with the name and the value; "slow" when the gate lets it, "never" never, "panic" not at all.
#[derive(Clone, Default)]
struct Handler(Arc<State>);

struct State {
    gate: Semaphore,
    running: Arc<AtomicUsize>,
    most: AtomicUsize,
    begun: Mutex<Vec<String>>,
}

impl Default for State {
    fn default() -> Self {
        Self { gate: Semaphore::new(0), running: Arc::default(), most: AtomicUsize::new(0), begun: Mutex::default() }
    }
}

impl Handler {
    fn running(&self) -> usize {
        self.0.running.load(Ordering::SeqCst)
    }

    async fn runs(&self, n: usize) {
        until("so many handlers run", || self.running() == n).await;
    }

    fn begun(&self, name: &str) -> usize {
        self.0.begun.lock().unwrap().iter().filter(|begun| *begun == name).count()
    }
}

impl fastrpc::Handler<Tlv> for Handler {
    async fn call(&self, call: Call<Request>) -> Reply {
        let _alive = Alive::new(&self.0.running);
        self.0.most.fetch_max(self.running(), Ordering::SeqCst);
        let request = call.into_request();
        let name = String::from_utf8(request.name.to_vec()).unwrap();
        self.0.begun.lock().unwrap().push(name.clone());
        match &name[..] {
            "slow" => self.0.gate.acquire().await.unwrap().forget(),
            "never" => std::future::pending().await,
            "panic" => panic!("as asked"),
            "too long" => return Reply::new(vec![0; 2 << 20]),
            _ => {}
        }
        Reply::new([request.name, request.value].concat())
    }
}

/// A server, a port of it, and what its handlers do.
fn scene(builder: ServerBuilder<Tlv>) -> (Server<Tlv>, Port, Handler) {
    let handler = Handler::default();
    let (server, accept) = serving(builder, handler.clone());
    (server, Port::new(accept), handler)
}

/// A scene and a client whose connection is open.
async fn open(ours: ClientBuilder<Tlv>, theirs: ServerBuilder<Tlv>) -> (Client<Tlv>, Port, Handler) {
    let (_, port, handler) = scene(theirs);
    let client = port.client(ours);
    client.call(ask("opens")).await.unwrap();
    (client, port, handler)
}

fn spawned(client: &Client<Tlv>, request: Request) -> tokio::task::JoinHandle<Result<Reply, Error>> {
    let client = client.clone();
    tokio::spawn(async move { client.call(request).await })
}

/// Heads are bytes: the other side of whole messages, in a test's hands.
struct Raw;

impl HeadCodec for Raw {
    type Request = Bytes;
    type Reply = Bytes;

    fn encode_request(&self, head: &Bytes, out: &mut Vec<u8>) -> Result<(), BoxError> {
        out.extend_from_slice(head);
        Ok(())
    }

    fn decode_request(&self, head: &Bytes) -> Result<Bytes, BoxError> {
        Ok(head.clone())
    }

    fn encode_reply(&self, head: &Bytes, out: &mut Vec<u8>) -> Result<(), BoxError> {
        self.encode_request(head, out)
    }

    fn decode_reply(&self, head: &Bytes) -> Result<Bytes, BoxError> {
        Ok(head.clone())
    }
}

/// A port whose calls `handler` answers by streams.
fn streamed(handler: impl stream::StreamHandler<Raw>) -> Port {
    let server = Server::builder(Raw).wire(Wire::Framed).build().unwrap();
    let handler = Arc::new(handler);
    Port::new(move |end| {
        let (server, handler) = (server.clone(), handler.clone());
        tokio::spawn(async move { server.serve_streams_connection(end, None, handler).await });
    })
}

/// Fills what may wait for the peer, so that nothing that comes behind it leaves.
fn stop(client: &Client<Tlv>, port: &Port) -> Vec<tokio::task::JoinHandle<Result<Reply, Error>>> {
    port.ways(0).0.choke();
    (0..3).map(|n| spawned(client, Request::new(format!("fills {n}"), vec![0; 100_000]))).collect()
}

#[tokio::test(start_paused = true)]
async fn a_thousand_calls_at_once_each_get_their_reply() {
    for dispatch in [Dispatch::Inline, Dispatch::Spawn, Dispatch::Pipeline] {
        for connections in [1, 3] {
            let (server, port, _) = scene(serves().dispatch(dispatch).framed_compression(RecordCodec::default()));
            let client = port.client(framed().connections(connections).framed_compression(RecordCodec::Lz4));
            let calls: Vec<_> = (0..1000usize)
                .map(|n| (n, spawned(&client, Request::new(format!("call {n} "), vec![7; n * 37 % 30_000]))))
                .collect();
            for (n, call) in calls {
                let value = call.await.unwrap().unwrap().value;
                assert_eq!(value, [format!("call {n} ").as_bytes(), &vec![7; n * 37 % 30_000]].concat());
            }
            let (ours, theirs) = (client.stats(), server.stats());
            assert_eq!((ours.calls, ours.replies, ours.errors, ours.pending), (1000, 1000, 0, 0), "{dispatch:?}");
            assert_eq!((theirs.calls, theirs.replies, theirs.errors, theirs.pending), (1000, 1000, 0, 0));
            assert_eq!((ours.bytes_out, ours.wire_bytes_out), (theirs.bytes_in, theirs.wire_bytes_in));
            assert_eq!(ours.connections, connections as u64);
        }
    }
}

/// Around what goes in a head, and with peers that take shorter heads than that.
#[tokio::test(start_paused = true)]
async fn messages_of_every_length_arrive_both_ways() {
    for (ours, theirs) in [(16 << 10, 16 << 10), (1000, 16 << 10), (16 << 10, 1000), (61_000, 61_000)] {
        let (_, port, _) = scene(serves().max_head(theirs));
        let client = port.client(framed().max_head(ours));
        let lengths = [0, 1, 960, 980, 1000, 1020, 16_000, 20_000, 100_000, 1 << 20];
        for length in lengths.into_iter().chain(16_384 - 20..16_384 + 20) {
            let value: Bytes = (0..251u8).cycle().take(length).collect();
            // Twice: the first opens the connection, or waits for nothing.
            for name in ["", "a name"] {
                let value = value.slice(..length.min((1 << 20) - name.len()));
                let reply = client.call(Request::new(name, value.clone())).await.unwrap();
                assert!(reply.value == [name.as_bytes(), &value[..]].concat(), "{length}");
            }
            client.send(&Request::new("", value)).unwrap();
        }
        settle().await;
        assert_eq!((client.stats().connections, client.stats().errors, client.pending()), (1, 0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_over_the_limit_is_refused_and_the_connection_lives() {
    let (client, _port, handler) = open(framed().max_undecoded(50_000), serves().max_undecoded(80_000)).await;
    let request = |length| Request::new("", vec![1; length]);
    assert_eq!(client.call(request(49_000)).await.unwrap().value.len(), 49_000);
    let error = client.call(request(60_000)).await.unwrap_err();
    assert_eq!((error.kind(), error.may_retry()), (ErrorKind::Refused, false), "{error:?}");
    let error = client.call(request(100_000)).await.unwrap_err();
    assert_eq!((error.kind(), error.may_retry()), (ErrorKind::Reset, false), "{error:?}");
    assert!(error.to_string().contains("over the limit of 80000 bytes"), "{error}");
    assert_eq!(handler.begun(""), 2);
    client.call(ask("on")).await.unwrap();
    assert_eq!((client.stats().connections, client.pending(), handler.running()), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_no_message_cost_their_call_alone() {
    let port = streamed(|call: stream::Call<Raw>| async move {
        let (head, _, mut responder) = call.into_parts();
        let reply = if head.ends_with(b"bad") { &b"\x01\0\0"[..] } else { b"\x02\0\0\0okmore" };
        responder.reply(&Bytes::from_static(reply), SendBody::empty()).unwrap();
    });
    let client = port.client(framed());
    for name in ["bad", "longer"] {
        let error = client.call(ask(name)).await.unwrap_err();
        assert_eq!((error.kind(), error.may_retry()), (ErrorKind::Refused, false), "{error:?}");
    }
    assert_eq!((port.dialled(), client.pending()), (1, 0));

    let (server, port, handler) = scene(serves());
    let calls = stream::Client::builder(Raw).wire(Wire::Framed).connect_with("port", port.dial()).unwrap();
    for bad in [&b"\x01\0\0"[..], b"\0\0\0\0\0\0\0\0more", b"\xff\xff\xff\xff"] {
        let error = calls.exchange(&Bytes::from_static(bad), Bytes::new()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Reset, "{error:?}");
    }
    let good = calls.exchange(&Bytes::from_static(b"\0\0\0\0\0\0\0\0"), Bytes::new()).await.unwrap();
    assert_eq!((&good.head[..], handler.begun(""), port.dialled()), (&b"\0\0\0\0"[..], 1, 1));
    assert_eq!(server.stats().replies, 1);
}
