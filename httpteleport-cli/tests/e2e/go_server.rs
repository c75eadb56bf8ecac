//! A Go server behind the teleport output, byte for byte: out of order, with ids nobody asked for, with Go's replies.

use testkit::raw::RawPeer;
use testkit::wire::http::{chunked, read_request};
use testkit::wire::{Compression, Frame, Hello, HttpReply, HttpRequest, frame};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::caller::{Caller, body, request};
use crate::node::{Certificates, Files, Node, PATIENCE};

/// Bytes of a hello, and which of them tells the coding.
const HELLO: usize = 15;
const CODING: usize = 13;

/// A near node whose far end is this test.
struct Far {
    near: Node,
    /// Its connections that speak as Go does.
    accepted: Mutex<mpsc::Receiver<TcpStream>>,
}

impl Far {
    async fn new(options: &[&str]) -> Far {
        Far::of("teleport", options).await
    }

    async fn of(scheme: &str, options: &[&str]) -> Far {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let out = format!("{scheme}://{}", listener.local_addr().expect("an address"));
        let (sender, accepted) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(sort(stream, sender.clone()));
            }
        });
        Far { near: Node::start("http://127.0.0.1:0", &out, options), accepted: Mutex::new(accepted) }
    }

    /// The node's next connection that speaks as Go does.
    async fn accept(&self) -> TcpStream {
        let mut accepted = self.accepted.lock().await;
        timeout(PATIENCE, accepted.recv()).await.expect("in time").expect("a connection")
    }

    /// The node's next connection, greeted.
    async fn server(&self, compression: Compression) -> RawPeer<TcpStream> {
        timeout(PATIENCE, RawPeer::server(self.accept().await, &Hello::http(compression))).await.expect("in time")
    }

    /// A client of the node asks; its reply comes to whoever awaits.
    async fn ask(&self, request: HttpRequest) -> JoinHandle<HttpReply> {
        let mut caller = Caller::connect(self.near.address()).await;
        tokio::spawn(async move { caller.ask(&request).await })
    }
}

/// Hands over a connection that speaks as Go does. The node asks for the framed wire first, at times more than once; a Go server
/// answers a coding that it does not know with its hello and the end, and anything else at once with the end.
async fn sort(mut stream: TcpStream, as_go: mpsc::Sender<TcpStream>) {
    let mut hello = [0; HELLO];
    loop {
        match stream.peek(&mut hello).await {
            Ok(HELLO) => break,
            Ok(1..) => tokio::task::yield_now().await,
            _ => return,
        }
    }
    if hello.starts_with(b"httpteleport") && hello[CODING] < 3 {
        let _ = as_go.send(stream).await; // Unless the test is over.
    } else if hello.starts_with(b"httpteleport") {
        let _ = stream.write_all(&Hello::http(Compression::Flate).bytes()).await; // Unless the node is.
    }
}

async fn next(peer: &mut RawPeer<TcpStream>) -> Frame<HttpRequest> {
    timeout(PATIENCE, peer.frame(read_request)).await.expect("in time")
}

async fn answer(reply: JoinHandle<HttpReply>) -> HttpReply {
    timeout(PATIENCE, reply).await.expect("in time").expect("a reply")
}

/// As Go's server writes one.
fn go_reply(status: u16, body: &[u8]) -> HttpReply {
    HttpReply::new(status, "Whatever")
        .header("Server", "fasthttp")
        .header("Date", "Sun, 22 Nov 2026 08:34:36 GMT")
        .header("Content-Type", "text/plain; charset=utf-8")
        .body(body)
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_out_of_order_and_replies_nobody_asked_for() {
    for compression in Compression::ALL {
        let far = Far::new(&["--out-compress", compression.name()]).await;
        let mut asked = Vec::new();
        for n in 0..10 {
            asked.push(far.ask(request("GET", &format!("/{n}"))).await);
        }
        let mut peer = far.server(compression).await;
        // Before anything was asked for: an unknown id, id 0, both with bodies.
        peer.say(&frame(0, &go_reply(429, b"concurrency limit exceeded: 1.").bytes())).await;
        peer.say(&frame(4711, &go_reply(200, b"not yours").bytes())).await;
        let mut requests = Vec::new();
        for _ in 0..10 {
            requests.push(next(&mut peer).await);
        }
        for seen in requests.iter().rev() {
            let unknown = frame(seen.id ^ 0x8000_0000, &go_reply(200, b"not yours").bytes());
            let theirs = frame(seen.id, &go_reply(200, seen.message.target.as_bytes()).bytes());
            // Twice: the second one answers nobody.
            peer.say(&[unknown, theirs.clone(), theirs].concat()).await;
        }
        for (n, asked) in asked.into_iter().enumerate() {
            let reply = answer(asked).await;
            assert_eq!((reply.status, body(&reply)), (200, format!("/{n}")));
            assert_eq!(reply.value("Server"), Some("fasthttp"));
        }
        let again = far.ask(request("GET", "/again")).await;
        let seen = next(&mut peer).await;
        assert!(requests.iter().all(|old| old.id != seen.id), "an id that was answered twice is not the next one");
        peer.say(&frame(seen.id, &go_reply(200, b"again").bytes())).await;
        assert_eq!(body(&answer(again).await), "again");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_such_that_go_reads_them() {
    let far = Far::new(&["--out-compress", "none"]).await;
    let form = b"--b\r\nContent-Disposition: form-data; name=\"a\"\r\n\r\nv\r\n--b--\r\nepilogue";
    let cases = [
        request("GET", "/a%2Fb?c"),
        request("HEAD", "/head"),
        request("POST", "/expect").header("Expect", "100-continue").body(b"body"),
        request("POST", "/form").header("Content-Type", "multipart/form-data; boundary=b").body(form),
        request("PUT", "/hop").header("Connection", "X-Hop").header("X-Hop", "1").header("TE", "trailers").body(b""),
        request("GET", "/named").header("Teleport-Method", "HEAD").header("Teleport-Head-Length", "3"),
        HttpRequest { version: "HTTP/1.0".into(), ..HttpRequest::new("GET", "/no-host") },
    ];
    let mut peer = None;
    for case in cases {
        let mut caller = Caller::connect(far.near.address()).await;
        caller.send(&case.bytes()).await;
        if peer.is_none() {
            peer = Some(far.server(Compression::Flate).await);
        }
        let peer = peer.as_mut().expect("just made");
        let seen = next(peer).await;
        let message = &seen.message;
        assert_ne!(seen.id, 0);
        assert_eq!((message.target.as_str(), message.version.as_str()), (case.target.as_str(), "HTTP/1.1"));
        assert_eq!(message.body, case.body);
        assert!(message.headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case("Host")).count() == 1);
        for gone in ["Connection", "X-Hop", "TE", "Expect", "Teleport-Head-Length"] {
            assert_eq!(message.value(gone), None, "{gone}: {message:?}");
        }
        // Go's parser has no method for a reply; a HEAD on the wire would cost it the connection.
        let is_head = case.method == "HEAD";
        assert_eq!(message.method, if is_head { "GET" } else { &case.method });
        assert_eq!(message.value("Teleport-Method"), is_head.then_some("HEAD"));
        // Go takes forms apart unless they come in chunks.
        let chunks = (case.target == "/form").then_some("chunked");
        assert_eq!(message.value("Transfer-Encoding"), chunks);
        peer.say(&frame(seen.id, &go_reply(200, b"the whole body, also for HEAD").bytes())).await;
        let reply = loop {
            let reply = caller.try_reply(is_head).await.expect("a reply");
            if reply.status != 100 {
                break reply;
            }
        };
        assert_eq!((reply.status, reply.value("Content-Length")), (200, Some("29")), "{reply:?}");
        if case.version == "HTTP/1.1" {
            let after = request("GET", "/after").bytes();
            caller.send(&after).await;
            let seen = next(peer).await;
            peer.say(&frame(seen.id, &go_reply(200, b"after").bytes())).await;
            assert_eq!(body(&caller.reply().await), "after", "the client's connection is in step");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_of_every_kind_that_go_sends() {
    let far = Far::new(&[]).await;
    let bytes = |head: &str, body: &[u8]| [head.as_bytes(), body].concat();
    let cases = [
        // What arrives, and what the client gets of it: status, body.
        (bytes("HTTP/1.1 304 Not Modified\r\nContent-Type: x\r\nContent-Length: 100\r\n\r\n", b""), 304, ""),
        (bytes("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", b""), 204, ""),
        (bytes("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n", b"ok"), 200, "ok"),
        (bytes("HTTP/1.1 200 OK\nContent-Length: 2\n\n", b"lf"), 200, "lf"),
        (bytes("\r\n\r\nSPDY/9 299 Odd one\r\nContent-Length: 1\r\n\r\n", b"p"), 299, "p"),
        (
            bytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"3;x=y\r\nabc\r\n0\r\nX-T: 1\r\n\r\n"),
            200,
            "abc",
        ),
        (
            bytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n", &chunked(b"te", 1)),
            200,
            "te",
        ),
        (bytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\n", b"id"), 200, "id"),
        (
            bytes(
                "HTTP/1.1 999 \r\nContent-Length: 0\r\nKeep-Alive: x\r\nUpgrade: y\r\nProxy-Connection: z\r\n\r\n",
                b"",
            ),
            999,
            "",
        ),
        // What cannot be passed on costs its own call.
        (bytes("HTTP/1.1 100 Continue\r\n\r\n", b""), 502, ""),
        (bytes("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n", b""), 502, ""),
        (bytes(&format!("HTTP/1.1 200 OK\r\nX: {}\r\nContent-Length: 2\r\n\r\n", "y".repeat(5000)), b"no"), 502, ""),
    ];
    let mut peer = None;
    for (reply, status, want) in cases {
        let asked = far.ask(request("GET", "/")).await;
        if peer.is_none() {
            peer = Some(far.server(Compression::None).await);
        }
        let peer = peer.as_mut().expect("just made");
        let id = next(peer).await.id;
        peer.say(&frame(id, &reply)).await;
        let got = answer(asked).await;
        assert_eq!(got.status, status, "{}: {got:?}", reply.escape_ascii());
        assert!(status == 502 || body(&got) == want, "{}: {got:?}", reply.escape_ascii());
        for gone in ["Keep-Alive", "Upgrade", "Proxy-Connection", "X-T"] {
            assert_eq!(got.value(gone), None, "{gone}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_fails_its_calls_and_the_next_call_dials_again() {
    let far = Far::new(&[]).await;
    let broken: [&[u8]; 6] = [
        b"",
        b"HTTP/1.1 200 OK\r\n\r\nwithout a length",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf",
        b"nonsense\r\n\r\n",
    ];
    for bytes in broken {
        let asked = [far.ask(request("POST", "/a").body(b"1")).await, far.ask(request("POST", "/b").body(b"2")).await];
        let mut peer = far.server(Compression::Snappy).await;
        let id = next(&mut peer).await.id;
        next(&mut peer).await;
        if !bytes.is_empty() {
            peer.say(&frame(id, bytes)).await;
        }
        // Closing is what a Go server does about everything, without a word of farewell.
        drop(peer);
        for asked in asked {
            let reply = answer(asked).await;
            assert_eq!(reply.status, 502, "{}: {reply:?}", bytes.escape_ascii());
        }
    }
    let asked = far.ask(request("GET", "/well")).await;
    let mut peer = far.server(Compression::Flate).await;
    let id = next(&mut peer).await.id;
    peer.say(&frame(id, &go_reply(200, b"well").bytes())).await;
    assert_eq!(body(&answer(asked).await), "well");
}

#[tokio::test(flavor = "multi_thread")]
async fn hellos_that_are_refused() {
    let files = Files::new();
    let certificates = Certificates::new(&files);
    let plain = Hello::http(Compression::None);
    let cases = [
        ("teleport", Hello { compression: 7, ..plain.clone() }),
        ("teleport", Hello { version: 1, ..plain.clone() }),
        ("teleport", Hello { sniff: b"httptelepork".to_vec(), ..plain.clone() }),
        // No certificate over there: Go answers 0. Going on in clear text would betray the request.
        ("teleports", plain.clone()),
    ];
    for (scheme, hello) in cases {
        let options = certificates.output();
        let far = Far::of(scheme, if scheme == "teleports" { &options } else { &[] }).await;
        let asked = far.ask(request("GET", "/secret")).await;
        let mut peer = RawPeer::new(far.accept().await);
        let heard = timeout(PATIENCE, peer.hear_hello(b"httpteleport")).await.expect("in time");
        assert_eq!(heard.tls != 0, scheme == "teleports");
        peer.send(&hello.bytes()).await;
        let rest = timeout(PATIENCE, peer.read_to_end()).await.expect("the node hangs up");
        assert!(rest.is_empty(), "{hello:?}: {}", rest.escape_ascii());
        let reply = answer(asked).await;
        assert_eq!(reply.status, 502, "{hello:?}: {reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn teleports_as_go_serves_it() {
    let files = Files::new();
    let certificates = Certificates::new(&files);
    let far = Far::of("teleports", &certificates.output()).await;
    let asked = far.ask(request("GET", "/inside")).await;
    let mut peer = RawPeer::new(far.accept().await);
    let heard = peer.hear_hello(b"httpteleport").await;
    let said = Hello::http(Compression::Snappy).with_tls();
    // Go's two writes.
    let (sniff, rest) = (&said.bytes()[..12].to_vec(), &said.bytes()[12..].to_vec());
    peer.send(sniff).await;
    peer.send(rest).await;
    let acceptor = TlsAcceptor::from(certificates.identity.server_config());
    let mut peer = RawPeer::new(acceptor.accept(peer.into_inner()).await.expect("TLS"));
    peer.begin(&said, &heard);
    let seen = timeout(PATIENCE, peer.frame(read_request)).await.expect("in time");
    peer.say(&frame(seen.id, &go_reply(200, seen.message.target.as_bytes()).bytes())).await;
    assert_eq!(body(&answer(asked).await), "/inside");
    // The raw socket is closed without a TLS farewell while nothing is pending, and the next call dials again.
    drop(peer.into_inner().into_inner());
    let asked = far.ask(request("GET", "/next")).await;
    let mut peer = RawPeer::new(far.accept().await);
    let heard = peer.hear_hello(b"httpteleport").await;
    peer.send(&said.bytes()).await;
    let mut peer = RawPeer::new(acceptor.accept(peer.into_inner()).await.expect("TLS"));
    peer.begin(&said, &heard);
    let seen = timeout(PATIENCE, peer.frame(read_request)).await.expect("in time");
    peer.say(&frame(seen.id, &go_reply(200, b"next").bytes())).await;
    assert_eq!(body(&answer(asked).await), "next");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_overloaded_go_server_and_its_429_with_id_0() {
    let far = Far::new(&["--out-timeout", "300ms"]).await;
    let (kept, dropped) = (far.ask(request("GET", "/kept")).await, far.ask(request("GET", "/dropped")).await);
    let mut peer = far.server(Compression::None).await;
    for _ in 0..2 {
        let seen = next(&mut peer).await;
        let overloaded = go_reply(429, b"concurrency limit exceeded: 1. Increase Server.Concurrency");
        match &*seen.message.target {
            "/kept" => peer.say(&frame(seen.id, &overloaded.bytes())).await,
            // To a request that Go takes for one without a wish for a reply.
            _ => peer.say(&frame(0, &overloaded.bytes())).await,
        }
    }
    let reply = answer(kept).await;
    assert!(reply.status == 429 && body(&reply).starts_with("concurrency limit exceeded"), "{reply:?}");
    assert_eq!(answer(dropped).await.status, 504);
    let after = far.ask(request("GET", "/after")).await;
    let id = next(&mut peer).await.id;
    peer.say(&frame(id, &go_reply(200, b"after").bytes())).await;
    assert_eq!(body(&answer(after).await), "after", "on the same connection");
}
