//! What passes through: methods, bodies, framings, heads, connections.

use crate::client::Client;
use crate::origin::Origin;
use crate::program::Program;

#[tokio::test]
async fn the_start_line_says_what_runs() {
    let program =
        Program::start(&["--in", "http://127.0.0.1:0", "--out", "http://127.0.0.1:1,http://127.0.0.1:2"]).await;
    assert!(program.address().starts_with("127.0.0.1:") && !program.address().ends_with(":0"), "{}", program.line);
    assert_eq!(program.line, format!("httptp: http://{} -> http://127.0.0.1:1, http://127.0.0.1:2", program.address()));
}

#[tokio::test]
async fn a_request_arrives_as_it_was_sent() {
    let origin = Origin::start().await;
    let program = Program::http(&origin.url()).await;
    let mut client = Client::connect(program.address()).await;
    let reply = client
        .ask(
            "POST /echo/a%2Fb/../c?q=1%20&r HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 5\r\nX-Token: one\r\n\
             X-Token: two\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\nTE: gzip\r\nUpgrade: h2c\r\n\r\nhello",
        )
        .await;
    assert_eq!(reply.status(), 200);
    assert_eq!(
        reply.text(),
        "POST /echo/a%2Fb/../c?q=1%20&r HTTP/1.1\nhost: shop.example\ncontent-length: 5\nx-token: one\nx-token: two\n\nhello"
    );
    assert_eq!(reply.field("x-origin"), Some("yes"));
    assert_eq!(reply.field("keep-alive"), None, "it belongs to the origin's connection");
}

#[tokio::test]
async fn head_has_the_length_and_no_body() {
    let origin = Origin::start().await;
    let program = Program::http(&origin.url()).await;
    let mut client = Client::connect(program.address()).await;
    client.send("HEAD /size/1234 HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let reply = client.head().await;
    assert_eq!((reply.status(), reply.field("content-length")), (200, Some("1234")));
    assert_eq!(client.get("/size/3").await.text(), "xxx", "the connection is in step");
}

#[tokio::test]
async fn bodies_of_any_framing() {
    let origin = Origin::start().await;
    let program = Program::http(&origin.url()).await;
    let mut client = Client::connect(program.address()).await;
    let chunked =
        "PUT /echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4;x=y\r\ndefg\r\n0\r\n\r\n";
    assert_eq!(client.ask(chunked).await.text(), "PUT /echo HTTP/1.1\nhost: h\ncontent-length: 7\n\nabcdefg");

    let large = vec![b'z'; 3_000_000];
    client.send(format!("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: {}\r\n\r\n", large.len())).await;
    let reply = client.ask(&large).await;
    assert!(reply.body.ends_with(&large) && reply.body.len() < large.len() + 100);

    let reply = client.get("/chunked").await;
    assert_eq!((reply.text(), reply.field("transfer-encoding")), ("piece.piece.piece.", Some("chunked")));
    let reply = client.get("/none").await;
    assert_eq!((reply.status(), reply.field("content-length"), reply.field("transfer-encoding")), (204, None, None));
    client.send("GET /same HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let reply = client.head().await;
    assert_eq!(reply.status(), 304);
    assert_ne!(reply.field("content-length"), Some("0"), "what it stands for is not empty");
    assert_eq!(client.get("/size/5000000").await.body.len(), 5_000_000, "replies are streamed, whatever their size");
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn expect_100_continue_is_answered_here() {
    let origin = Origin::start().await;
    let program = Program::http(&origin.url()).await;
    let mut client = Client::connect(program.address()).await;
    client.send("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n").await;
    assert_eq!(client.head().await.status(), 100);
    assert_eq!(client.ask("ok").await.text(), "POST /echo HTTP/1.1\nhost: h\ncontent-length: 2\n\nok");
}

#[tokio::test]
async fn http_1_0() {
    let origin = Origin::start().await;
    let program = Program::http(&origin.url()).await;
    let mut client = Client::connect(program.address()).await;
    let reply = client.ask("GET /echo HTTP/1.0\r\n\r\n").await;
    assert_eq!(reply.text(), format!("GET /echo HTTP/1.1\nhost: {}\n\n", program.address()));
    assert!(client.rest().await.is_empty(), "an HTTP/1.0 connection ends after its reply");

    let mut client = Client::connect(program.address()).await;
    let reply = client.ask("GET /size/3 HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n").await;
    assert_eq!((reply.text(), reply.field("connection")), ("xxx", Some("keep-alive")));
    client.send("GET /chunked HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n").await;
    assert_eq!(client.head().await.field("transfer-encoding"), None, "HTTP/1.0 knows no chunks");
    assert_eq!(client.rest().await, b"piece.piece.piece.");
}

#[tokio::test]
async fn a_thousand_requests_use_one_connection_on_each_side() {
    let origin = Origin::start().await;
    let program = Program::http(&origin.url()).await;
    let mut client = Client::connect(program.address()).await;
    for n in 0..1000 {
        let reply = client.ask(format!("POST /echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n{n:04}")).await;
        assert!(reply.text().ends_with(&format!("\n\n{n:04}")));
    }
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::start().await;
    let program = Program::http(&origin.url()).await;
    let mut client = Client::connect(program.address()).await;
    let requests: String = (0..50).map(|n| format!("GET /size/{n} HTTP/1.1\r\nHost: h\r\n\r\n")).collect();
    client.send(requests).await;
    for n in 0..50 {
        assert_eq!(client.reply().await.body.len(), n);
    }
}

#[tokio::test]
async fn connection_close_ends_the_clients_connection_alone() {
    let origin = Origin::start().await;
    let program = Program::http(&origin.url()).await;
    for _ in 0..3 {
        let mut client = Client::connect(program.address()).await;
        let reply = client.ask("GET /size/1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
        assert_eq!((reply.text(), reply.field("connection")), ("x", Some("close")));
        assert!(client.rest().await.is_empty());
    }
    assert_eq!(origin.connections(), 1);
}

#[tokio::test]
async fn requests_are_spread_over_the_outputs() {
    let origins = [Origin::start().await, Origin::start().await, Origin::start().await];
    let outs = origins.iter().map(Origin::url).collect::<Vec<_>>().join(",");
    let program = Program::http(&outs).await;
    let mut clients = Vec::new();
    for _ in 0..6 {
        let mut client = Client::connect(program.address()).await;
        client.send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n").await;
        clients.push(client);
    }
    for origin in &origins {
        origin.holds().await;
        origin.holds().await;
        origin.let_go();
        origin.let_go();
    }
    for client in &mut clients {
        assert_eq!(client.reply().await.status(), 200);
    }
}
