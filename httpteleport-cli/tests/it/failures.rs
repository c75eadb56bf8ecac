//! Upstreams that fail.

use std::time::{Duration, Instant};

use http::{Request, Version};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::client::Client;
use crate::http2::{connect, empty};
use crate::origin::Origin;
use crate::program::{Program, logged};
use crate::stage::Stage;
use crate::tls::Identity;

/// An address nobody listens on.
async fn closed_port() -> String {
    TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address").to_string()
}

/// Reads one request without a body.
async fn read_head(stream: &mut TcpStream) {
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n") {
        seen.push(stream.read_u8().await.expect("a request"));
    }
}

#[tokio::test]
async fn an_upstream_that_is_down_is_502_and_comes_back() {
    let address = closed_port().await;
    let args = ["--in", "http://127.0.0.1:0", "--out", &format!("http://{address}"), "--log-all-errors"];
    let (program, mut log) = Program::logged(&args).await;
    let mut client = Client::connect(program.address()).await;
    let reply = client.get("/size/1").await;
    assert_eq!(reply.status(), 502);
    assert_eq!(reply.field("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(reply.text(), "http: proxying error: connection refused\n");
    let line = logged(&mut log, "request of 127.0.0.1").await;
    assert!(line.contains(&format!("to http://{address}: connection refused")), "the log says where: {line}");
    let _origin = Origin::on(TcpListener::bind(&address).await.expect("the port is free"), None);
    assert_eq!(client.get("/size/1").await.text(), "x", "the client's connection has lived on");
}

#[tokio::test]
async fn each_kind_of_failure_is_a_line_a_second() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let out = format!("http://{}", listener.local_addr().expect("an address"));
    let args = ["--in", "http://127.0.0.1:0", "--out", &out, "--out-timeout", "300ms"];
    let (program, mut log) = Program::logged(&args).await;
    let mut client = Client::connect(program.address()).await;
    for (reply, status, line) in [
        (Some("SSH-2.0-x\r\n\r\n"), 502, format!("answered with 502: {out}: invalid HTTP")),
        (None, 504, format!("answered with 504: {out}: no reply in time")),
        (Some("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), 200, format!("reply of {out} broken off: ")),
    ] {
        client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n").await;
        let (mut stream, _) = listener.accept().await.expect("a connection");
        read_head(&mut stream).await;
        if let Some(reply) = reply {
            stream.write_all(reply.as_bytes()).await.expect("sent");
            drop(stream);
        }
        if status != 200 {
            assert_eq!(client.reply().await.status(), status);
        }
        logged(&mut log, &line).await;
    }
}

#[tokio::test]
async fn clients_are_told_nothing_of_the_network_behind() {
    let (identity, gone) = (Identity::of("failures_hidden", &["hidden.example"]), closed_port().await);
    let (cert, key) = identity.files();
    let shown = ["--in-tls-cert", cert, "--in-tls-key", key];
    let server = Program::between("https://127.0.0.1:0", &format!("http://{gone}"), &shown).await;
    // It lets nobody finish a handshake.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let silent = listener.local_addr().expect("an address");
    let far = Program::between("teleport://127.0.0.1:0", &format!("http://{gone}"), &[]).await;
    for (out, status, told) in [
        (format!("https://{}", server.address()), 502, "http: proxying error: TLS: the handshake failed\n"),
        (format!("teleport://{gone}"), 502, "http: proxying error: connection refused\n"),
        (format!("teleport://{silent}"), 502, "http: proxying error: cannot connect\n"),
        (format!("teleport://{}", far.address()), 502, "teleport: proxying error: connection refused\n"),
    ] {
        let trust: &[&str] = if out.starts_with("https") { &["--out-ca", cert] } else { &[] };
        let program =
            Program::between("http://127.0.0.1:0", &out, &[&["--out-timeout", "500ms"], trust].concat()).await;
        let reply = Client::connect(program.address()).await.get("/").await;
        assert_eq!((reply.status(), reply.text()), (status, told), "{out}");
    }
}

#[tokio::test]
async fn a_request_that_never_left_goes_to_another_upstream() {
    let origin = Origin::start().await;
    let program = Program::http(&format!("http://{},{}", closed_port().await, origin.url())).await;
    let mut client = Client::connect(program.address()).await;
    for _ in 0..10 {
        let reply = client.ask("POST /size/1 HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi").await;
        assert_eq!(reply.status(), 200);
    }
}

#[tokio::test]
async fn no_reply_in_time_is_504() {
    let origin = Origin::start().await;
    let program =
        Program::start(&["--in", "http://127.0.0.1:0", "--out", &origin.url(), "--out-timeout", "150ms"]).await;
    let mut client = Client::connect(program.address()).await;
    let start = Instant::now();
    let reply = client.get("/hold").await;
    let took = start.elapsed();
    assert_eq!(reply.status(), 504);
    assert_eq!(reply.text(), "http: proxying error: no reply in time\n");
    assert!(took >= Duration::from_millis(150) && took < Duration::from_secs(2), "{took:?}");
    assert_eq!(client.get("/size/1").await.status(), 200);
    assert_eq!(origin.connections(), 2, "a connection that owes a reply is not used again");
}

#[tokio::test]
async fn a_head_that_is_too_large_is_502() {
    let origin = Origin::start().await;
    let args = ["--in", "http://127.0.0.1:0", "--out", &origin.url(), "--log-all-errors"];
    let (program, mut log) = Program::logged(&args).await;
    let mut client = Client::connect(program.address()).await;
    assert_eq!(client.get("/head/3900").await.status(), 200);
    let reply = client.get("/head/5000").await;
    assert_eq!((reply.status(), reply.text()), (502, "http: proxying error: the head of its reply is too large\n"));
    logged(&mut log, "the head of its reply has more than 4096 bytes or 100 fields").await;
    assert_eq!(client.get("/size/1").await.status(), 200);
}

#[tokio::test]
async fn nonsense_from_an_upstream_is_502() {
    for (nonsense, why) in [
        ("SSH-2.0-x\r\n\r\n", "its reply is no good HTTP"),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "switched protocols"),
        ("", "it closed the connection before its reply"),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let program = Program::http(&format!("http://{}", listener.local_addr().expect("an address"))).await;
        let mut client = Client::connect(program.address()).await;
        client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n").await;
        let (mut stream, _) = listener.accept().await.expect("a connection");
        read_head(&mut stream).await;
        stream.write_all(nonsense.as_bytes()).await.expect("sent");
        drop(stream);
        let reply = client.reply().await;
        assert_eq!(reply.status(), 502);
        assert!(reply.text().contains(why) && reply.text().lines().count() == 1, "{}", reply.text());
    }
}

#[tokio::test]
async fn a_reply_has_one_length_or_is_502() {
    let stage = Stage::start().await;
    for (method, fields, told) in [
        ("HEAD", "Content-Length: 5\r\nContent-Length: 5", Some("5")),
        ("GET", "Content-Length: 5, 5", Some("5")),
        ("HEAD", "Content-Length: 5\r\nContent-Length: 6", None),
        ("HEAD", "Content-Length: -5", None),
        ("HEAD", "Content-Length: x", None),
        ("GET", "Transfer-Encoding: gzip, chunked", None),
    ] {
        for version in [Version::HTTP_11, Version::HTTP_2] {
            let request = format!("{method} / HTTP/1.1\r\nHost: h\r\n\r\n");
            let answer = async {
                let mut origin = stage.accept().await;
                origin.head().await;
                let body = if method == "GET" { "hello" } else { "" };
                origin.send(format!("HTTP/1.1 200 OK\r\nConnection: close\r\n{fields}\r\n\r\n{body}")).await;
            };
            let (status, length) = if version == Version::HTTP_2 {
                let mut client = connect(stage.program.address()).await;
                let request = Request::builder().method(method).uri("http://h/").body(empty()).expect("a request");
                let (reply, ()) = tokio::join!(client.send_request(request), answer);
                let reply = reply.expect("a reply");
                let length = reply.headers().get("content-length").map(|text| text.to_str().expect("text").to_owned());
                (reply.status().as_u16(), length)
            } else {
                let mut client = stage.client().await;
                client.send(request).await;
                let (reply, ()) = tokio::join!(client.head(), answer);
                (reply.status(), reply.field("content-length").map(str::to_owned))
            };
            match told {
                Some(told) => {
                    assert_eq!((status, length.as_deref()), (200, Some(told)), "{version:?} {method} {fields}");
                }
                None => assert_eq!(status, 502, "{version:?} {method} {fields}"),
            }
        }
    }
}

#[tokio::test]
async fn a_first_chunk_that_is_none_is_502() {
    let stage = Stage::start().await;
    for (chunks, body) in [
        ("zz\r\nhello\r\n0\r\n\r\n", None),
        ("0x5\r\nhello\r\n0\r\n\r\n", None),
        ("5 5\r\nhello\r\n0\r\n\r\n", None),
        ("FFFFFFFFFFFFFFFFF5\r\nhello\r\n0\r\n\r\n", None),
        ("5\r\nhello\r\n0\r\n\r\n", Some("hello")),
        ("0\r\n\r\n", Some("")),
    ] {
        let answer = async {
            let mut origin = stage.accept().await;
            origin.head().await;
            origin
                .send(format!("HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"))
                .await;
        };
        let mut client = stage.client().await;
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        let (reply, ()) = tokio::join!(client.reply(), answer);
        match body {
            Some(body) => assert_eq!((reply.status(), reply.text()), (200, body)),
            None => assert_eq!(reply.status(), 502, "{chunks}"),
        }
    }
}

#[tokio::test]
async fn a_reply_that_ends_with_its_connection_passes() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let program = Program::http(&format!("http://{}", listener.local_addr().expect("an address"))).await;
    let mut client = Client::connect(program.address()).await;
    for _ in 0..2 {
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        let (mut stream, _) = listener.accept().await.expect("a connection");
        read_head(&mut stream).await;
        stream
            .write_all(b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.0 200 Fine\r\nServer: old\r\n\r\nto the end")
            .await
            .expect("sent");
        drop(stream);
        let reply = client.reply().await;
        assert_eq!((reply.text(), reply.field("server")), ("to the end", Some("old")));
        assert!(reply.head.starts_with("HTTP/1.1 200 "), "{}", reply.head);
    }
}

#[tokio::test]
async fn a_reply_cut_short_ends_the_clients_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let program = Program::http(&format!("http://{}", listener.local_addr().expect("an address"))).await;
    let mut client = Client::connect(program.address()).await;
    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let (mut stream, _) = listener.accept().await.expect("a connection");
    read_head(&mut stream).await;
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").await.expect("sent");
    assert_eq!(client.head().await.field("content-length"), Some("10"));
    drop(stream);
    assert_eq!(client.rest().await, b"half", "it must not look complete");
}

/// The first connection answers one request, then meets the second with a close, as a server's idle limit would.
async fn stale_upstream() -> (Program, tokio::task::JoinHandle<usize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let program = Program::http(&format!("http://{}", listener.local_addr().expect("an address"))).await;
    let upstream = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst").await.expect("sent");
        read_head(&mut stream).await;
        drop(stream);
        let (mut stream, _) = listener.accept().await.expect("a connection");
        read_head(&mut stream).await;
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecond").await.expect("sent");
        2
    });
    (program, upstream)
}

#[tokio::test]
async fn a_get_met_by_a_closing_connection_is_sent_again() {
    let (program, upstream) = stale_upstream().await;
    let mut client = Client::connect(program.address()).await;
    assert_eq!(client.get("/").await.text(), "first");
    assert_eq!(client.get("/").await.text(), "second");
    assert_eq!(upstream.await.expect("no panic"), 2);
}

#[tokio::test]
async fn a_post_that_may_have_had_its_effect_is_not() {
    let (program, upstream) = stale_upstream().await;
    let mut client = Client::connect(program.address()).await;
    assert_eq!(client.get("/").await.text(), "first");
    assert_eq!(client.ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n").await.status(), 502);
    assert_eq!(client.get("/").await.text(), "second");
    assert_eq!(upstream.await.expect("no panic"), 2);
}
