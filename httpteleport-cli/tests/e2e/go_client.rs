//! A Go client at the teleport input, byte for byte: its hello in pieces, its header names, its ids, its habits.

use std::time::Duration;

use testkit::raw::RawPeer;
use testkit::wire::http::{chunked, read_reply};
use testkit::wire::{Compression, Frame, Hello, HttpReply, HttpRequest, frame};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::node::{Certificates, Files, Node, PATIENCE, noise};
use crate::origin::{Answer, Origin, echo};

fn node(origin: &Origin, options: &[&str]) -> Node {
    Node::start("teleport://127.0.0.1:0", &origin.url, options)
}

async fn dial(node: &Node) -> TcpStream {
    TcpStream::connect(node.address()).await.expect("a connection")
}

/// A client that says hello as Go does, in two writes.
async fn client(node: &Node, compression: Compression) -> RawPeer<TcpStream> {
    let mut peer = RawPeer::new(dial(node).await);
    let hello = Hello::http(compression);
    let bytes = hello.bytes();
    let (sniff, rest) = bytes.split_at(12);
    peer.send(sniff).await;
    peer.send(rest).await;
    let heard = peer.hear_hello(&hello.sniff).await;
    assert_eq!((heard.version, heard.tls), (0, 0));
    peer.begin(&hello, &heard);
    peer
}

async fn reply(peer: &mut RawPeer<TcpStream>) -> Frame<HttpReply> {
    timeout(PATIENCE, peer.frame(read_reply)).await.expect("in time")
}

/// As Go writes one: canonical names, a type for every method but GET and HEAD, a length even if it is 0.
fn go_request(method: &str, target: &str, body: &[u8]) -> HttpRequest {
    let request = HttpRequest::new(method, target).header("User-Agent", "fasthttp").header("Host", "go.test");
    match method {
        "GET" | "HEAD" => request,
        _ => request.header("Content-Type", "application/octet-stream").body(body),
    }
}

fn text(reply: &Frame<HttpReply>) -> (u32, u16, String) {
    (reply.id, reply.message.status, String::from_utf8_lossy(&reply.message.body).into_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn hello_in_single_bytes_and_every_compression_each_way() {
    let origin = Origin::start().await;
    for ours in Compression::ALL {
        for theirs in Compression::ALL {
            let node = node(&origin, &["--in-compress", theirs.name()]);
            let stream = dial(&node).await;
            stream.set_nodelay(true).expect("an option");
            let mut peer = RawPeer::new(stream);
            let hello = Hello::http(ours);
            for byte in hello.bytes() {
                peer.send(&[byte]).await;
            }
            let heard = peer.hear_hello(&hello.sniff).await;
            assert_eq!(heard, Hello::http(theirs));
            peer.begin(&hello, &heard);
            for id in 1..=20 {
                let body = noise(u64::from(id), 3000 * id as usize);
                peer.say(&frame(id, &go_request("POST", "/p", &body).bytes())).await;
                let reply = reply(&mut peer).await;
                assert!(reply.id == id && reply.message.body == body, "{:?}", text(&reply));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn go_s_dialect_reaches_the_origin_as_http() {
    let origin = Origin::start().await;
    let node = node(&origin, &[]);
    // A client that sends plain text may send everything at once.
    let mut peer = RawPeer::new(dial(&node).await);
    let hello = Hello::http(Compression::None);
    let mut bytes = hello.bytes();
    bytes.extend(frame(1, &go_request("GET", "/one", b"").header("Cookie", "a=b; c=d").bytes()));
    bytes.extend(frame(2, &go_request("POST", "/two", b"").header("Connection", "close").bytes()));
    bytes.extend(frame(3, &go_request("DELETE", "/three", b"").header("X-Lower", "v").bytes()));
    peer.send(&bytes).await;
    let heard = peer.hear_hello(&hello.sniff).await;
    peer.begin(&hello, &heard);
    let mut replies = Vec::new();
    for _ in 0..3 {
        replies.push(text(&reply(&mut peer).await));
    }
    replies.sort();
    let want = [(1, "GET /one"), (2, "POST /two"), (3, "DELETE /three")];
    assert_eq!(replies, want.map(|(id, body)| (id, 200, body.to_owned())));
    for seen in origin.requests() {
        assert_eq!((seen.value("Host"), seen.value("User-Agent")), (Some("go.test"), Some("fasthttp")));
        assert_eq!(seen.value("Connection"), None);
        let kind = (seen.method != "GET").then_some("application/octet-stream");
        assert_eq!(seen.value("Content-Type"), kind, "{seen:?}");
    }

    // Blank lines and bare line feeds in front of and inside of a head; inner spaces in a target are no URI.
    peer.say(&[&4u32.to_le_bytes()[..], b"\r\n\nGET /four HTTP/1.1\nHost: go.test\n\n"].concat()).await;
    assert_eq!(text(&reply(&mut peer).await), (4, 200, "GET /four".to_owned()));
    peer.say(&frame(5, &go_request("GET", "/a b", b"").bytes())).await;
    assert_eq!(reply(&mut peer).await.message.status, 400);
    peer.say(&frame(6, &HttpRequest::new("GET", "/no-host").bytes())).await;
    assert_eq!(reply(&mut peer).await.message.status, 400);
    peer.say(&frame(10, &go_request("GET", "/bad-name", b"").header("bad name", "x").bytes())).await;
    assert_eq!(reply(&mut peer).await.message.status, 400);
    peer.say(&frame(7, &go_request("CONNECT", "h:443", b"").bytes())).await;
    assert_eq!(reply(&mut peer).await.message.status, 501);
    peer.say(&frame(8, &HttpRequest::new("GET", "http://abs.test/x").bytes())).await;
    assert_eq!(text(&reply(&mut peer).await), (8, 200, "GET /x".to_owned()));
    assert_eq!(origin.last().value("Host"), Some("abs.test"));
    let old = HttpRequest { version: "HTTP/1.0".into(), ..HttpRequest::new("GET", "/old") };
    peer.say(&frame(9, &old.bytes())).await;
    assert_eq!(text(&reply(&mut peer).await), (9, 200, "GET /old".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_head_is_answered_so_that_go_finds_its_end() {
    let origin = Origin::scripted(|request| match &*request.target {
        "/length" => Answer::Bytes(HttpReply::new(200, "OK").header("Content-Length", "50000").bytes()),
        "/chunks" => Answer::Bytes(HttpReply::new(200, "OK").header("Transfer-Encoding", "chunked").bytes()),
        "/304" => Answer::Bytes(HttpReply::new(304, "Same").header("Content-Length", "9").bytes()),
        _ => echo(request),
    })
    .await;
    let node = node(&origin, &[]);
    let mut peer = client(&node, Compression::Flate).await;
    for (id, target) in ["/length", "/chunks", "/304", "/echo"].into_iter().enumerate() {
        let id = u32::try_from(id).expect("few") + 1;
        peer.say(&frame(id, &go_request("HEAD", target, b"").bytes())).await;
        // As Go's parser does: it knows no method, so what the length says has to be there.
        let reply = reply(&mut peer).await;
        assert_eq!((reply.id, reply.message.body.len()), (id, 0), "{reply:?}");
        assert_eq!(origin.last().method, "HEAD");
    }
    peer.say(&frame(9, &go_request("GET", "/after", b"").bytes())).await;
    assert_eq!(text(&reply(&mut peer).await), (9, 200, "GET /after".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_go_gets_is_what_go_can_read() {
    let origin = Origin::scripted(|request| match &*request.target {
        "/until-the-end" => Answer::Last(b"HTTP/1.0 200 OK\r\n\r\nto the end".to_vec()),
        "/204" => Answer::Bytes(HttpReply::new(204, "No Content").bytes()),
        "/304" => Answer::Bytes(HttpReply::new(304, "Same").header("Content-Length", "9").bytes()),
        "/interim" => {
            let mut bytes = HttpReply::new(103, "Early Hints").bytes();
            bytes.extend(HttpReply::new(100, "Continue").bytes());
            bytes.extend(HttpReply::new(200, "OK").body(b"final").bytes());
            Answer::Bytes(bytes)
        }
        "/chunks" => {
            let mut bytes = HttpReply::new(200, "OK").header("Transfer-Encoding", "chunked").bytes();
            bytes.extend(chunked(b"in three chunks", 5));
            Answer::Bytes(bytes)
        }
        _ => Answer::Bytes(
            HttpReply::new(200, "OK").header("Connection", "close").header("Upgrade", "h2c").body(b"").bytes(),
        ),
    })
    .await;
    let node = node(&origin, &[]);
    let mut peer = client(&node, Compression::Snappy).await;
    let cases = [
        ("/until-the-end", 200, "to the end"),
        ("/204", 204, ""),
        ("/304", 304, ""),
        ("/interim", 200, "final"),
        ("/chunks", 200, "in three chunks"),
        ("/empty", 200, ""),
    ];
    for (id, (target, status, body)) in (1..).zip(cases) {
        peer.say(&frame(id, &go_request("GET", target, b"").bytes())).await;
        // The reader accepts exactly one way to tell the length, and no interim reply passes for this id.
        let reply = reply(&mut peer).await;
        assert_eq!(text(&reply), (id, status, body.to_owned()), "{target}");
        assert_eq!((reply.message.value("Upgrade"), reply.message.value("Connection")), (None, None));
        assert!(reply.message.bytes().len() < 4096);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn expect_and_bodies_cannot_move_the_frames() {
    let origin = Origin::start().await;
    let node = node(&origin, &[]);
    let mut peer = client(&node, Compression::None).await;
    let inner = frame(99, &go_request("GET", "/smuggled", b"").bytes());
    let cases = [
        go_request("POST", "/1", &inner).header("Expect", "100-continue").bytes(),
        go_request("GET", "/2", b"").body(&inner).bytes(),
        go_request("DELETE", "/3", &inner).bytes(),
        [
            &HttpRequest::new("POST", "/4").header("Host", "h").header("Transfer-Encoding", "chunked").bytes()[..],
            &chunked(&inner, 7),
        ]
        .concat(),
        // Both: the chunks count, as in Go, and the origin gets a length alone.
        [
            &HttpRequest::new("POST", "/5")
                .header("Host", "h")
                .header("Content-Length", "3")
                .header("Transfer-Encoding", "chunked")
                .bytes()[..],
            &chunked(&inner, 1000),
        ]
        .concat(),
        go_request("POST", "/6", b"").header("Teleport-Head-Length", "5").bytes(),
        go_request(
            "PUT",
            "/7",
            &[b"--b\r\nContent-Disposition: form-data; name=x\r\n\r\nv\r\n--b--\r\n", &inner[..]].concat(),
        )
        .header("X", "multipart/form-data; boundary=b")
        .bytes(),
    ];
    for (id, message) in (1..).zip(&cases) {
        peer.say(&frame(id, message)).await;
        let reply = reply(&mut peer).await;
        assert_eq!((reply.id, reply.message.status), (id, 200), "{}", message.escape_ascii());
    }
    let seen = origin.requests();
    assert_eq!(seen.len(), cases.len());
    for (id, seen) in (1..).zip(&seen) {
        assert_eq!((seen.target.clone(), seen.value("Expect")), (format!("/{id}"), None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_without_a_clear_end_ends_the_connection_and_reaches_nobody() {
    let origin = Origin::start().await;
    let node = node(&origin, &[]);
    for fields in [
        "Content-Length: 1\r\nContent-Length: 2\r\n",
        "Content-Length: 1\r\nContent-Length: 1\r\n",
        "Content-Length: -1\r\n",
        "Content-Length: 1,1\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: chunked, chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "no colon\r\n",
        " folded: x\r\n",
    ] {
        let mut peer = client(&node, Compression::None).await;
        peer.say(&frame(1, format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\nx").as_bytes())).await;
        timeout(PATIENCE, peer.expect_end()).await.unwrap_or_else(|_| panic!("{fields:?} does not end it"));
    }
    // A length that nobody can mean costs no memory and, as it can never be read to its end, the connection.
    let mut peer = client(&node, Compression::None).await;
    peer.say(&frame(1, b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4611686018427387904\r\n\r\nx")).await;
    timeout(PATIENCE, peer.expect_end()).await.expect("it ends");
    assert!(origin.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_are_the_client_s_own_business() {
    let origin = Origin::start().await;
    let node = node(&origin, &[]);
    let mut peer = client(&node, Compression::None).await;
    // The first is answered last; one id twice is two calls; 0 wants no answer.
    let mut bytes = frame(1, &go_request("GET", "/hold", b"").bytes());
    bytes.extend(frame(0, &go_request("POST", "/one-way", b"x").bytes()));
    for id in [u32::MAX, 7, 7, 2] {
        bytes.extend(frame(id, &go_request("GET", &format!("/{id}"), b"").bytes()));
    }
    peer.say(&bytes).await;
    origin.holds().await;
    let mut replies = Vec::new();
    for _ in 0..4 {
        replies.push(text(&reply(&mut peer).await));
    }
    replies.sort();
    assert_eq!(replies, [2, 7, 7, u32::MAX].map(|id| (id, 200, format!("GET /{id}"))));
    origin.let_go(1);
    assert_eq!(text(&reply(&mut peer).await), (1, 200, "GET /hold".to_owned()));
    assert_eq!(origin.requests().iter().filter(|seen| seen.target == "/one-way").count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_that_are_pending_at_a_half_close_still_come() {
    let origin = Origin::start().await;
    let node = node(&origin, &[]);
    let mut peer = client(&node, Compression::Flate).await;
    peer.say(&frame(1, &go_request("GET", "/hold", b"").bytes())).await;
    origin.holds().await;
    peer.finish().await;
    origin.let_go(1);
    assert_eq!(text(&reply(&mut peer).await), (1, 200, "GET /hold".to_owned()));
    timeout(PATIENCE, peer.expect_end()).await.expect("then it ends");
}

#[tokio::test(flavor = "multi_thread")]
async fn hellos_that_are_refused() {
    let origin = Origin::start().await;
    let node = node(&origin, &[]);
    let none = Hello::http(Compression::None);
    // A coding unknown here, and TLS on a port without a certificate, are answered with a hello, then the end.
    for hello in
        [Hello { compression: 3, ..none.clone() }, Hello { compression: 0x7f, ..none.clone() }, none.clone().with_tls()]
    {
        let mut peer = RawPeer::new(dial(&node).await);
        peer.send(&hello.bytes()).await;
        let rest = timeout(PATIENCE, peer.read_to_end()).await.expect("it ends");
        assert_eq!(rest, Hello::http(Compression::Flate).bytes(), "{hello:?}");
    }
    // Another protocol is not answered at all.
    for bytes in [&b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"[..], b"httpteleport\x01\x01\x00", b"httptelepork\x00\x01\x00"] {
        let mut peer = RawPeer::new(dial(&node).await);
        peer.send(bytes).await;
        assert!(timeout(PATIENCE, peer.read_to_end()).await.expect("it ends").is_empty());
    }
    // Who says nothing at all, or half of a hello, is put out after 3 s; the others do not wait for that.
    let mut stalled = RawPeer::new(dial(&node).await);
    stalled.send(b"httptele").await;
    let mut peer = client(&node, Compression::None).await;
    peer.say(&frame(1, &go_request("GET", "/", b"").bytes())).await;
    assert_eq!(reply(&mut peer).await.message.status, 200);
    let ended = timeout(Duration::from_secs(8), stalled.read_to_end()).await.expect("after 3 s");
    assert!(ended.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn teleports_is_tls_or_nothing() {
    let files = Files::new();
    let certificates = Certificates::new(&files);
    let origin = Origin::start().await;
    let node = Node::start("teleports://127.0.0.1:0", &origin.url, &certificates.input());
    let hello = Hello::http(Compression::Flate);

    let mut clear = RawPeer::new(dial(&node).await);
    clear.send(&[hello.bytes(), frame(1, &go_request("GET", "/clear", b"").bytes())].concat()).await;
    let rest = timeout(PATIENCE, clear.read_to_end()).await.expect("it ends");
    assert!(rest.is_empty() || rest == hello.clone().with_tls().bytes(), "{}", rest.escape_ascii());

    let mut peer = RawPeer::new(dial(&node).await);
    peer.send(&hello.clone().with_tls().bytes()).await;
    assert_eq!(peer.hear_hello(&hello.sniff).await, hello.clone().with_tls());
    let connector = TlsConnector::from(certificates.ca.client_config());
    let name = ServerName::try_from("127.0.0.1").expect("an address");
    let stream = connector.connect(name, peer.into_inner()).await.expect("TLS");
    let mut peer = RawPeer::new(stream);
    peer.begin(&hello, &hello);
    peer.say(&frame(1, &go_request("GET", "/inside", b"").bytes())).await;
    let reply = timeout(PATIENCE, peer.frame(read_reply)).await.expect("in time");
    assert_eq!(text(&reply), (1, 200, "GET /inside".to_owned()));
    // Go closes the socket without a word of TLS, and the node is not impressed.
    let (mut socket, _) = peer.into_inner().into_inner();
    socket.shutdown().await.expect("closed");
    assert_eq!(origin.requests().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_in_single_bytes_and_one_that_is_damaged() {
    let origin = Origin::start().await;
    let node = node(&origin, &[]);
    for compression in Compression::ALL {
        let mut peer = client(&node, compression).await;
        let mut compressor = testkit::wire::Compressor::new(compression);
        for byte in compressor.flush(&frame(5, &go_request("POST", "/slow", b"byte by byte").bytes())) {
            peer.send(&[byte]).await;
        }
        assert_eq!(text(&reply(&mut peer).await), (5, 200, "byte by byte".to_owned()));
        if compression != Compression::None {
            peer.send(&[0xff; 64]).await;
            timeout(PATIENCE, peer.expect_end()).await.expect("damage ends the connection");
        }
    }
}
