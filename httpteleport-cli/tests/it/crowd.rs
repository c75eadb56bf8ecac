//! More connections than an input has places for, or than a client may have.

use std::time::Duration;

use rustix::process::Signal;
use testkit::programs::Haproxy;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream, UnixStream};
use tokio::time::timeout;

use crate::admin::{get, value};
use crate::client::Client;
use crate::clients::{client_between, log_has};
use crate::http2;
use crate::http2::raw::{ACK, HEADERS, PING, SETTINGS, WINDOW_UPDATE, frame, headers, hello, next_kind};
use crate::origin::Origin;
use crate::program::{PATIENCE, Program};

const HOLD: &str = "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n";

/// A program with so many places, and an admin address.
async fn with_places(origin: &Origin, places: &str) -> (Program, String) {
    let options = ["--concurrency", places, "--admin", "127.0.0.1:0"];
    let mut program = Program::between("http://127.0.0.1:0", &origin.url(), &options).await;
    let admin = program.admin().await;
    (program, admin)
}

async fn served(program: &Program) -> Client {
    let mut client = Client::connect(program.address()).await;
    assert_eq!(client.get("/size/1").await.text(), "x");
    client
}

/// A connection on which what is sent soon waits for its client to read.
async fn slow_reader(program: &Program) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("a small one");
    socket.connect(program.address().parse().expect("an address")).await.expect("a connection")
}

/// How many found no place, and how many made room.
async fn counted(admin: &str) -> (f64, f64) {
    let metrics = get(admin, "/metrics").await;
    let of = |name| value(metrics.text(), name, &["input=\"http://127.0.0.1:"]);
    (of("httptp_in_full_total"), of("httptp_in_given_up_total"))
}

#[tokio::test]
async fn idle_connections_shut_nobody_out() {
    let origin = Origin::start().await;
    let args = ["--in", "http://127.0.0.1:0", "--out", &origin.url(), "--concurrency", "20"];
    let (program, mut log) = Program::logged(&args).await;
    let mut flood = Vec::new();
    for _ in 0..20 {
        flood.push(served(&program).await);
    }
    for _ in 0..5 {
        flood.push(served(&program).await);
    }
    for client in &mut flood[..5] {
        assert_eq!(client.rest().await, b"", "those that were idle for longest");
    }
    for client in &mut flood[5..] {
        assert_eq!(client.get("/size/1").await.text(), "x");
    }
    let line = log_has(&mut log, "is full: 20 connections, as many as --concurrency allows").await;
    assert!(line.contains(&format!("http://{} is full", program.address())), "{line}");
}

#[tokio::test]
async fn the_one_that_was_idle_for_longest_makes_room() {
    let origin = Origin::start().await;
    let (program, admin) = with_places(&origin, "3").await;
    let (mut one, mut two, mut three) = (served(&program).await, served(&program).await, served(&program).await);
    assert_eq!(one.get("/size/1").await.status(), 200);
    let mut four = served(&program).await;
    assert_eq!(two.rest().await, b"");
    for client in [&mut one, &mut three, &mut four] {
        assert_eq!(client.get("/size/1").await.status(), 200);
    }
    assert_eq!(counted(&admin).await, (1.0, 1.0));
}

#[tokio::test]
async fn so_do_those_that_have_said_nothing_or_half_a_head() {
    let origin = Origin::start().await;
    let (program, admin) = with_places(&origin, "3").await;
    let mut flood = Vec::new();
    for said in ["", "GET / HTTP/1.1\r\nHost: h\r\nX-", "PRI * HTTP/2.0"] {
        let mut client = Client::connect(program.address()).await;
        client.send(said).await;
        flood.push(client);
    }
    let mut others = Vec::new();
    for (client, want) in flood.iter_mut().zip(["", "HTTP/1.1 408 Request Timeout\r\n", ""]) {
        others.push(served(&program).await);
        let rest = client.rest().await;
        assert!(rest.starts_with(want.as_bytes()) && rest.is_empty() == want.is_empty(), "{rest:?}");
    }
    for client in &mut others {
        assert_eq!(client.get("/size/1").await.status(), 200);
    }
    assert_eq!(counted(&admin).await, (3.0, 3.0));
}

#[tokio::test]
async fn a_connection_of_http_2_is_told_to_go_and_a_request_on_it_is_not_cut_off() {
    let origin = Origin::start().await;
    let (program, _) = with_places(&origin, "1").await;
    let mut idle = http2::connect(program.address()).await;
    let request = || http::Request::get("http://h/size/1").body(http2::empty()).expect("a request");
    assert_eq!(idle.send_request(request()).await.expect("a reply").status(), 200);
    drop(served(&program).await);
    let gone = async { while idle.ready().await.is_ok() {} };
    timeout(PATIENCE, gone).await.expect("it was told to go");

    let mut busy = http2::connect(program.address()).await;
    let hold = http::Request::get("http://h/hold").body(http2::empty()).expect("a request");
    let held = tokio::spawn(busy.send_request(hold));
    origin.holds().await;
    let mut other = Client::connect(program.address()).await;
    other.send("GET /size/1 HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert!(other.is_open().await);
    origin.let_go();
    assert_eq!(held.await.expect("no panic").expect("a reply").status(), 200);
    assert_eq!(other.reply().await.status(), 200);
}

#[tokio::test]
async fn who_reads_no_answers_to_pings_keeps_no_place() {
    let origin = Origin::start().await;
    let (program, _) = with_places(&origin, "1").await;
    let mut flood = slow_reader(&program).await;
    flood.write_all(&[hello(), frame(SETTINGS, ACK, 0, b"")].concat()).await.expect("sent");
    // Once nothing more is taken of it the answers wait for it.
    let much = frame(PING, 0, 0, b"pingping").repeat(4000);
    while timeout(Duration::from_millis(300), flood.write_all(&much)).await.is_ok() {}
    timeout(PATIENCE, served(&program)).await.expect("it finds a place");
}

#[tokio::test]
async fn who_is_silent_over_http2_keeps_no_place_either() {
    const SILENT: usize = 40;
    let origin = Origin::start().await;
    let (program, _) = with_places(&origin, "2").await;
    let mut silent = Vec::new();
    for _ in 0..SILENT {
        let mut client = TcpStream::connect(program.address()).await.expect("a connection");
        client.write_all(&hello()).await.expect("sent");
        silent.push(client);
    }
    timeout(PATIENCE, served(&program)).await.expect("it finds a place");
}

/// Whether a process stands still, by the state behind its name (proc_pid_stat(5)).
fn is_stopped(process: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).expect("a process");
    stat.rsplit_once(") ").expect("a name").1.starts_with('T')
}

#[tokio::test]
async fn a_first_request_that_has_come_is_answered_though_the_place_is_wanted() {
    let origin = Origin::start().await;
    let options = ["--concurrency", "1", "--threads", "1"];
    let program = Program::between("http://127.0.0.1:0", &origin.url(), &options).await;
    let fields = [(":method", "GET"), (":scheme", "http"), (":path", "/size/1"), (":authority", "h")];
    for _ in 0..10 {
        let mut client = Client::connect(program.address()).await;
        client.send(hello()).await;
        // Its settings, what they allow, and that mine are taken.
        for kind in [SETTINGS, SETTINGS, WINDOW_UPDATE] {
            assert_eq!(next_kind(&mut client).await, kind);
        }
        // Both come at the same moment.
        program.signal(Signal::STOP);
        while !is_stopped(program.id()) {}
        let mut other = Client::connect(program.address()).await;
        other.send("GET /size/1 HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await;
        client.send(headers(1, &fields)).await;
        program.signal(Signal::CONT);
        while next_kind(&mut client).await != HEADERS {}
        drop(client);
        assert_eq!(other.reply().await.status(), 200);
    }
}

#[tokio::test]
async fn one_more_waits_while_all_are_busy() {
    let origin = Origin::start().await;
    let args = ["--in", "http://127.0.0.1:0", "--out", &origin.url(), "--concurrency", "1"];
    let (program, mut log) = Program::logged(&args).await;
    let mut busy = Client::connect(program.address()).await;
    busy.send(HOLD).await;
    origin.holds().await;
    let mut other = Client::connect(program.address()).await;
    other.send("GET /size/1 HTTP/1.1\r\nHost: h\r\n\r\n").await;
    log_has(&mut log, "none is idle, so others wait to be served").await;
    origin.let_go();
    assert_eq!(busy.reply().await.status(), 200);
    assert_eq!(other.reply().await.status(), 200);
    assert_eq!(busy.rest().await, b"");
}

#[tokio::test]
async fn a_client_has_so_many_connections() {
    let origin = Origin::start().await;
    let args = ["--in", "http://127.0.0.1:0", "--out", &origin.url(), "--client-connections", "2"];
    let (mut program, mut log) = Program::logged(&[&args[..], &["--admin", "127.0.0.1:0"]].concat()).await;
    let admin = program.admin().await;
    let (one, mut two) = (served(&program).await, served(&program).await);
    assert_eq!(Client::connect(program.address()).await.rest().await, b"");
    log_has(&mut log, "closed: it has as many connections as --client-connections allows").await;
    let mut other = client_between("127.0.0.2", program.address()).await;
    assert_eq!(other.get("/size/1").await.text(), "x", "another client has its own");
    let metrics = get(&admin, "/metrics").await;
    assert_eq!(value(metrics.text(), "httptp_refusals_total", &["reason=\"client_connections\""]), 1.0);
    assert_eq!(two.get("/size/1").await.text(), "x");
    drop(one);
    let again = async {
        loop {
            let mut stream = TcpStream::connect(program.address()).await.expect("a connection");
            let asked = stream.write_all(b"GET /size/1 HTTP/1.1\r\nHost: h\r\n\r\n").await;
            if asked.is_ok() && matches!(stream.read(&mut [0]).await, Ok(1)) {
                return;
            }
        }
    };
    timeout(PATIENCE, again).await.expect("its place is free again");
}

#[tokio::test]
async fn that_holds_over_teleport_and_behind_a_load_balancer_and_not_for_those_who_carry_others() {
    let origin = Origin::start().await;
    let limit = ["--client-connections", "1"];
    let far = Program::between("teleport://127.0.0.1:0", &origin.url(), &limit).await;
    let _one = TcpStream::connect(far.address()).await.expect("a connection");
    let mut two = TcpStream::connect(far.address()).await.expect("a connection");
    assert_eq!(timeout(PATIENCE, two.read(&mut [0])).await.expect("in time").unwrap_or(0), 0);

    let options = [&limit[..], &["--in-proxy-protocol", "127.0.0.1"]].concat();
    let program = Program::between("http://127.0.0.1:0", &origin.url(), &options).await;
    let haproxy = Haproxy::start(|address| {
        format!("listen l\n mode tcp\n bind {address}\n server s {} send-proxy", program.address())
    });
    let address = haproxy.address.to_string();
    let mut five = client_between("127.0.0.5", &address).await;
    assert_eq!(five.get("/size/1").await.status(), 200);
    assert_eq!(client_between("127.0.0.6", &address).await.get("/size/1").await.status(), 200);
    assert_eq!(client_between("127.0.0.5", &address).await.rest().await, b"");
    assert_eq!(five.get("/size/1").await.status(), 200);

    let options = [&limit[..], &["--trusted-proxies", "127.0.0.0/8"]].concat();
    let program = Program::between("http://127.0.0.1:0", &origin.url(), &options).await;
    let (_one, _two) = (served(&program).await, served(&program).await);

    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let _program = Program::between(&format!("unix:{}", path.display()), &origin.url(), &limit).await;
    let mut open = Vec::new();
    for _ in 0..2 {
        let mut stream = UnixStream::connect(&path).await.expect("a connection");
        stream.write_all(b"GET /size/1 HTTP/1.1\r\nHost: h\r\n\r\n").await.expect("sent");
        let mut client = Client::over(stream);
        assert_eq!(client.reply().await.status(), 200);
        open.push(client);
    }
}
