//! Other protocols on a client's connection: WebSocket, between programs of somebody else, and any.

use futures_util::{SinkExt as _, StreamExt as _};
use http::{Method, Request, StatusCode};
use hyper::ext::Protocol;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use rustix::process::Signal;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::admin::{get, value};
use crate::client::Client;
use crate::http2::{connect, empty};
use crate::origin::Origin;
use crate::program::{PATIENCE, Program};
use crate::stage::Stage;

const ASK: &str = "GET /talk HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, Upgrade\r\nUpgrade: Lines/1, more\r\n\r\n";
const AGREE: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: lines/1\r\nX-Note: 1\r\nContent-Length: 0\r\n\r\n";

/// A WebSocket server that sends back what it gets; its URL.
pub(crate) async fn echo_server() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut socket = tokio_tungstenite::accept_async(stream).await.expect("a handshake");
                while let Some(Ok(message)) = socket.next().await {
                    if !message.is_close() {
                        socket.send(message).await.expect("sent");
                    }
                }
            });
        }
    });
    url
}

/// Talks to an echo, in messages small and large, and says good-bye.
async fn talk<S: AsyncRead + AsyncWrite + Unpin>(mut socket: WebSocketStream<S>) {
    for size in [0, 1, 125, 126, 70_000, 3_000_000, 5] {
        let message = Message::binary(vec![b'm'; size]);
        socket.send(message.clone()).await.expect("sent");
        let reply = timeout(PATIENCE, socket.next()).await.expect("in time");
        assert!(reply.expect("a reply").expect("a message") == message, "{size}");
    }
    socket.close(None).await.expect("sent");
    let farewell = timeout(PATIENCE, socket.next()).await.expect("in time");
    assert!(matches!(farewell, Some(Ok(Message::Close(_)))), "{farewell:?}");
    assert!(timeout(PATIENCE, socket.next()).await.expect("in time").is_none(), "the connection ends");
}

/// Says 200 frames of 100 KB and one of 8 MiB, and hears them again, all the while.
async fn talk_much<S: AsyncRead + AsyncWrite + Unpin>(socket: WebSocketStream<S>) {
    let sizes = || std::iter::repeat_n(100_000, 200).chain([8 << 20]);
    let (mut says, mut hears) = socket.split();
    let say = async {
        for size in sizes() {
            says.send(Message::binary(vec![b'm'; size])).await.expect("sent");
        }
    };
    let hear = async {
        for (number, size) in sizes().enumerate() {
            let reply = timeout(PATIENCE, hears.next()).await.expect("in time").expect("a reply").expect("a message");
            assert_eq!(reply.len(), size, "frame {number}");
        }
    };
    tokio::join!(say, hear);
}

/// A pair of nodes on the framed wire before this origin: the far one, the near one.
async fn pair(out: &str) -> (Program, Program) {
    let far = Program::between("teleport://127.0.0.1:0", out, &[]).await;
    let near = Program::http(&format!("teleport://{}", far.address())).await;
    (far, near)
}

/// An extended CONNECT.
pub(crate) async fn extended(
    program: &Program,
    protocol: &'static str,
) -> hyper::Result<http::Response<hyper::body::Incoming>> {
    let mut client = connect(program.address()).await;
    let mut request = Request::builder().method(Method::CONNECT).uri("http://h/chat?room=1");
    request.extensions_mut().expect("a request").insert(Protocol::from_static(protocol));
    let request = request.header("sec-websocket-version", "13").body(empty()).expect("a request");
    // Settings tell whether it may be asked for; they come first.
    client.ready().await?;
    timeout(PATIENCE, client.send_request(request)).await.expect("in time")
}

#[tokio::test]
async fn web_sockets_over_http_1() {
    let program = Program::http(&echo_server().await).await;
    for _ in 0..3 {
        let stream = TcpStream::connect(program.address()).await.expect("a connection");
        let (socket, reply) = tokio_tungstenite::client_async("ws://h/chat", stream).await.expect("a handshake");
        assert_eq!(reply.status(), StatusCode::SWITCHING_PROTOCOLS);
        talk(socket).await;
    }
}

#[tokio::test]
async fn web_sockets_over_http_2() {
    let program = Program::http(&echo_server().await).await;
    let mut reply = extended(&program, "websocket").await.expect("a reply");
    assert_eq!(reply.status(), StatusCode::OK);
    for gone in ["upgrade", "connection", "sec-websocket-accept", "content-length"] {
        assert!(!reply.headers().contains_key(gone), "{gone}");
    }
    let stream: Upgraded = hyper::upgrade::on(&mut reply).await.expect("an agreement");
    talk(WebSocketStream::from_raw_socket(TokioIo::new(stream), Role::Client, None).await).await;
}

#[tokio::test]
async fn one_that_is_asked_for_over_http_2_is_a_get_as_over_http_1() {
    let options = ["--in-get-only"];
    let program = Program::between("http://127.0.0.1:0", &echo_server().await, &options).await;
    assert_eq!(extended(&program, "websocket").await.expect("a reply").status(), StatusCode::OK);
}

#[tokio::test]
async fn web_sockets_through_a_pair_have_no_limit_in_total() {
    let (_far, near) = pair(&echo_server().await).await;
    let stream = TcpStream::connect(near.address()).await.expect("a connection");
    let (socket, _) = tokio_tungstenite::client_async("ws://h/chat", stream).await.expect("a handshake");
    talk_much(socket).await;
    let mut reply = extended(&near, "websocket").await.expect("a reply");
    let stream: Upgraded = hyper::upgrade::on(&mut reply).await.expect("an agreement");
    talk_much(WebSocketStream::from_raw_socket(TokioIo::new(stream), Role::Client, None).await).await;
}

#[tokio::test]
async fn any_protocol_passes_and_each_side_ends_by_itself() {
    let stage = Stage::start().await;
    let mut client = stage.client().await;
    client.send(format!("{ASK}hasty")).await;
    let mut origin = stage.accept().await;
    let head = origin.head().await;
    assert_eq!((head.field("upgrade"), head.field("connection")), (Some("Lines/1"), Some("upgrade")));
    // What comes right behind the head belongs to the protocol.
    origin.send(format!("{AGREE}first")).await;
    let head = client.head().await;
    assert_eq!((head.status(), head.field("x-note"), head.field("content-length")), (101, Some("1"), None));
    assert_eq!((head.field("upgrade"), head.field("connection")), (Some("Lines/1"), Some("upgrade")));
    assert_eq!(client.exactly(5).await, b"first");
    client.send("one").await;
    assert_eq!(origin.exactly(8).await, b"hastyone");
    let (mut hears, mut says) = client.into_split();
    says.write_all(b"last").await.expect("sent");
    says.shutdown().await.expect("sent");
    assert_eq!(origin.rest().await, b"last", "the client's end arrives");
    origin.send("and then").await;
    drop(origin);
    let mut rest = Vec::new();
    timeout(PATIENCE, hears.read_to_end(&mut rest)).await.expect("in time").expect("readable");
    assert_eq!(rest, b"and then", "the origin went on");
}

#[tokio::test]
async fn who_goes_away_takes_the_other_along() {
    let stage = Stage::start().await;
    let open = || async {
        let mut client = stage.client().await;
        client.send(ASK).await;
        let mut origin = stage.accept().await;
        origin.head().await;
        origin.send(AGREE).await;
        client.head().await;
        (client, origin)
    };
    let (client, mut origin) = open().await;
    drop(client);
    assert!(origin.rest().await.is_empty());
    let (mut client, origin) = open().await;
    drop(origin);
    assert!(client.rest().await.is_empty());
}

#[tokio::test]
async fn who_does_not_agree_is_passed_on() {
    let mut stage = Stage::with(&["--admin", "127.0.0.1:0"]).await;
    let admin = stage.program.admin().await;
    let mut client = stage.client().await;
    for (line, body) in [("403 Forbidden", "no"), ("200 OK", "hm"), ("426 Upgrade Required", "")] {
        client.send(ASK).await;
        let mut origin = stage.accept().await;
        origin.head().await;
        origin.send(format!("HTTP/1.1 {line}\r\nContent-Length: {}\r\nUpgrade: x\r\n\r\n{body}", body.len())).await;
        let reply = client.reply().await;
        assert!(reply.head.starts_with(&format!("HTTP/1.1 {line}\r\n")), "{}", reply.head);
        assert_eq!((reply.text(), reply.field("upgrade")), (body, None));
        drop(origin);
    }

    let (reply, _origin) = tokio::join!(extended(&stage.program, "websocket"), async {
        let mut origin = stage.accept().await;
        assert!(origin.head().await.head.starts_with("GET /chat?room=1 HTTP/1.1\r\n"));
        origin.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
        origin
    });
    assert_eq!(reply.expect("a reply").status(), 501, "to HTTP/2 a success would agree");
    let metrics = get(&admin, "/metrics").await;
    assert_eq!(value(metrics.text(), "httptp_refusals_total", &["reason=\"unsupported\""]), 1.0);
}

#[tokio::test]
async fn one_whose_connection_is_lost_goes_to_another_upstream_as_it_came() {
    // Before or after it has read the request.
    for reads in [false, true] {
        let losing = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let out = format!("http://{},{}", losing.local_addr().expect("an address"), echo_server().await);
        let args = ["--in", "http://127.0.0.1:0", "--out", &out, "--admin", "127.0.0.1:0"];
        let mut program = Program::start(&args).await;
        let admin = program.admin().await;
        let lost = tokio::spawn(async move {
            loop {
                let (stream, _) = losing.accept().await.expect("a connection");
                if reads {
                    Client::over(stream).head().await;
                }
            }
        });
        for _ in 0..8 {
            let stream = TcpStream::connect(program.address()).await.expect("a connection");
            let (mut socket, _) = tokio_tungstenite::client_async("ws://h/chat", stream).await.expect("an agreement");
            socket.send(Message::text("hello")).await.expect("sent");
            let reply = timeout(PATIENCE, socket.next()).await.expect("in time").expect("a reply").expect("a message");
            assert_eq!(reply, Message::text("hello"));
        }
        let metrics = get(&admin, "/metrics").await;
        let lines = metrics.text().lines().filter(|line| line.starts_with("httptp_upstream_failures_total{"));
        let failures: Vec<_> = lines.map(|line| line.ends_with(" 0")).collect();
        assert_eq!(failures, [false, true], "the other one has failed nothing: {}", metrics.text());
        lost.abort();
    }
}

#[tokio::test]
async fn an_agreement_to_something_else_is_502() {
    let stage = Stage::start().await;
    for agree in [AGREE.replace("lines/1", "other"), AGREE.replace("Upgrade: lines/1\r\n", "")] {
        let mut client = stage.client().await;
        client.send(ASK).await;
        let mut origin = stage.accept().await;
        origin.head().await;
        origin.send(agree).await;
        let reply = client.reply().await;
        assert_eq!(reply.status(), 502);
        assert!(reply.text().ends_with("it switched to another protocol than it was asked for\n"), "{}", reply.text());
    }
    let (reply, _origin) = tokio::join!(extended(&stage.program, "websocket"), async {
        let mut origin = stage.accept().await;
        assert_eq!(origin.head().await.field("sec-websocket-key").map(str::len), Some(24));
        let accept = "Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";
        origin.send(AGREE.replace("Upgrade: lines/1", accept)).await;
        origin
    });
    assert_eq!(reply.expect("a reply").status(), 502, "the answer to another key");
}

#[tokio::test]
async fn what_only_looks_like_an_upgrade_is_a_plain_request() {
    let origin = Origin::start().await;
    let program = Program::http(&origin.url()).await;
    let mut client = Client::connect(program.address()).await;
    for fields in [
        "Upgrade: websocket\r\n",
        "Connection: upgrade\r\n",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "Connection: upgrade\r\nUpgrade: no token\r\n",
    ] {
        let reply = client.ask(format!("GET /echo HTTP/1.1\r\nHost: h\r\n{fields}\r\n")).await;
        assert_eq!(reply.text(), "GET /echo HTTP/1.1\nhost: h\n\n", "{fields}");
    }
    let body = "POST /echo HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: 2\r\n\r\nhi";
    assert_eq!(client.ask(body).await.text(), "POST /echo HTTP/1.1\nhost: h\ncontent-length: 2\n\nhi");
}

#[tokio::test]
async fn a_node_of_the_classic_wire_answers_501() {
    let origin = Origin::start().await;
    let far = Program::start(&["--in", "teleport://127.0.0.1:0", "--wire", "classic", "--out", &origin.url()]).await;
    let address = far.address().split(' ').next().expect("an address");
    let program = Program::http(&format!("teleport://{address}")).await;
    let mut client = Client::connect(program.address()).await;
    let reply = client.ask(ASK).await;
    assert_eq!(reply.status(), 501);
    assert!(reply.text().ends_with("the wire to the next node cannot carry such a request\n"), "{}", reply.text());
    assert_eq!(client.get("/size/1").await.text(), "x");
    assert_eq!(extended(&program, "websocket").await.expect("a reply").status(), 501);
}

#[tokio::test]
async fn draining_waits_for_it() {
    let stage = Stage::start().await;
    let mut client = stage.client().await;
    client.send(ASK).await;
    let mut origin = stage.accept().await;
    origin.head().await;
    origin.send(AGREE).await;
    client.head().await;
    let mut program = stage.program;
    program.signal(Signal::TERM);
    timeout(PATIENCE, async { while TcpStream::connect(program.address()).await.is_ok() {} }).await.expect("in time");
    client.send("still").await;
    assert_eq!(origin.exactly(5).await, b"still");
    origin.send("here").await;
    assert_eq!(client.exactly(4).await, b"here");
    drop((client, origin));
    assert_eq!(program.ended().await.code(), Some(0));
}
