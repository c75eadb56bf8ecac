//! Trailers through nodes, between HTTP/1.1 and HTTP/2, that no `Trailer` field announces.

use std::convert::Infallible;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use http_body::Frame;
use http_body_util::{BodyExt as _, Empty, StreamBody};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use testkit::wire::HttpReply;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::http2_origin::Http2Origin;
use crate::node::{Node, PATIENCE, Pair};
use crate::origin::{Answer, Origin};
use crate::streaming_origin::StreamingOrigin;

/// What a client of HTTP/2 gets: the body, and what follows it.
async fn get(address: &str, path: &str) -> (Bytes, Vec<(String, String)>) {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let (mut sender, connection) =
        http2::handshake::<_, _, Empty<Bytes>>(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
    tokio::spawn(connection);
    let request = Request::post(format!("http://far.example{path}")).header("te", "trailers").body(Empty::new());
    let reply = timeout(PATIENCE, sender.send_request(request.expect("a request"))).await.expect("in time");
    let reply = reply.expect("a reply").into_body().collect();
    let reply = timeout(PATIENCE, reply).await.expect("in time").expect("a body");
    let text = |value: &HeaderValue| value.to_str().expect("text").to_owned();
    let trailers = reply.trailers().expect("there are some").iter();
    let trailers = trailers.map(|(name, value)| (name.to_string(), text(value))).collect();
    (reply.to_bytes(), trailers)
}

fn pairs(of: &[(&str, &str)]) -> Vec<(String, String)> {
    of.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn those_of_an_origin_reach_clients_of_http_2() {
    let announcing = StreamingOrigin::start().await;
    let silent = Origin::scripted(|_| {
        let mut bytes = HttpReply::new(200, "OK").header("Transfer-Encoding", "chunked").bytes();
        bytes.extend(b"4\r\ndata\r\n0\r\nX-Sum: 7\r\nX-Other: 8\r\n\r\n");
        Answer::Bytes(bytes)
    })
    .await;
    for (url, want) in [
        (&announcing.url, pairs(&[("grpc-status", "5"), ("grpc-message", "not found")])),
        (&silent.url, pairs(&[("x-sum", "7"), ("x-other", "8")])),
    ] {
        let lone = Node::start("http://127.0.0.1:0", url, &[]);
        let pair = Pair::start(url);
        for node in [&lone, &pair.near] {
            let (body, mut trailers) = get(node.address(), "/trailers").await;
            trailers.sort_unstable();
            let mut want = want.clone();
            want.sort_unstable();
            assert_eq!((&body[..], trailers), (&b"data"[..], want), "{node:?}");
        }
    }
}

/// The origin says back what it was told: which trailers it was sent is seen in those of its reply, of which those pass that
/// are known to belong to gRPC.
#[tokio::test(flavor = "multi_thread")]
async fn those_of_a_client_of_http_1_reach_http_2_and_grpc_status_comes_back() {
    let origin = Http2Origin::start().await;
    let url = format!("h2c://{}", origin.address);
    let lone = Node::start("http://127.0.0.1:0", &url, &[]);
    let pair = Pair::start(&url);
    let head = "POST /pkg.Service/Call HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nConnection: te\r\nTransfer-Encoding: chunked\r\n\r\n";
    let rest = ["2\r\nhi\r\n", "0\r\nGrpc-Message: seven\r\nContent-Length: 7\r\n\r\n"];
    for node in [&lone, &pair.near] {
        let mut client = TcpStream::connect(node.address()).await.expect("a connection");
        for at_once in [true, false] {
            let first = if at_once { format!("{head}{}", rest.concat()) } else { head.to_owned() };
            client.write_all(first.as_bytes()).await.expect("sent");
            let told = read_to(&mut client, "\r\n\r\n").await;
            assert!(told.contains("\r\nTrailer: grpc-status, grpc-message, grpc-status-details-bin\r\n"), "{told}");
            if !at_once {
                client.write_all(rest.concat().as_bytes()).await.expect("sent");
            }
            let told = read_to(&mut client, "0\r\nGrpc-Message: seven\r\nGrpc-Status: 0\r\n\r\n").await;
            assert_eq!(told, "2\r\nhi\r\n0\r\nGrpc-Message: seven\r\nGrpc-Status: 0\r\n\r\n", "{node:?}");
        }
    }
}

/// What becomes of a request over HTTP/2 with so many trailers of a kilobyte.
async fn with_trailers(address: &str, count: usize) -> Result<usize, String> {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let opened = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (mut sender, connection) = opened.expect("HTTP/2");
    tokio::spawn(connection);
    let fields = (0..count).map(|number| {
        let name = HeaderName::try_from(format!("x-{number}")).expect("a name");
        (name, HeaderValue::try_from("v".repeat(1000)).expect("a value"))
    });
    let frames = [Frame::data(Bytes::from_static(b"hi")), Frame::trailers(fields.collect())];
    let body = StreamBody::new(futures_util::stream::iter(frames.map(Ok::<_, Infallible>)));
    let request = Request::post("http://h/pkg.Service/Call").header("te", "trailers").body(body).expect("a request");
    let reply = timeout(PATIENCE, sender.send_request(request)).await.expect("in time").map_err(|e| e.to_string())?;
    if reply.status() != 200 {
        return Err(reply.status().to_string());
    }
    let reply = timeout(PATIENCE, reply.into_body().collect()).await.expect("in time").map_err(|e| e.to_string())?;
    Ok(reply.trailers().map_or(0, HeaderMap::keys_len))
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_are_refused_and_never_a_part_of_them_is_passed_on() {
    let origin = Http2Origin::start().await;
    let url = format!("h2c://{}", origin.address);
    let few = ["--in-max-header-size", "10000", "--out-max-header-size", "1000000"];
    let many = ["--in-max-header-size", "1000000", "--out-max-header-size", "10000"];
    for (options, says) in
        [(few, "the request's trailers are too large"), (many, "the trailers of its reply are too large")]
    {
        let node = Node::start("http://127.0.0.1:0", &url, &options);
        // The origin adds two.
        assert_eq!(with_trailers(node.address(), 5).await, Ok(7));
        // Of so many the library would drop some.
        for count in [20, 90] {
            let refused = with_trailers(node.address(), count).await;
            assert!(refused.is_err(), "{count}: {refused:?}");
            node.says(says);
        }
        assert_eq!(with_trailers(node.address(), 5).await, Ok(7));
    }
}

/// What comes until this has come.
async fn read_to(client: &mut TcpStream, end: &str) -> String {
    let mut read = String::new();
    while !read.ends_with(end) {
        let byte = timeout(PATIENCE, client.read_u8()).await;
        let byte = byte.unwrap_or_else(|_| panic!("nothing comes after {read:?}")).expect("a byte");
        read.push(char::from(byte));
    }
    read
}
