//! Who may connect, and how much a client may ask for.

use rustix::process::Signal;
use tokio::io::{AsyncRead, BufReader, Lines};
use tokio::net::{TcpListener, TcpSocket};
use tokio::time::timeout;

use crate::client::Client;
use crate::origin::Origin;
use crate::program::{PATIENCE, Program};

/// A client that comes from this address.
async fn client_from(address: &str, program: &Program) -> Client {
    client_between(address, program.address()).await
}

/// A client that comes from one address to another.
pub(crate) async fn client_between(address: &str, to: &str) -> Client {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind(format!("{address}:0").parse().expect("an address")).expect("an address of this machine");
    let to = to.parse().expect("an address");
    Client::over(socket.connect(to).await.expect("a connection"))
}

/// Reads a log up to a line with this in it.
pub(crate) async fn log_has<R: AsyncRead + Unpin>(log: &mut Lines<BufReader<R>>, want: &str) -> String {
    loop {
        let line = timeout(PATIENCE, log.next_line()).await.expect("in time").expect("readable");
        let line = line.unwrap_or_else(|| panic!("the log ended without {want:?}"));
        if line.contains(want) {
            return line;
        }
    }
}

#[tokio::test]
async fn who_is_not_allowed_is_closed_and_logged() {
    let origin = Origin::start().await;
    let nets = ["--in-allow", "127.0.0.0/30,10.0.0.0/8", "--in-deny", "127.0.0.3"];
    let out = origin.url();
    let args = [&["--in", "http://127.0.0.1:0", "--out", &out][..], &nets].concat();
    let (mut program, mut log) = Program::logged(&args).await;
    for (address, may) in [("127.0.0.1", true), ("127.0.0.2", true), ("127.0.0.3", false), ("127.0.0.4", false)] {
        let mut client = client_from(address, &program).await;
        if may {
            assert_eq!(client.get("/size/1").await.text(), "x", "{address}");
        } else {
            assert_eq!(client.rest().await, b"", "{address}");
        }
    }
    log_has(&mut log, "connection of 127.0.0.3:").await;
    program.signal(Signal::TERM);
    log_has(&mut log, "connections and refusals: accepted 4, denied 2").await;
    assert_eq!(program.ended().await.code(), Some(0));
}

#[tokio::test]
async fn only_get_is_let_in_where_only_get_is() {
    let origin = Origin::start().await;
    let program = Program::start(&["-in=127.0.0.1:0", "--out", &origin.url(), "-inGetOnly"]).await;
    let mut client = Client::connect(program.address()).await;
    for method in ["POST", "HEAD", "OPTIONS", "DELETE"] {
        client.send(format!("{method} /size/1 HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")).await;
        let reply = if method == "HEAD" { client.head().await } else { client.reply().await };
        assert_eq!((reply.status(), reply.field("allow")), (405, Some("GET")), "{method}");
        assert_eq!(client.get("/size/1").await.text(), "x", "the connection can be used on");
    }
    client.send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n").await;
    client.send(vec![b'b'; 100_000]).await;
    assert_eq!(client.reply().await.status(), 405, "whatever it sends with it");
    assert_eq!(origin.connections(), 1);
}

/// An HTTP node before a teleport input with these options.
async fn pair(origin: &Origin, options: &[&str]) -> (Program, Program) {
    let far = Program::between("teleport://127.0.0.1:0", &origin.url(), options).await;
    let out = format!("teleport://{}", far.address());
    (Program::start(&["--in", "http://127.0.0.1:0", "--out", &out]).await, far)
}

#[tokio::test]
async fn what_go_forgets_on_teleport_holds_there_too() {
    let origin = Origin::start().await;
    for wire in ["classic", "framed"] {
        let options = ["--wire", wire, "-inGetOnly", "-inMaxBodySize=10", "-clientIPHeader=X-Client"];
        let (near, _far) = pair(&origin, &options).await;
        let mut client = Client::connect(near.address()).await;
        let ask = |method: &str, length: usize| {
            format!(
                "{method} /echo HTTP/1.1\r\nHost: h\r\nX-Client: forged\r\nContent-Length: {length}\r\n\r\n{}",
                "b".repeat(length)
            )
        };
        let reply = client.ask(ask("POST", 1)).await;
        assert_eq!(reply.status(), 405, "{wire}: {}", reply.text());
        assert!(reply.text().starts_with("teleport: proxying error: "), "{wire}: {}", reply.text());
        let reply = client.ask(ask("GET", 10)).await;
        assert!(reply.text().contains("x-client: 127.0.0.1\n"), "{wire}: {}", reply.text());
        assert_eq!(client.ask(ask("GET", 11)).await.status(), 413, "{wire}");
    }
}

#[tokio::test]
async fn a_client_has_its_own_number_of_requests_at_a_time() {
    let origin = Origin::start().await;
    let args = ["--in", "http://127.0.0.1:0", "--out", &origin.url(), "--client-concurrency", "1"];
    let program = Program::start(&args).await;
    let mut first = Client::connect(program.address()).await;
    first.send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n").await;
    origin.holds().await;
    let reply = Client::connect(program.address()).await.get("/size/1").await;
    assert_eq!((reply.status(), reply.field("retry-after")), (429, Some("1")));
    assert_eq!(client_from("127.0.0.2", &program).await.get("/size/1").await.text(), "x", "another client has its own");
    origin.let_go();
    assert_eq!(first.reply().await.status(), 200);
    assert_eq!(first.get("/size/2").await.text(), "xx");
}

#[tokio::test]
async fn a_client_has_its_own_number_of_requests_in_a_second() {
    let origin = Origin::start().await;
    let args = ["--in", "http://127.0.0.1:0", "--out", &origin.url(), "--client-rate", "1", "--client-burst", "3"];
    let program = Program::start(&args).await;
    let mut client = Client::connect(program.address()).await;
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(client.get("/size/1").await.status());
    }
    assert_eq!(statuses[..3], [200; 3]);
    assert!(statuses[3..].contains(&429), "{statuses:?}");
    assert_eq!(client_from("127.0.0.2", &program).await.get("/size/1").await.status(), 200);
}

#[tokio::test]
async fn a_client_behind_teleport_is_told_apart_where_the_near_node_is_believed() {
    let origin = Origin::start().await;
    let options = ["--client-rate", "1", "--client-burst", "1", "--trusted-proxies", "127.0.0.1"];
    let far = Program::between("teleport://127.0.0.1:0", &origin.url(), &options).await;
    let out = format!("teleport://{}", far.address());
    let near = Program::start(&["--in", "http://127.0.0.1:0", "--out", &out, "--forwarded", "x"]).await;
    for address in ["127.0.0.1", "127.0.0.2", "127.0.0.3"] {
        assert_eq!(client_from(address, &near).await.get("/size/1").await.status(), 200, "{address}");
    }
    let mut client = client_from("127.0.0.3", &near).await;
    let again = [client.get("/size/1").await.status(), client.get("/size/1").await.status()];
    assert!(again.contains(&429), "{again:?}");
}

#[tokio::test]
async fn more_fields_than_may_be_are_431() {
    let origin = Origin::start().await;
    let program =
        Program::start(&["--in", "http://127.0.0.1:0", "--out", &origin.url(), "--in-max-headers", "5"]).await;
    let ask = |fields: usize| {
        let fields: String = (1..fields).map(|n| format!("x-{n}: y\r\n")).collect();
        format!("GET /size/1 HTTP/1.1\r\nHost: h\r\n{fields}\r\n")
    };
    assert_eq!(Client::connect(program.address()).await.ask(ask(5)).await.status(), 200);
    assert_eq!(Client::connect(program.address()).await.ask(ask(6)).await.status(), 431);
    let (near, _far) = pair(&origin, &["--in-max-headers", "5"]).await;
    assert_eq!(Client::connect(near.address()).await.ask(ask(4)).await.status(), 200);
    assert_eq!(Client::connect(near.address()).await.ask(ask(7)).await.status(), 431);
}

#[tokio::test]
async fn two_programs_share_a_port_if_both_want_to() {
    let origin = Origin::start().await;
    let first = Program::start(&["-in=127.0.0.1:0", "--out", &origin.url(), "-reusePort"]).await;
    let input = format!("-in={}", first.address());
    let _second = Program::start(&[&input, "--out", &origin.url(), "-reusePort"]).await;
    assert_eq!(Client::connect(first.address()).await.get("/size/1").await.status(), 200);
    let (code, _, stderr) = crate::program::run(&[&input, "--out", &origin.url()]).await;
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains("address in use"), "{stderr}");
}

#[tokio::test]
async fn each_error_is_in_the_log_of_who_wants_all() {
    let origin = Origin::start().await;
    let args = ["-in=127.0.0.1:0", "--out", &origin.url(), "-inGetOnly", "-logAllErrors"];
    let (program, mut log) = Program::logged(&args).await;
    let mut client = Client::connect(program.address()).await;
    for _ in 0..3 {
        client.ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n").await;
        log_has(&mut log, "refused with 405: only GET is let in").await;
    }
    for _ in 0..3 {
        Client::connect(program.address()).await.send("what\r\n\r\n").await;
        log_has(&mut log, "refused with 400: invalid HTTP").await;
    }
}

#[tokio::test]
async fn so_many_connections_to_each_output_are_made() {
    for wire in ["framed", "classic"] {
        as_many_as_are_asked_for(wire).await;
    }
}

async fn as_many_as_are_asked_for(wire: &str) {
    let origin = Origin::start().await;
    let far = Program::start(&["--in", "teleport://127.0.0.1:0", "--out", &origin.url()]).await;
    // Between the two, so that connections can be counted.
    let middle = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let out = format!("-out={}", middle.local_addr().expect("an address"));
    let near = Program::start(&["-in=127.0.0.1:0", &out, "-outConnsPerAddr=3", "--wire", wire]).await;
    let mut clients = Vec::new();
    let mut relays = Vec::new();
    for _ in 0..3 {
        let mut client = Client::connect(near.address()).await;
        client.send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n").await;
        let (mut here, _) = timeout(PATIENCE, middle.accept()).await.expect("one more connection").expect("open");
        let mut there = tokio::net::TcpStream::connect(far.address()).await.expect("a connection");
        relays.push(tokio::spawn(async move { tokio::io::copy_bidirectional(&mut here, &mut there).await }));
        origin.holds().await;
        clients.push(client);
    }
    clients.push(Client::connect(near.address()).await);
    clients[3].send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n").await;
    origin.holds().await;
    for client in &mut clients {
        origin.let_go();
        drop(client.reply().await);
    }
    let more = timeout(std::time::Duration::from_millis(50), middle.accept()).await;
    assert!(more.is_err(), "{wire}: and not one more");
}
