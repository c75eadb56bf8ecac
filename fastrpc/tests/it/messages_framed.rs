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

// ---- what arrives ----

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

// ---- failures at the server ----

#[tokio::test(start_paused = true)]
async fn panics_overload_and_what_cannot_be_encoded_are_answered_and_counted() {
    quiet();
    for dispatch in [Dispatch::Inline, Dispatch::Spawn] {
        let (server, port, handler) = scene(serves().concurrency(1).dispatch(dispatch));
        let client = port.client(framed());
        assert_eq!(client.call(ask("panic")).await.unwrap().value, "panicked");
        let value = client.call(ask("too long")).await.unwrap().value;
        assert!(value.starts_with(b"unencodable: "), "{value:?}");
        let slow = spawned(&client, ask("slow"));
        handler.runs(1).await;
        assert_eq!(client.call(ask("x")).await.unwrap().value, "overloaded at 1");
        client.send(&ask("x")).unwrap(); // It is over the limit too, and not answered.
        settle().await;
        assert_eq!(server.stats().pending, 1);
        handler.0.gate.add_permits(1);
        slow.await.unwrap().unwrap();
        assert_eq!(client.call(ask("x")).await.unwrap().value, "x");
        let stats = server.stats();
        assert_eq!((stats.calls, stats.replies, stats.errors, stats.overloads, stats.pending), (6, 2, 2, 2, 0));
        let stats = client.stats();
        assert_eq!((stats.calls, stats.replies, stats.errors, stats.connections), (6, 5, 0, 1));
    }
}

/// A codec that fails or panics where a name says.
struct Treacherous(Tlv);

impl Codec for Treacherous {
    type Request = Request;
    type Reply = Reply;
    type Partial = <Tlv as Codec>::Partial;

    fn encode_request(&self, request: &Request, out: &mut Vec<u8>) -> Result<(), BoxError> {
        out.extend_from_slice(b"half of somethi");
        assert!(request.name != "panic in encode", "as asked");
        out.truncate(out.len() - 15);
        self.0.encode_request(request, out)
    }

    fn decode_request(
        &self,
        partial: &mut Self::Partial,
        input: &mut BytesMut,
    ) -> Result<Option<Decoded<Request, Reply>>, BoxError> {
        let decoded = self.0.decode_request(partial, input)?;
        if let Some(Decoded::Message(request)) = &decoded {
            assert!(request.name != "panic in decode", "as asked");
            if request.name == "refused" {
                return Ok(Some(Decoded::Refused(Reply::new("not wanted"))));
            }
        }
        Ok(decoded)
    }

    fn encode_reply(&self, reply: &Reply, out: &mut Vec<u8>) -> Result<(), BoxError> {
        out.extend_from_slice(b"half of somethi");
        assert!(reply.value != "panic in reply" && reply.value != "panic in both", "as asked");
        out.truncate(out.len() - 15);
        self.0.encode_reply(reply, out)
    }

    fn decode_reply(
        &self,
        partial: &mut Self::Partial,
        input: &mut BytesMut,
    ) -> Result<Option<Decoded<Reply, BoxError>>, BoxError> {
        let decoded = self.0.decode_reply(partial, input)?;
        if let Some(Decoded::Message(reply)) = &decoded {
            assert!(reply.value != "panic in decoded reply", "as asked");
            if reply.value == "unwelcome" {
                return Ok(Some(Decoded::Refused("unwelcome".into())));
            }
        }
        Ok(decoded)
    }

    fn failure(&self, failure: Failure<'_>) -> Reply {
        self.0.failure(failure)
    }
}

#[tokio::test(start_paused = true)]
async fn a_codec_that_panics_or_refuses_costs_its_call_alone() {
    quiet();
    let server = Server::builder(Treacherous(codec())).wire(Wire::Framed).build().unwrap();
    let dialled = Arc::<AtomicUsize>::default();
    let (counted, serving) = (dialled.clone(), server.clone());
    let dial = move || {
        let (here, there) = duplex();
        let server = serving.clone();
        let handler = |call: Call<Request>| async move { Reply::new(call.into_request().name) };
        tokio::spawn(async move { server.serve_connection(there, None, Arc::new(handler)).await });
        counted.fetch_add(1, Ordering::SeqCst);
        std::future::ready(Ok(here))
    };
    let builder = Client::builder(Treacherous(codec())).wire(Wire::Framed).max_pending(1);
    let client = builder.connect_with("port", dial).unwrap();
    // The first waits for a connection, and is encoded elsewhere.
    for _ in 0..2 {
        for name in ["panic in encode", "panic in decoded reply"] {
            let call = client.clone();
            tokio::spawn(async move { call.call(ask(name)).await }).await.unwrap_err();
            assert_eq!(client.pending(), 0, "{name}");
        }
        let sender = client.clone();
        tokio::spawn(async move { sender.send(&ask("panic in encode")) }).await.unwrap_err();
        let reset = |name| client.call(ask(name));
        assert_eq!(reset("panic in decode").await.unwrap_err().kind(), ErrorKind::Reset);
        let value = client.call(ask("panic in reply")).await.unwrap().value;
        assert!(value.starts_with(b"unencodable: "), "{value:?}");
        assert_eq!(client.call(ask("refused")).await.unwrap().value, "not wanted");
        assert_eq!(client.call(ask("unwelcome")).await.unwrap_err().kind(), ErrorKind::Refused);
        assert_eq!(client.call(ask("fine")).await.unwrap().value, "fine");
        assert_eq!((client.pending(), server.stats().pending), (0, 0));
    }
    assert_eq!(dialled.load(Ordering::SeqCst), 1);
}

// ---- deadlines and cancels ----

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_call_here_and_its_handler_there() {
    for dispatch in [Dispatch::Inline, Dispatch::Spawn, Dispatch::Pipeline] {
        let (client, port, handler) = open(framed().timeout(secs(2)), serves().dispatch(dispatch)).await;
        let start = Instant::now();
        let error = client.call(ask("never")).timeout(ms(500)).await.unwrap_err();
        assert!(error.is_timeout() && !error.may_retry() && error.peer() == Some("port"), "{error:?}");
        assert!(start.elapsed() >= ms(500) && start.elapsed() < ms(520), "{:?}", start.elapsed());
        handler.runs(0).await;
        // The client's own, of all calls; and the server's clock, if the client's reset does not come.
        let mut call = Box::pin(client.call(ask("never")));
        assert!(poll_once(&mut call).is_pending());
        handler.runs(1).await;
        port.ways(0).0.choke();
        assert!(call.await.unwrap_err().is_timeout());
        handler.runs(0).await;
        assert_eq!((client.pending(), client.stats().timeouts, client.stats().errors), (0, 2, 0), "{dispatch:?}");
    }
}

/// The deadline is one of the whole reply.
#[tokio::test(start_paused = true)]
async fn a_reply_that_stalls_ends_with_the_calls_deadline() {
    let alive = Arc::<AtomicUsize>::default();
    let counted = alive.clone();
    let port = streamed(move |call: stream::Call<Raw>| {
        let alive = Alive::new(&counted);
        async move {
            let _alive = alive;
            let (_, _, mut responder) = call.into_parts();
            let mut writer = responder.reply(&Bytes::new(), SendBody::Pieces).unwrap().unwrap();
            for _ in 0..100 {
                if writer.write(Bytes::from_static(&[0, 0, 1, 0])).await.is_err() {
                    return;
                }
                sleep(secs(1)).await;
            }
            std::future::poll_fn(|cx| writer.poll_gone(cx)).await;
        }
    });
    let client = port.client(framed());
    let start = Instant::now();
    let error = client.call(ask("x")).timeout(ms(2500)).await.unwrap_err();
    assert!(error.is_timeout() && !error.may_retry() && error.peer() == Some("port"), "{error:?}");
    assert_eq!(start.elapsed().as_millis() / 10, 250);
    until("the server stops", || alive.load(Ordering::SeqCst) == 0).await;
    assert_eq!((client.pending(), client.stats().timeouts), (0, 1));
}

/// A client that sends no more of a request does not hold a place at the server for ever.
#[tokio::test(start_paused = true)]
async fn a_request_that_stalls_is_given_up_after_the_read_timeout() {
    let (server, port, handler) = scene(serves().concurrency(1).read_timeout(secs(5)));
    let builder = stream::Client::builder(Raw).wire(Wire::Framed).timeout(secs(3600));
    let calls = builder.connect_with("port", port.dial()).unwrap();
    let (answer, writer) = calls.call(&Bytes::new(), SendBody::Pieces).await.unwrap();
    let mut writer = writer.unwrap();
    for _ in 0..3 {
        writer.write(Bytes::from_static(b"\x01\0\0\0")).await.unwrap();
        sleep(secs(4)).await;
        assert_eq!(server.stats().pending, 1);
    }
    let start = Instant::now();
    let error = answer.await.err().unwrap();
    assert!(error.is_timeout() && start.elapsed() <= secs(2), "{error:?} after {:?}", start.elapsed());
    settle().await;
    assert_eq!((server.stats().pending, handler.begun("")), (0, 0));
    assert_eq!(port.client(framed()).call(ask("x")).await.unwrap().value, "x");
}

#[tokio::test(start_paused = true)]
async fn dropping_a_call_drops_its_handler() {
    for dispatch in [Dispatch::Inline, Dispatch::Spawn, Dispatch::Pipeline] {
        let (client, _port, handler) = open(framed(), serves().dispatch(dispatch)).await;
        let mut calls: Vec<_> = (0..10).map(|_| client.call(ask("never"))).collect();
        for call in &mut calls {
            assert!(poll_once(call).is_pending());
        }
        let running = if dispatch == Dispatch::Pipeline { 1 } else { 10 };
        handler.runs(running).await;
        assert_eq!(client.pending(), 10);
        drop(calls);
        assert_eq!(client.pending(), 0);
        handler.runs(0).await;
        assert_eq!(handler.begun("never"), running, "those that waited are not begun");
        assert_eq!(client.call(ask("on")).await.unwrap().value, "on");
    }
}

#[tokio::test(start_paused = true)]
async fn a_pipeline_runs_one_call_at_a_time_in_order() {
    let (client, _port, handler) = open(framed(), serves().dispatch(Dispatch::Pipeline)).await;
    let calls: Vec<_> = ["slow", "a", "slow", "b"].map(|name| spawned(&client, ask(name))).into_iter().collect();
    handler.runs(1).await;
    settle().await;
    assert_eq!(*handler.0.begun.lock().unwrap(), ["opens", "slow"]);
    handler.0.gate.add_permits(2);
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(*handler.0.begun.lock().unwrap(), ["opens", "slow", "a", "slow", "b"]);
    assert_eq!(handler.0.most.load(Ordering::SeqCst), 1);
}

// ---- limits ----

#[tokio::test(start_paused = true)]
async fn as_many_calls_are_admitted_as_may_and_every_end_gives_its_place_back() {
    for connections in [1, 3] {
        let (server, port, handler) = scene(serves());
        let client = port.client(framed().max_pending(3).connections(connections).max_undecoded(50_000));
        let full = async |what: &str| {
            let calls: Vec<_> = (0..3).map(|_| spawned(&client, ask("slow"))).collect();
            settle().await;
            assert_eq!(client.pending(), 3, "{what}");
            let error = client.call(ask("over")).await.unwrap_err();
            assert!(error.is_overload() && error.may_retry(), "{what}: {error:?}");
            assert!(client.send(&ask("over")).unwrap_err().is_overload());
            handler.runs(3).await;
            handler.0.gate.add_permits(3);
            for call in calls {
                call.await.unwrap().unwrap();
            }
            assert_eq!(client.pending(), 0, "{what}");
        };
        full("at first").await;
        let ends: [(&str, &dyn Fn() -> Request); 4] = [
            ("an error", &|| Request::new("", vec![0; 2 << 20])),
            ("a panic", &|| ask("panic")),
            ("a reply that is refused", &|| Request::new("", vec![0; 60_000])),
            ("a long reply", &|| Request::new("", vec![0; 40_000])),
        ];
        for (what, request) in ends {
            quiet();
            let _ = client.call(request()).await;
            full(what).await;
        }
        let mut waits = client.call(ask("never"));
        assert!(poll_once(&mut waits).is_pending());
        handler.runs(1).await;
        drop(waits);
        handler.runs(0).await;
        full("it was dropped while it waited").await;
        assert!(client.call(ask("never")).timeout(ms(5)).await.unwrap_err().is_timeout());
        handler.runs(0).await;
        full("its time was over").await;
        let lost = spawned(&client, ask("never"));
        handler.runs(1).await;
        (0..port.dialled()).for_each(|n| port.cut(n));
        assert_eq!(lost.await.unwrap().unwrap_err().kind(), ErrorKind::Connection);
        handler.runs(0).await;
        let mut opening: Vec<_> = (0..3).map(|_| client.call(ask("opening"))).collect();
        for call in &mut opening {
            assert!(poll_once(call).is_pending());
        }
        assert_eq!(client.pending(), 3);
        drop(opening);
        full("they were dropped while the connection was opened").await;
        assert_eq!(server.stats().pending, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_is_fair_and_a_cancelled_waiter_does_not_lose_the_turn() {
    let (client, _port, handler) = open(framed().max_pending(1).at_limit(AtLimit::Wait), serves()).await;
    let first = spawned(&client, ask("slow"));
    handler.runs(1).await;
    let mut calls: Vec<_> = ["cancelled", "a", "b", "c"].map(|name| client.call(ask(name))).into_iter().collect();
    for call in &mut calls {
        assert!(poll_once(call).is_pending());
    }
    assert_eq!(client.pending(), 1);
    let error = client.call(ask("late")).timeout(ms(10)).await.unwrap_err();
    assert!(error.is_timeout() && error.may_retry());
    handler.0.gate.add_permits(1);
    first.await.unwrap().unwrap();
    // The turn has been given to the one that goes away now; it must reach the next.
    drop(calls.remove(0));
    let mut barging = client.call(ask("barging"));
    assert!(poll_once(&mut barging).is_pending());
    for call in calls {
        call.await.unwrap();
    }
    barging.await.unwrap();
    assert_eq!(handler.0.begun.lock().unwrap()[2..], ["a", "b", "c", "barging"]);
    assert_eq!(client.pending(), 0);
}

/// Fills what may wait for the peer, so that nothing that comes behind it leaves.
fn stop(client: &Client<Tlv>, port: &Port) -> Vec<tokio::task::JoinHandle<Result<Reply, Error>>> {
    port.ways(0).0.choke();
    (0..3).map(|n| spawned(client, Request::new(format!("fills {n}"), vec![0; 100_000]))).collect()
}

#[tokio::test(start_paused = true)]
async fn a_newer_call_takes_the_place_of_the_oldest_unsent_one() {
    let (client, port, handler) = open(framed().max_pending(5).at_limit(AtLimit::DropOldest), serves()).await;
    let filling = stop(&client, &port);
    settle().await;
    let [oldest, old] = ["oldest", "old"].map(|name| spawned(&client, ask(name)));
    settle().await;
    let newer = spawned(&client, ask("newer"));
    let error = oldest.await.unwrap().unwrap_err();
    assert!(error.is_overload() && error.may_retry(), "{error:?}");
    assert_eq!((client.pending(), client.stats().overloads, client.stats().errors), (5, 1, 0));
    port.ways(0).0.allow_all();
    for call in filling.into_iter().chain([old, newer]) {
        call.await.unwrap().unwrap();
    }
    assert_eq!(handler.begun("oldest"), 0);
    // All are sent: there is none to take the place of.
    let sent: Vec<_> = (0..5).map(|_| spawned(&client, ask("slow"))).collect();
    handler.runs(5).await;
    assert!(client.call(ask("newest")).await.unwrap_err().is_overload());
    handler.0.gate.add_permits(5);
    for call in sent {
        call.await.unwrap().unwrap();
    }
    assert_eq!(client.pending(), 0);
}

/// So it is while there is no connection.
#[tokio::test(start_paused = true)]
async fn a_newer_call_takes_the_place_of_the_oldest_that_waits_for_a_connection() {
    for wire in [Wire::Framed, Wire::Auto] {
        let (_, port, _) = scene(serves());
        let dial = port.dial();
        let builder = framed().wire(wire).max_pending(2).at_limit(AtLimit::DropOldest);
        let slow = move || {
            let dialled = dial();
            async move {
                sleep(secs(1)).await;
                dialled.await
            }
        };
        let client = builder.connect_with("port", slow).unwrap();
        let calls: Vec<_> = (0..4).map(|n| spawned(&client, ask(&n.to_string()))).collect();
        settle().await;
        assert_eq!(client.pending(), 2);
        let ends: Vec<_> = futures(calls).await.into_iter().map(|end| end.map_err(|error| error.kind())).collect();
        let expected = [Err(ErrorKind::Overload), Err(ErrorKind::Overload), Ok("2".into()), Ok("3".into())];
        assert_eq!(ends.into_iter().map(|end| end.map(|reply| reply.value)).collect::<Vec<_>>(), expected);
        assert_eq!((client.pending(), client.stats().overloads, client.stats().errors), (0, 2, 0));
    }
}

async fn futures<T>(tasks: Vec<tokio::task::JoinHandle<T>>) -> Vec<T> {
    let mut ends = Vec::new();
    for task in tasks {
        ends.push(task.await.unwrap());
    }
    ends
}

#[tokio::test(start_paused = true)]
async fn unsent_bytes_are_limited_and_waited_for() {
    for at_limit in [AtLimit::Fail, AtLimit::Wait] {
        let (client, port, handler) = open(framed().max_unsent(1000).at_limit(at_limit), serves()).await;
        let filling = stop(&client, &port);
        settle().await;
        let held = spawned(&client, Request::new("held", vec![0; 2000]));
        settle().await;
        let over = spawned(&client, ask("over"));
        assert!(client.send(&ask("over")).unwrap_err().is_overload());
        settle().await;
        if at_limit == AtLimit::Wait {
            let error = client.call(ask("late")).timeout(ms(20)).await.unwrap_err();
            assert!(error.is_timeout() && error.may_retry(), "{error:?}");
        }
        port.ways(0).0.allow_all();
        held.await.unwrap().unwrap();
        match at_limit {
            AtLimit::Wait => assert_eq!(over.await.unwrap().unwrap().value, "over"),
            _ => assert!(over.await.unwrap().unwrap_err().is_overload()),
        }
        futures(filling).await;
        assert_eq!((client.pending(), handler.begun("late")), (0, 0));
        client.send(&ask("room again")).unwrap();
    }
}

// ---- ends ----

#[tokio::test(start_paused = true)]
async fn close_fails_what_is_pending_and_refuses_what_comes() {
    let (client, port, handler) = open(framed(), serves()).await;
    let pending = spawned(&client, ask("never"));
    handler.runs(1).await;
    client.close();
    let error = pending.await.unwrap().unwrap_err();
    assert!(error.is_closed() && !error.may_retry(), "{error:?}");
    assert!(client.call(ask("later")).await.unwrap_err().is_closed());
    assert!(client.send(&ask("later")).unwrap_err().is_closed());
    handler.runs(0).await;
    assert_eq!((client.pending(), port.dialled()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn drain_waits_for_pending_calls_and_refuses_new_ones() {
    let (client, port, handler) = open(framed(), serves()).await;
    let pending = spawned(&client, ask("slow"));
    handler.runs(1).await;
    let mut drain = Box::pin(client.drain());
    assert!(poll_once(&mut drain).is_pending());
    assert!(client.call(ask("later")).await.unwrap_err().is_closed());
    assert!(client.send(&ask("later")).unwrap_err().is_closed());
    sleep(secs(1)).await;
    assert!(poll_once(&mut drain).is_pending());
    drop(drain); // What was refused stays so.
    assert!(client.call(ask("later")).await.unwrap_err().is_closed());
    handler.0.gate.add_permits(1);
    assert_eq!(pending.await.unwrap().unwrap().value, "slow");
    timeout(secs(1), client.drain()).await.expect("the last call is over");
    timeout(secs(1), port.ways(0).0.ended()).await.expect("so is the connection");
}

#[tokio::test(start_paused = true)]
async fn dropping_the_last_client_sends_what_was_handed_over() {
    let (client, port, handler) = open(framed().batch_delay(ms(500)), serves()).await;
    client.send(&ask("one")).unwrap();
    client.clone().send(&Request::new("two", vec![0; 200_000])).unwrap();
    drop(client);
    timeout(secs(2), port.ways(0).0.ended()).await.expect("the connection ends");
    settle().await;
    assert_eq!((handler.begun("one"), handler.begun("two")), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_driver_may_be_driven_by_the_caller() {
    let (server, _, handler) = scene(serves());
    let (here, there) = duplex();
    let serves = handler.clone();
    tokio::spawn(async move { server.serve_connection(there, None, Arc::new(serves)).await });
    let (client, driver) = framed().handshake(here).await.unwrap();
    let driving = tokio::spawn(driver);
    assert_eq!(client.call(ask("x")).await.unwrap().value, "x");
    let lost = spawned(&client, ask("never"));
    handler.runs(1).await;
    driving.abort();
    assert_eq!(lost.await.unwrap().unwrap_err().kind(), ErrorKind::Connection);
    for _ in 0..2 {
        let error = client.call(ask("later")).await.unwrap_err();
        assert_eq!((error.kind(), error.may_retry()), (ErrorKind::Connection, true), "{error:?}");
    }
    assert_eq!(client.pending(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_never_left_is_made_once_more_and_one_that_did_is_not() {
    let (client, port, handler) = open(framed(), serves()).await;
    let filling = stop(&client, &port);
    settle().await;
    let unsent = spawned(&client, ask("unsent"));
    settle().await;
    port.cut(0);
    assert_eq!(unsent.await.unwrap().unwrap().value, "unsent");
    assert_eq!((handler.begun("unsent"), port.dialled()), (1, 2));
    for (n, call) in filling.into_iter().enumerate() {
        match call.await.unwrap() {
            Ok(_) => assert_eq!(handler.begun(&format!("fills {n}")), 1, "it had not left"),
            Err(error) => assert_eq!((error.kind(), error.may_retry()), (ErrorKind::Connection, false), "{error:?}"),
        }
    }
    let mut sent = Box::pin(client.call(ask("slow")));
    assert!(poll_once(&mut sent).is_pending());
    handler.runs(1).await;
    port.cut(1);
    let error = (&mut sent).await.unwrap_err();
    assert_eq!((error.kind(), error.may_retry()), (ErrorKind::Connection, false), "{error:?}");
    assert_eq!(handler.begun("slow"), 1);
    assert_eq!((client.pending(), client.stats().reconnects), (0, 1));
}

/// Twice is too often: whoever made it decides, and gets the request back.
#[tokio::test(start_paused = true)]
async fn a_call_that_never_left_twice_fails_and_gives_its_request_back() {
    // A hello without settings, and a record with a close: done, and no call was taken.
    let closes = hex("66617374727063 00 80 00 0000 00 0500 0500 0b 00 02 00 00");
    let port = Port::new(move |mut end| {
        let closes = closes.clone();
        tokio::spawn(async move {
            end.write_all(&closes).await.unwrap();
            let _ = end.read_to_end(&mut Vec::new()).await;
        });
    });
    let client = port.client(framed());
    let mut call = client.call(ask("unsent"));
    let error = (&mut call).await.unwrap_err();
    assert_eq!((error.kind(), error.may_retry()), (ErrorKind::Connection, true), "{error:?}");
    assert_eq!(port.dialled(), 4, "no more than two tries, of two connections each");
    assert_eq!(call.take_request().unwrap().name, "unsent");
    assert!(call.take_request().is_none());
    assert_eq!(client.pending(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_request_comes_back_from_a_call_that_failed() {
    let (_, port, handler) = scene(serves());
    port.replace(drop);
    let client = port.client(framed().max_pending(1));
    let mut call = client.call(ask("x"));
    assert!(call.take_request().is_none(), "it has not ended");
    assert!((&mut call).await.unwrap_err().may_retry());
    assert_eq!(call.take_request().unwrap().name, "x");
    port.replace(serving(serves(), handler.clone()).1);
    let held = spawned(&client, ask("never"));
    handler.runs(1).await;
    let mut call = client.call(ask("y"));
    assert!((&mut call).await.unwrap_err().is_overload());
    assert_eq!(call.take_request().unwrap().name, "y");
    held.abort();
    handler.runs(0).await;
    let mut call = client.call(ask("never")).timeout(ms(5));
    assert!((&mut call).await.unwrap_err().is_timeout());
    assert_eq!(call.take_request().unwrap().name, "never");
    handler.runs(0).await;
    let mut call = client.call(ask("z"));
    (&mut call).await.unwrap();
    assert!(call.take_request().is_none(), "it was answered");
}

/// A reset that says "not begun" is told as such.
#[tokio::test(start_paused = true)]
async fn a_call_that_was_refused_may_be_made_again() {
    let port = streamed(|call: stream::Call<Raw>| async move {
        let (head, _, responder) = call.into_parts();
        let code = if head.ends_with(b"refused\0\0\0\0") { ResetCode::Refused } else { ResetCode::Failed };
        responder.fail(code, "for a reason");
    });
    let client = port.client(framed());
    for (name, again) in [("refused", true), ("failed", false)] {
        let error = client.call(ask(name)).await.unwrap_err();
        assert_eq!((error.kind(), error.may_retry()), (ErrorKind::Reset, again), "{error:?}");
        assert!(error.to_string().contains("for a reason"), "{error}");
    }
    assert_eq!((client.stats().errors, client.pending(), port.dialled()), (2, 0, 1));
}
