//! Fields after a body, both ways.

use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::client::Client;
use crate::config::File;
use crate::program::{PATIENCE, Program};
use crate::stage::Stage;

/// What a client says behind its body of things that it has no say in.
const FORGED: &str = "X-Internal-User: root\r\nX-Tenant: 1\r\nX-Real-Ip: 6.6.6.6\r\nX-Forwarded-For: 6.6.6.6\r\n\
                      X-Forwarded-Proto: https\r\nX-Forwarded-Host: e\r\nX-Forwarded-Port: 6\r\nX-Forwarded-Prefix: /e\r\nX-Forwarded-Server: e\r\n\
                      Forwarded: for=6.6.6.6\r\nX-Sum: 1\r\n";

const NAMES: &str = "X-Internal-User, X-Tenant, X-Real-Ip, X-Forwarded-For, Forwarded, X-Sum";

const REPLY: &str = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, Location\r\n\r\n\
                     2\r\nok\r\n0\r\nX-Sum: 7\r\nLocation: /x\r\n\r\n";

#[tokio::test]
async fn those_of_a_request_reach_the_origin() {
    let stage = Stage::start().await;
    let mut client = stage.client().await;
    let head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum, Cookie\r\n\r\n";
    let trailers = "0\r\nX-Sum: 1\r\nCookie: none\r\nX-Unannounced: 1\r\n\r\n";
    // At once, so that the proxy knows them before it sends the head, and after the head has gone on.
    let at_once = format!("{head}2\r\nhi\r\n{trailers}");
    for (parts, names, sent) in [
        (&[&*at_once][..], "x-sum, x-unannounced", "X-Sum: 1\r\nX-Unannounced: 1\r\n"),
        (&[head, "2\r\nhi\r\n", trailers], "X-Sum, Cookie", "X-Sum: 1\r\n"),
    ] {
        client.send(parts[0]).await;
        let mut origin = stage.accept().await;
        let head = origin.head().await;
        assert_eq!(head.field("trailer"), Some(names));
        assert_eq!(head.field("transfer-encoding"), Some("chunked"));
        for part in &parts[1..] {
            client.send(part).await;
        }
        let want = format!("2\r\nhi\r\n0\r\n{sent}\r\n");
        assert_eq!(String::from_utf8_lossy(&origin.exactly(want.len()).await), want);
        origin.send("HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n").await;
        assert_eq!(client.reply().await.status(), 204);
    }
}

#[tokio::test]
async fn those_of_a_reply_reach_a_client_that_asks() {
    let stage = Stage::start().await;
    let mut client = stage.client().await;
    client.send("GET / HTTP/1.1\r\nHost: h\r\nTE: trailers, deflate;q=0.5\r\nConnection: TE\r\n\r\n").await;
    let mut origin = stage.accept().await;
    let head = origin.head().await;
    assert_eq!((head.field("te"), head.field("connection")), (Some("trailers"), Some("te")));
    origin.send(REPLY).await;
    assert_eq!(client.head().await.field("trailer"), Some("X-Sum, Location"));
    let want = "2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n";
    assert_eq!(String::from_utf8_lossy(&client.exactly(want.len()).await), want);

    client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    let head = origin.head().await;
    assert_eq!((head.field("te"), head.field("connection")), (None, None));
    origin.send(REPLY).await;
    client.head().await;
    assert_eq!(client.exactly(12).await, b"2\r\nok\r\n0\r\n\r\n", "who does not ask gets none");
}

/// A program that decides about the names in [`FORGED`].
async fn guarded(listener: &str, group: &str) -> Program {
    let file = File::new(&format!(
        "[listener.a]\nurl = \"{listener}\"\nforwarded = \"x\"\nclient_ip_header = \"X-Real-IP\"\n[group.g]\nurls = \"{group}\"\n[[route]]\n\
         remove_headers = [\"X-Internal-User\"]\nset_headers = {{ X-Tenant = \"7\" }}\n\
         remove_reply_headers = [\"X-Internal-User\"]\nset_reply_headers = {{ X-Tenant = \"7\" }}\n"
    ));
    Program::start(&["--config", &file.path()]).await
}

#[tokio::test]
async fn what_is_decided_about_here_cannot_be_said_behind_a_body() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let origin = format!("http://{}", listener.local_addr().expect("an address"));
    let direct = guarded("http://127.0.0.1:0", &origin).await;
    let far = Program::between("teleport://127.0.0.1:0", &origin, &["--wire", "framed"]).await;
    let far = format!("teleport://{}", far.address());
    let near = guarded("http://127.0.0.1:0", &far).await;
    let guarding = guarded("teleport://127.0.0.1:0", &origin).await;
    let before_it = Program::http(&format!("teleport://{}", guarding.address())).await;
    let head = format!(
        "POST / HTTP/1.1\r\nHost: h\r\nTE: trailers\r\nConnection: te\r\nTransfer-Encoding: chunked\r\nTrailer: {NAMES}\r\n\r\n"
    );
    let rest = format!("0\r\n{FORGED}\r\n");
    for program in [&direct, &near, &before_it] {
        // At once, and after the head has gone on.
        for parts in
            [vec![format!("{head}2\r\nhi\r\n{rest}")], vec![head.clone(), "2\r\nhi\r\n".to_owned(), rest.clone()]]
        {
            let mut client = Client::connect(program.address()).await;
            client.send(&parts[0]).await;
            let mut origin =
                Client::over(timeout(PATIENCE, listener.accept()).await.expect("in time").expect("a connection").0);
            let head = origin.head().await;
            for part in &parts[1..] {
                client.send(part).await;
            }
            assert_eq!(head.field("x-tenant"), Some("7"), "{}", program.line);
            let announced = head.field("trailer").unwrap_or_default().to_ascii_lowercase();
            for name in ["x-internal-user", "x-tenant", "x-real-ip"] {
                assert!(!announced.contains(name), "{announced}, {}", program.line);
            }
            let want = "2\r\nhi\r\n0\r\nX-Sum: 1\r\n\r\n";
            assert_eq!(String::from_utf8_lossy(&origin.exactly(want.len()).await), want, "{}", program.line);
            let reply = format!(
                "HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTrailer: {NAMES}\r\n\r\n2\r\nok\r\n{rest}"
            );
            origin.send(reply).await;
            let head = client.head().await;
            assert_eq!(
                (head.field("x-tenant"), head.field("trailer")),
                (Some("7"), Some("X-Real-Ip, X-Forwarded-For, Forwarded, X-Sum"))
            );
            let want = "2\r\nok\r\n0\r\nX-Real-Ip: 6.6.6.6\r\nX-Sum: 1\r\n\r\n";
            let received = client.exactly(want.len()).await;
            let mut trailers: Vec<_> = str::from_utf8(&received).expect("UTF-8").lines().skip(3).collect();
            trailers.sort_unstable();
            assert_eq!(trailers, ["", "X-Real-Ip: 6.6.6.6", "X-Sum: 1"], "{}", program.line);
        }
    }
}
