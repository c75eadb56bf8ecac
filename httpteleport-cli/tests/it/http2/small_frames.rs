//! Bodies in frames of a few bytes, as calls that stream messages have them.

use std::future::poll_fn;

use bytes::Bytes;
use http::Request;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::origin::Origin;
use crate::program::{PATIENCE, Program};

const FRAMES: usize = 10_000;
const FRAME: &[u8] = b"0123456789";

#[tokio::test]
async fn many_at_once_that_nobody_reads_yet_do_not_end_their_connection() {
    let origin = Origin::start().await;
    let program = Program::http(&origin.url()).await;
    let stream = TcpStream::connect(program.address()).await.expect("a connection");
    let (client, mut connection) = h2::client::handshake(stream).await.expect("HTTP/2");
    let mut pings = connection.ping_pong().expect("the first to ask");
    tokio::spawn(connection);
    let mut client = client.ready().await.expect("room");
    // The window that the program gives comes with its settings.
    timeout(PATIENCE, pings.ping(h2::Ping::opaque())).await.expect("in time").expect("an answer");
    let post = Request::post("http://h/echo").body(()).expect("a request");
    let (posted, mut body) = client.send_request(post, false).expect("sent");
    body.reserve_capacity(FRAMES * FRAME.len());
    while body.capacity() < FRAMES * FRAME.len() {
        poll_fn(|cx| body.poll_capacity(cx)).await.expect("open").expect("room");
    }
    for sent in 1..=FRAMES {
        body.send_data(Bytes::from_static(FRAME), sent == FRAMES).expect("sent");
    }
    let get = Request::get("http://h/size/1").body(()).expect("a request");
    let (got, _) = client.ready().await.expect("room").send_request(get, true).expect("sent");
    assert_eq!(timeout(PATIENCE, got).await.expect("in time").expect("a reply").status(), 200);
    let mut echo = timeout(PATIENCE, posted).await.expect("in time").expect("a reply").into_body();
    let mut received = 0;
    while let Some(data) = timeout(PATIENCE, echo.data()).await.expect("in time") {
        let data = data.expect("more");
        received += data.len();
        echo.flow_control().release_capacity(data.len()).expect("received");
    }
    assert!(received > FRAMES * FRAME.len(), "{received}");
}
