//! Clients and servers of HTTP find the wire that both speak, and whole messages travel on either alike. Time is virtual.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use httpteleport::{Body, Client, ClientBuilder, Error, ErrorKind, Limits, Server, ServerBuilder, Wire};
use testkit::pipe::End;
use testkit::port::Port;
use testkit::tls::Ca;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};

const S: Duration = Duration::from_secs(1);

fn ours(wire: Wire) -> ClientBuilder {
    Client::builder(Limits::default()).wire(wire).backoff(S / 1000, S / 1000)
}

fn theirs(wire: Wire) -> ServerBuilder {
    Server::builder(Limits::default()).wire(wire)
}

/// A server of whole messages, and what has it serve a connection.
fn serving<F: httpteleport::Handler>(builder: ServerBuilder, handler: F) -> (Server, impl Fn(End) + Send + 'static) {
    let (server, handler) = (builder.build().unwrap(), Arc::new(handler));
    let serves = server.clone();
    let accept = move |end| {
        let (server, handler) = (serves.clone(), handler.clone());
        tokio::spawn(async move { server.serve_connection(end, None, handler).await });
    };
    (server, accept)
}

fn dials(port: &Port, builder: ClientBuilder) -> Client {
    builder.connect_with("port", port.dial()).unwrap()
}

async fn echo(request: Request<Body>) -> Response<Body> {
    Response::new(request.into_body())
}

fn post(body: impl Into<Bytes>) -> Request<Body> {
    Request::post("http://far.example/").body(Body::from(body.into())).unwrap()
}

/// A call of either kind is answered.
async fn answered(client: &Client, streams: bool) {
    let body = if streams {
        let request = post("x").map(|body| Full::new(body.into_bytes()));
        client.stream(request).await.unwrap().into_body().collect().await.unwrap().to_bytes()
    } else {
        client.call(post("x")).await.unwrap().into_body().into_bytes()
    };
    assert_eq!(body, "x");
}

#[tokio::test(start_paused = true)]
async fn each_client_gets_on_with_each_server_that_speaks_its_wire() {
    for streams in [false, true] {
        for (wire, other, wires) in [
            (Wire::Auto, Wire::Auto, "F"),
            (Wire::Auto, Wire::Framed, "F"),
            (Wire::Framed, Wire::Auto, "F"),
            (Wire::Auto, Wire::Classic, "FC"),
            (Wire::Classic, Wire::Auto, "C"),
            (Wire::Classic, Wire::Classic, "C"),
        ] {
            let port = Port::new(serving(theirs(other), echo).1);
            let client = dials(&port, ours(wire));
            for _ in 0..3 {
                answered(&client, streams).await;
            }
            assert_eq!(port.wires(), wires, "{wire:?} {other:?}");
            assert_eq!((client.pending(), client.is_failing()), (0, false));
        }
    }
    for (wire, other, says) in [
        (Wire::Framed, Wire::Classic, "set wire to auto or classic"),
        (Wire::Classic, Wire::Framed, "framed wire alone"),
    ] {
        let port = Port::new(serving(theirs(other), echo).1);
        let client = dials(&port, ours(wire));
        let error = client.call(post("x")).await.unwrap_err();
        assert_eq!((error.kind(), error.may_retry()), (ErrorKind::Handshake, true));
        assert!(error.to_string().contains(says), "{error}");
        assert!(port.dialled() == 1 && client.pending() == 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_classic_peer_is_remembered_and_asked_again_after_ten_minutes_by_one_call() {
    for streams in [false, true] {
        let port = Port::new(serving(theirs(Wire::Classic), echo).1);
        let client = dials(&port, ours(Wire::Auto));
        let many = async || {
            let call = |client: Client| async move { answered(&client, streams).await };
            let calls: Vec<_> = (0..20).map(|_| tokio::spawn(call(client.clone()))).collect();
            for call in calls {
                call.await.unwrap();
            }
        };
        many().await;
        assert_eq!(port.wires(), "FC");
        port.cut(1);
        many().await;
        assert_eq!(port.wires(), "FCC");
        sleep(601 * S).await;
        // Neither a call that is never made asks, nor one that is given up for all.
        drop(client.call(post("never")));
        drop(client.stream(post("never")));
        let _ = timeout(Duration::ZERO, client.call(post("given up"))).await;
        many().await;
        assert_eq!(port.wires().matches('F').count(), 2, "{}", port.wires()); // The next joins its dial.
        sleep(601 * S).await;
        port.replace(serving(theirs(Wire::Auto), echo).1);
        answered(&client, streams).await;
        answered(&client, streams).await;
        assert!(port.wires().ends_with('F'), "{}", port.wires());
        let before = port.dialled();
        many().await;
        assert_eq!(port.dialled(), before);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_tells_that_its_peer_cannot_be_reached() {
    for wire in [Wire::Auto, Wire::Framed, Wire::Classic] {
        for other in [Wire::Auto, wire] {
            let port = Port::new(drop);
            let client = dials(&port, ours(wire));
            for _ in 0..2 {
                assert_eq!(client.call(post("x")).await.unwrap_err().kind(), ErrorKind::Handshake);
                assert!(client.is_failing(), "{wire:?}");
            }
            port.replace(serving(theirs(other), echo).1);
            answered(&client, true).await;
            assert!(!client.is_failing(), "{wire:?}");
        }
    }
    // A classic peer that fails and comes back speaking both is no failing one.
    let port = Port::new(serving(theirs(Wire::Classic), echo).1);
    let client = dials(&port, ours(Wire::Auto));
    answered(&client, false).await;
    port.cut(1);
    port.replace(drop);
    client.call(post("x")).await.unwrap_err();
    assert!(client.is_failing());
    sleep(601 * S).await;
    port.replace(serving(theirs(Wire::Auto), echo).1);
    answered(&client, false).await;
    assert!(!client.is_failing() && port.wires().ends_with('F'));
}

#[tokio::test(start_paused = true)]
async fn with_tls_the_classic_wire_is_taken_for_it_only_once_it_was_reached() {
    let ca = Ca::new();
    let certificate = ca.issue(&["far.example"]).server_config();
    let name = || "far.example".try_into().unwrap();
    for streams in [false, true] {
        let port = Port::new(serving(theirs(Wire::Classic).tls(certificate.clone()), echo).1);
        let client = dials(&port, ours(Wire::Auto).tls(ca.client_config(), name()));
        answered(&client, streams).await;
        port.cut(1);
        answered(&client, streams).await;
        assert_eq!(port.wires(), "TSS");

        // Ended before TLS, by what is no server at all: asked again at once.
        let port = Port::new(drop);
        let client = dials(&port, ours(Wire::Auto).tls(ca.client_config(), name()).timeout(S));
        let call = async || {
            let request = post("x").map(|body| Full::new(body.into_bytes()));
            if streams { client.stream(request).await.err() } else { client.call(post("x")).await.err() }
        };
        for _ in 0..2 {
            assert_eq!(call().await.unwrap().kind(), ErrorKind::Handshake);
        }
        // What cannot be sent on the classic wire has not reached it either.
        let mut request = post("x");
        request.headers_mut().insert("x-long", "x".repeat(5000).parse().unwrap());
        assert_eq!(client.call(request).await.unwrap_err().kind(), ErrorKind::Encode);
        port.replace(serving(theirs(Wire::Auto).tls(certificate.clone()), echo).1);
        answered(&client, streams).await;
        assert!(port.wires().ends_with('T') && !port.wires().contains(['C', 'F']), "{}", port.wires());
        assert!(!client.is_failing());
    }
}

// ---- whole messages ----

/// Answers when the gate lets it, and counts.
#[derive(Clone, Default)]
struct Slow(Arc<(AtomicUsize, Gate)>);

struct Gate(Semaphore);

impl Default for Gate {
    fn default() -> Self {
        Self(Semaphore::new(0))
    }
}

struct Running(Slow);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Slow {
    async fn runs(&self, n: usize) {
        let met = async {
            while self.0.0.load(Ordering::SeqCst) != n {
                sleep(S / 1000).await;
            }
        };
        timeout(S, met).await.unwrap_or_else(|_| panic!("never do {n} handlers run"));
    }
}

impl httpteleport::Handler for Slow {
    async fn call(&self, request: Request<Body>, _: Option<std::net::SocketAddr>) -> Response<Body> {
        self.0.0.fetch_add(1, Ordering::SeqCst);
        let _running = Running(self.clone());
        match request.uri().path() {
            "/panic" => panic!("as asked"),
            "/slow" => self.0.1.0.acquire().await.unwrap().forget(),
            "/never" => std::future::pending().await,
            "/unencodable" => {
                let mut response = Response::new(Body::empty());
                response.headers_mut().insert("x-long", "x".repeat(100_000).parse().unwrap());
                return response;
            }
            _ => {}
        }
        Response::new(request.into_body())
    }
}

fn to(path: &str) -> Request<Body> {
    Request::get(format!("http://far.example{path}")).body(Body::empty()).unwrap()
}

fn spawned(client: &Client, request: Request<Body>) -> tokio::task::JoinHandle<Result<Response<Body>, Error>> {
    let client = client.clone();
    tokio::spawn(async move { client.call(request).await })
}

#[tokio::test(start_paused = true)]
async fn failures_of_the_server_are_answered_and_counted_alike() {
    for wire in [Wire::Framed, Wire::Classic] {
        let slow = Slow::default();
        let limits = Limits::default().with_peer_max_head(64 << 10);
        let (server, accept) = serving(Server::builder(limits).wire(wire).concurrency(1), slow.clone());
        let port = Port::new(accept);
        let client = dials(&port, ours(wire));
        let status = async |path| client.call(to(path)).await.unwrap().status();
        assert_eq!(status("/panic").await, StatusCode::INTERNAL_SERVER_ERROR);
        let unencodable = status("/unencodable").await;
        assert!(unencodable.is_server_error(), "{unencodable}");
        let held = spawned(&client, to("/slow"));
        slow.runs(1).await;
        let response = client.call(to("/")).await.unwrap();
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert!(response.body().as_bytes().starts_with(b"concurrency limit exceeded: 1. Increase Server.Concurrency"));
        slow.0.1.0.add_permits(1);
        held.await.unwrap().unwrap();
        assert_eq!(status("/").await, StatusCode::OK);
        let stats = server.stats();
        let counted = (stats.calls, stats.replies, stats.errors, stats.overloads, stats.pending);
        assert_eq!(counted, (5, 2, 2, 1, 0), "{wire:?}");
        let stats = client.stats();
        assert_eq!((stats.calls, stats.replies, stats.errors, stats.connections), (5, 5, 0, 1), "{wire:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn bodies_of_every_length_pass_and_those_over_the_limit_cost_their_call_alone() {
    for wire in [Wire::Framed, Wire::Classic] {
        let limits = Limits::default().with_max_body(100_000);
        let port = Port::new(serving(Server::builder(limits).wire(wire).max_unread(1 << 20), echo).1);
        let client = dials(&port, Client::builder(Limits::default().with_max_body(50_000)).wire(wire));
        for length in [0, 1, 16_384, 16_385, 50_000] {
            let body: Bytes = (0..251u8).cycle().take(length).collect();
            assert_eq!(client.call(post(body.clone())).await.unwrap().into_body().into_bytes(), body, "{length}");
        }
        let error = client.call(post(vec![0; 50_001])).await.unwrap_err();
        assert_eq!((error.kind(), error.status()), (ErrorKind::Refused, StatusCode::BAD_GATEWAY), "{error:?}");
        let response = client.call(post(vec![0; 100_001])).await.unwrap();
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(client.call(post("on")).await.unwrap().into_body().into_bytes(), "on");
        assert_eq!((port.dialled(), client.pending()), (1, 0), "{wire:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn deadlines_and_drops_end_the_handler_and_give_the_request_back() {
    let slow = Slow::default();
    let port = Port::new(serving(theirs(Wire::Framed), slow.clone()).1);
    let client = dials(&port, ours(Wire::Auto).timeout(2 * S).max_pending(1));
    for limit in [None, Some(S / 2)] {
        let start = Instant::now();
        let mut call = client.call(to("/never"));
        if let Some(limit) = limit {
            call = call.timeout(limit);
        }
        assert!(call.take_request().is_none());
        let error = (&mut call).await.unwrap_err();
        assert!(error.is_timeout() && !error.may_retry() && error.status() == StatusCode::GATEWAY_TIMEOUT);
        assert_eq!(start.elapsed().as_millis() / 20, limit.unwrap_or(2 * S).as_millis() / 20);
        assert_eq!(call.take_request().unwrap().uri().path(), "/never");
        assert!(call.take_request().is_none());
        slow.runs(0).await;
    }
    let held = spawned(&client, to("/never"));
    slow.runs(1).await;
    let mut over = client.call(to("/over"));
    let error = (&mut over).await.unwrap_err();
    assert!(error.is_overload() && error.status() == StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(over.take_request().unwrap().uri().path(), "/over");
    held.abort();
    slow.runs(0).await;
    assert_eq!(client.call(to("/")).await.unwrap().status(), StatusCode::OK);
    assert_eq!((client.pending(), port.dialled()), (0, 1));
    client.close();
    assert!(client.call(to("/")).await.unwrap_err().is_closed());
}

/// The default deadline is the client's own, on the classic wire too.
#[tokio::test(start_paused = true)]
async fn the_clients_timeout_holds_for_streamed_calls_on_both_wires() {
    for wire in [Wire::Framed, Wire::Classic] {
        let port = Port::new(serving(theirs(wire), Slow::default()).1);
        let client = dials(&port, ours(wire).timeout(3 * S));
        let start = Instant::now();
        let error = client.stream(to("/never")).await.err().unwrap();
        assert!(error.is_timeout(), "{error:?}");
        assert_eq!(start.elapsed().as_secs(), 3, "{wire:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_lets_pending_calls_end() {
    for wire in [Wire::Framed, Wire::Auto, Wire::Classic] {
        let slow = Slow::default();
        let port = Port::new(serving(theirs(wire), slow.clone()).1);
        let client = dials(&port, ours(wire));
        let held = spawned(&client, to("/slow"));
        slow.runs(1).await;
        let draining = tokio::spawn({
            let client = client.clone();
            async move { client.drain().await }
        });
        sleep(S).await;
        assert!(client.call(to("/late")).await.unwrap_err().is_closed());
        assert!(!draining.is_finished());
        slow.0.1.0.add_permits(1);
        assert_eq!(held.await.unwrap().unwrap().status(), StatusCode::OK);
        timeout(S, draining).await.expect("the last call is over").unwrap();
    }
}

/// Groups of callers have connections of their own, whatever they call by.
#[tokio::test(start_paused = true)]
async fn groups_never_share_a_connection() {
    for (wire, wires) in [(Wire::Auto, "FFF"), (Wire::Classic, "FCCC")] {
        let port = Port::new(serving(theirs(wire), echo).1);
        let client = dials(&port, ours(Wire::Auto));
        answered(&client, false).await;
        let groups = ["a", "b"].map(|key| client.for_group(key).unwrap());
        for streams in [false, true, false] {
            for group in &groups {
                answered(group, streams).await;
            }
            answered(&client.for_group("a").unwrap(), streams).await;
            answered(&client, streams).await;
        }
        assert_eq!(port.wires(), wires, "what one learnt of the peer, all know");
        let held = groups[0].clone();
        client.drain().await;
        assert!(held.call(post("x")).await.unwrap_err().is_closed());
        assert!(client.for_group("c").err().unwrap().is_closed());
    }
}
