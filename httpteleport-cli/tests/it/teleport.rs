//! What the options of teleport do.

use std::future::IntoFuture;

use http::{Request, Response};
use httpteleport::stream::{Context, Incoming, StreamHandler};
use httpteleport::{Body, Limits, Server};
use rustix::process::Signal;
use tokio::io::{BufReader, Lines};
use tokio::net::TcpListener;
use tokio::process::ChildStderr;
use tokio::time::timeout;

use crate::admin::{get, value};
use crate::client::Client;
use crate::origin::Origin;
use crate::program::{PATIENCE, Program, logged};
use crate::stage::Stage;
use crate::tls::Identity;

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
async fn connections_that_compress_less_for_want_of_memory_are_told_and_counted() {
    let origin = Origin::start().await;
    let args = ["--in", "teleport://127.0.0.1:0", "--out", &origin.url(), "--admin", "127.0.0.1:0"];
    let (mut far, mut log) = Program::logged(&[&args[..], &["--compression-memory", "1MiB"]].concat()).await;
    let (out, admin) = (format!("teleport://{}", far.address()), far.admin().await);
    let reduced = async || value(get(&admin, "/metrics").await.text(), "httptp_teleport_reduced_connections", &[]);
    assert!(reduced().await < 1.0);
    let near = Program::between("http://127.0.0.1:0", &out, &["--out-conns-per-addr", "2"]).await;
    assert_eq!(Client::connect(near.address()).await.get("/size/3").await.text(), "xxx");
    let line = logged(&mut log, " WARN a teleport connection compresses less").await;
    assert!(line.contains("the 1048576 bytes of --compression-memory are taken"), "{line}");
    assert!(reduced().await >= 1.0);
    drop(near);
    timeout(PATIENCE, async { while reduced().await > 0.0 {} }).await.expect("they are gone");
}

#[tokio::test]
async fn tls_towards_a_node_that_has_none_is_told_as_that() {
    let far =
        Program::start(&["--in", "teleport://127.0.0.1:0", "--out", "http://127.0.0.1:1", "--wire", "framed"]).await;
    let (identity, out) = (Identity::new("no_tls_there"), format!("teleports://{}", far.address()));
    let args = ["--in", "http://127.0.0.1:0", "--out", &out, "--out-ca", identity.files().0];
    let (near, mut log) = Program::logged(&args).await;
    assert_eq!(Client::connect(near.address()).await.get("/").await.status(), 502);
    logged(&mut log, "TLS around it from the first byte if at all: dial without TLS, or set wire to auto or framed")
        .await;
}

#[tokio::test]
async fn a_status_without_a_name_gets_none() {
    let far = Stage::before("teleport://127.0.0.1:0", &[]).await;
    let near = Program::http(&format!("teleport://{}", far.program.address())).await;
    let direct = Stage::start().await;
    for (address, stage, want) in
        [(near.address(), &far, "HTTP/1.1 999 \r\n"), (direct.program.address(), &direct, "HTTP/1.1 999 Odd\r\n")]
    {
        let mut client = Client::connect(address).await;
        client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
        let mut origin = stage.accept().await;
        origin.head().await;
        origin.send("HTTP/1.1 999 Odd\r\nContent-Length: 2\r\n\r\nhi").await;
        let reply = client.reply().await;
        assert!(reply.head.starts_with(want), "{}", reply.head);
        assert_eq!(reply.text(), "hi");
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
    while let Some(line) = timeout(PATIENCE, log.next_line()).await.expect("in time").expect("text") {
        told += &line;
    }
    assert!(told.contains("3 interim replies of upstreams ended here"), "{told}");
}

#[tokio::test]
async fn why_a_connection_broke_is_in_the_logs_of_both_sides() {
    let (far, mut far_log) =
        Program::logged(&["--in", "teleport://127.0.0.1:0", "--out", "http://127.0.0.1:1", "--ping", "1s"]).await;
    let out = format!("teleport://{}", far.address().split(" (").next().expect("an address"));
    let (near, mut near_log) = Program::logged(&["--in", "http://127.0.0.1:0", "--out", &out]).await;
    let mut client = Client::connect(near.address()).await;
    assert_eq!(client.get("/").await.status(), 502, "the far node's output answers nobody");

    near.signal(Signal::STOP);
    let line = find(&mut far_log, "teleport connection of 127.0.0.1:").await;
    assert!(line.contains("WARN") && line.contains("nothing was heard from the peer"), "{line}");
    near.signal(Signal::CONT);
    let line = find(&mut near_log, &format!("teleport connection of {out}: ")).await;
    assert!(line.contains("WARN") && line.contains("the peer closed the connection: silent"), "{line}");
}

/// The next line of a log that holds this.
async fn find(log: &mut Lines<BufReader<ChildStderr>>, part: &str) -> String {
    let found = async {
        loop {
            let line = log.next_line().await.expect("readable").expect("it still runs");
            if line.contains(part) {
                return line;
            }
        }
    };
    timeout(PATIENCE, found).await.expect("it is logged")
}

#[tokio::test]
async fn contexts_of_all_connections_have_a_limit() {
    let origin = Origin::start().await;
    for (most, expected) in [("16MiB", 1.0..=16_777_216.0), ("0", 0.0..=0.0), ("1GiB", 16_777_217.0..=1e9)] {
        let options = ["--compression-memory", most, "--admin", "127.0.0.1:0"];
        let mut far = Program::between("teleport://127.0.0.1:0", &origin.url(), &options).await;
        let admin = far.admin().await;
        let mut near = Vec::new();
        for _ in 0..3 {
            near.push(Program::http(&format!("teleport://{}", far.address())).await);
        }
        for near in &near {
            assert_eq!(Client::connect(near.address()).await.get("/size/1").await.text(), "x");
        }
        let metrics = get(&admin, "/metrics").await;
        let used = value(metrics.text(), "httptp_compression_memory_bytes", &[]);
        assert!(expected.contains(&used), "{most}: {used}");
    }
}
