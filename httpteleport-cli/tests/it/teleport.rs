//! What the options of teleport do.

use std::future::IntoFuture;

use http::{Request, Response};
use httpteleport::stream::{Context, Incoming, StreamHandler};
use httpteleport::{Body, Limits, Server};
use rustix::process::Signal;
use tokio::net::TcpListener;

use crate::client::Client;
use crate::program::{PATIENCE, Program};

/// Answers with the path, and a 103 ahead of it.
struct Hinting;

impl StreamHandler for Hinting {
    type Body = Body;

    async fn call(&self, request: Request<Incoming>, context: Context) -> Response<Body> {
        let (mut hint, ()) = Response::new(()).into_parts();
        hint.status = http::StatusCode::EARLY_HINTS;
        context.interim(&hint).expect("it can be sent");
        Response::new(Body::from(request.uri().path().to_owned()))
    }
}

/// A far node made of the library, and where it listens.
async fn far() -> (Server, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = format!("teleport://{}", listener.local_addr().expect("an address"));
    let server = Server::builder(Limits::default()).build().expect("fine");
    tokio::spawn(server.serve_streams(listener, Hinting).into_future());
    (server, address)
}

#[tokio::test]
async fn requests_of_different_groups_share_no_connection() {
    let (server, out) = far().await;
    let program = Program::start(&["--in", "http://127.0.0.1:0", "--out", &out, "--out-group-by", "X-Tenant"]).await;
    let mut client = Client::connect(program.address()).await;
    for (tenant, connections) in [("a", 1), ("b", 2), ("a", 2), ("", 3), ("b", 3)] {
        let field = if tenant.is_empty() { String::new() } else { format!("X-Tenant: {tenant}\r\n") };
        let reply = client.ask(format!("GET /{tenant} HTTP/1.1\r\nHost: h\r\n{field}\r\n")).await;
        assert_eq!(reply.text(), format!("/{tenant}"));
        assert_eq!(server.stats().connections, connections, "{tenant}");
    }
}

#[tokio::test]
async fn interim_replies_over_teleport_end_here_and_are_counted() {
    let (_server, out) = far().await;
    let (mut program, mut log) = Program::logged(&["--in", "http://127.0.0.1:0", "--out", &out]).await;
    let mut client = Client::connect(program.address()).await;
    for _ in 0..3 {
        assert_eq!(client.get("/x").await.text(), "/x");
    }
    drop(client);
    program.signal(Signal::TERM);
    assert!(program.ended().await.success());
    let mut told = String::new();
    while let Some(line) = tokio::time::timeout(PATIENCE, log.next_line()).await.expect("in time").expect("text") {
        told += &line;
    }
    assert!(told.contains("3 interim replies of upstreams ended here"), "{told}");
}
