//! Replies that their origin cuts short: clients get what there is, and none takes its request for one that was never read.

use http::Request;
use testkit::programs::{Curl, CurlOutput};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use crate::node::{Certificates, Files, Node, PATIENCE, Pair};
use crate::origin::{Answer, Origin};

const TRIES: usize = 20;
/// Of a reply to a client that reads slowly: more than lies in sockets.
const LARGE: usize = 16 << 20;

/// What curl says where a reply ends too soon.
const PARTIAL: i32 = 18;

/// It cuts its replies to POSTs.
async fn origin() -> Origin {
    Origin::scripted(|request| {
        let (length, body) = if request.method == "POST" { (30, "four") } else { (2, "hi") };
        let bytes = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}").into_bytes();
        if length > body.len() { Answer::Last(bytes) } else { Answer::Bytes(bytes) }
    })
    .await
}

/// A GET, and on the connection that was kept for it a POST.
async fn post(url: &str, version: &[&str]) -> CurlOutput {
    let get = Curl::new(&format!("{url}/whole")).args(version).args(["--output", "/dev/null"]);
    get.args(["--next", "--silent", "--data", "hello"]).args(version).arg(format!("{url}/short")).run().await
}

fn posts(origin: &Origin) -> usize {
    origin.requests().iter().filter(|request| request.method == "POST").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_gets_the_head_and_what_came_of_the_body() {
    let (files, origin) = (Files::new(), origin().await);
    let clear = Node::start("http://127.0.0.1:0", &origin.url, &[]);
    let tls = Node::start("https://127.0.0.1:0", &origin.url, &Certificates::new(&files).input());
    for (node, version) in [(&clear, &["--http1.1"][..]), (&tls, &["--http1.1", "--insecure"])] {
        let before = posts(&origin);
        for _ in 0..TRIES {
            let output = post(node.url(), version).await;
            assert_eq!((output.exit, output.status, &output.body[..]), (PARTIAL, 200, &b"four"[..]), "{output:?}");
        }
        assert_eq!(posts(&origin) - before, TRIES, "no request was made twice");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_http_2_too() {
    let origin = origin().await;
    let node = Node::start("http://127.0.0.1:0", &origin.url, &[]);
    let stream = TcpStream::connect(node.address()).await.expect("a connection");
    let (mut client, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    tokio::spawn(connection);
    for _ in 0..TRIES {
        client = timeout(PATIENCE, client.ready()).await.expect("in time").expect("the connection goes on");
        let post = Request::post("http://h/short").body(()).expect("a request");
        let (reply, _) = client.send_request(post, true).expect("sent");
        let reply = timeout(PATIENCE, reply).await.expect("in time").expect("its head");
        assert_eq!(reply.status(), 200);
        let mut body = reply.into_body();
        let mut piece = async || timeout(PATIENCE, body.data()).await.expect("in time").expect("no end");
        assert_eq!(piece().await.expect("what came"), "four");
        assert!(piece().await.expect_err("it was cut").is_reset());
    }
    assert_eq!(posts(&origin), TRIES);
}

#[tokio::test(flavor = "multi_thread")]
async fn by_way_of_two_nodes_it_is_a_part_or_a_502() {
    let origin = origin().await;
    let pair = Pair::start(&origin.url);
    for _ in 0..TRIES {
        let output = post(pair.near.url(), &["--http1.1"]).await;
        assert!(matches!((output.exit, output.status), (0, 502) | (PARTIAL, 200)), "{output:?}");
    }
    assert_eq!(posts(&origin), TRIES, "no request was made twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_reads_slowly_gets_all_that_there_is() {
    let origin = Origin::scripted(|_| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", 2 * LARGE);
        Answer::Last([head.as_bytes(), &vec![b'x'; LARGE]].concat())
    })
    .await;
    let node = Node::start("http://127.0.0.1:0", &origin.url, &[]);
    for _ in 0..3 {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(65_536).expect("a small one");
        let mut client = socket.connect(node.address().parse().expect("an address")).await.expect("a connection");
        client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.expect("sent");
        let mut received = Vec::new();
        let mut piece = [0; 16_384];
        while let Ok(count @ 1..) = timeout(PATIENCE, client.read(&mut piece)).await.expect("in time") {
            received.extend_from_slice(&piece[..count]);
        }
        let head = received.windows(4).position(|end| end == b"\r\n\r\n").expect("a head") + 4;
        assert_eq!(received.len() - head, LARGE);
    }
}
