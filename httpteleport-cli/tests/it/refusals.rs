//! Each refusal has its line in the log, and in the access log.

use http::Request;
use http::header::EXPECT;
use httpteleport::{Body, Limits, Wire};
use rustix::process::Signal;
use tokio::process::Command;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::time::timeout;

use crate::admin::{get, value};
use crate::client::Client;
use crate::clients::log_has;
use crate::http2;
use crate::http2::raw;
use crate::origin::Origin;
use crate::program::{PATIENCE, Program, logged};

const HOLD: &str = "GET /hold HTTP/1.1\r\nHost: h\r\n\r\n";

#[tokio::test]
async fn each_kind_of_refusal_is_logged_without_being_asked_for() {
    let origin = Origin::start().await;
    let base = ["--in", "http://127.0.0.1:0", "--out", &origin.url()];
    let large = format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "x".repeat(5000));
    let post = |fields: &str| format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n");
    let get = "GET /size/1 HTTP/1.1\r\nHost: h\r\n\r\n".to_owned();
    for (options, hold, bytes, status, why) in [
        (&[][..], false, "GET / HTTP/1.1\r\n\r\n".to_owned(), 400, "no Host header"),
        (&[], false, "what\r\n\r\n".to_owned(), 400, "invalid HTTP"),
        (&[], false, large, 431, ""),
        (&["--in-max-headers", "2"], false, post("A: a\r\nB: b\r\nC: c"), 431, ""),
        (&["--in-max-body-size", "9"], false, post("Content-Length: 10"), 413, "the request's body is too large"),
        (&[], false, post("Expect: more\r\nContent-Length: 1"), 417, "100-continue is all that can be expected"),
        (&[], false, "CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n".to_owned(), 501, "CONNECT is not supported"),
        (&["--in-get-only"], false, post("Content-Length: 0"), 405, "only GET is let in"),
        (
            &["--in-head-timeout", "50ms"],
            false,
            "GET / HTTP/1.1\r\nHo".to_owned(),
            408,
            "its head did not come in time",
        ),
        (&["--in-body-timeout", "50ms"], false, post("Content-Length: 1"), 408, "the request's body stopped"),
        (&["--client-concurrency", "1"], true, get, 429, "too many requests of this client at a time"),
    ] {
        let (program, mut log) = Program::logged(&[&base[..], options].concat()).await;
        let mut first = None;
        if hold {
            first.insert(Client::connect(program.address()).await).send(HOLD).await;
            origin.holds().await;
        }
        let mut client = Client::connect(program.address()).await;
        assert_eq!(client.ask(&bytes).await.status(), status, "{bytes:?}");
        let line = log_has(&mut log, &format!("refused with {status}: {why}")).await;
        assert!(line.contains(" WARN ") && line.contains("request of 127.0.0.1:"), "{line}");
        if let Some(mut first) = first {
            origin.let_go();
            assert_eq!(first.reply().await.status(), 200);
        }
    }
}

#[tokio::test]
async fn a_line_a_second_tells_of_those_that_were_held_back() {
    let origin = Origin::start().await;
    let args = ["--in", "http://127.0.0.1:0", "--out", &origin.url(), "--admin", "127.0.0.1:0"];
    let (mut program, mut log) = Program::logged(&args).await;
    let admin = program.admin().await;
    let address = program.address().to_owned();
    let (stop, mut stopped) = oneshot::channel::<()>();
    let asks = tokio::spawn(async move {
        while stopped.try_recv().is_err_and(|none| none == TryRecvError::Empty) {
            let reply = Client::connect(&address).await.ask("GET / HTTP/1.1\r\n\r\n").await;
            assert_eq!(reply.status(), 400);
        }
    });
    let first = logged(&mut log, "refused with 400").await;
    let second = logged(&mut log, "refused with 400").await;
    drop(stop);
    asks.await.expect("no panic");
    let one_more = Client::connect(program.address()).await.ask("GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(one_more.status(), 400);
    let more = |line: &str| -> f64 {
        let more = line.split_once(" (and ").and_then(|(_, rest)| rest.split_once(" more since the last line)"));
        more.map_or(0.0, |(more, _)| more.parse().unwrap_or_else(|_| panic!("{line}")))
    };
    assert!(!first.contains("since the last line"), "{first}");
    assert!(more(&second) > 0.0, "{second}");
    let metrics = get(&admin, "/metrics").await;
    let refused = value(metrics.text(), "httptp_refusals_total", &["reason=\"malformed\""]);
    // Those of the last moment are told of as well, though none follows them.
    let mut told = 2.0 + more(&second);
    while told < refused {
        told += 1.0 + more(&logged(&mut log, "refused with 400").await);
    }
    assert_eq!(told, refused);
}

#[tokio::test]
async fn what_is_expected_is_the_same_over_all_inputs() {
    let origin = Origin::start().await;
    let program = Program::http(&origin.url()).await;
    for (method, expected, status) in
        [("GET", "more", 417), ("POST", "more", 417), ("GET", "100-continue", 200), ("POST", "100-continue", 200)]
    {
        let head = format!("{method} /size/1 HTTP/1.1\r\nHost: h\r\nExpect: {expected}\r\nContent-Length: 0\r\n\r\n");
        let reply = Client::connect(program.address()).await.ask(head).await;
        assert_eq!(reply.status(), status, "HTTP/1.1 {method} {expected}");
        let request = Request::builder().method(method).uri("http://h/size/1").header(EXPECT, expected);
        let mut client = http2::connect(program.address()).await;
        let reply = client.send_request(request.body(http2::empty()).expect("a request")).await.expect("a reply");
        assert_eq!(reply.status(), status, "HTTP/2 {method} {expected}");
    }
    let far = Program::between("teleport://127.0.0.1:0", &origin.url(), &[]).await;
    // On the classic wire it does not travel.
    let client = httpteleport::Client::builder(Limits::default()).wire(Wire::Framed);
    let client = client.connect(far.address()).expect("fine");
    let request = Request::get("http://h/size/1").header(EXPECT, "more").body(Body::default()).expect("a request");
    let reply = timeout(PATIENCE, client.call(request)).await.expect("in time").expect("a reply");
    assert_eq!(reply.status(), 417);
}

#[tokio::test]
async fn who_is_no_node_is_told_apart_from_who_says_nothing() {
    let origin = Origin::start().await;
    let args = ["--in", "teleport://127.0.0.1:0", "--out", &origin.url(), "--in-handshake-timeout", "100ms"];
    let (mut program, mut log) = Program::logged(&[&args[..], &["--admin", "127.0.0.1:0"]].concat()).await;
    let admin = program.admin().await;
    for (bytes, reason) in [("", "slow_handshake"), ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", "bad_hello")] {
        let mut client = Client::connect(program.address()).await;
        client.send(bytes).await;
        let line = log_has(&mut log, "teleport connection of 127.0.0.1:").await;
        assert!(line.contains(" WARN ") && line.contains(" closed: "), "{line}");
        let metrics = get(&admin, "/metrics").await;
        assert_eq!(value(metrics.text(), "httptp_refusals_total", &[&format!("reason=\"{reason}\"")]), 1.0, "{line}");
    }
}

#[tokio::test]
async fn who_breaks_the_rules_of_http_2_is_named_in_words_of_our_own() {
    let origin = Origin::start().await;
    let args = ["--in", "http://127.0.0.1:0", "--out", &origin.url()];
    let (program, mut log) = Program::logged(&args).await;
    let mut client = Client::connect(program.address()).await;
    // Of the stream 0, which is none.
    client.send([raw::hello(), raw::frame(raw::DATA, 0, 0, b"x")].concat()).await;
    let line = log_has(&mut log, "WARN connection of 127.0.0.1:").await;
    assert!(line.contains(" closed: http2 error"), "{line}");
}

#[tokio::test]
async fn too_few_files_are_told_at_the_start() {
    let few = "the limit of open files is 256, enough for 96 connections of clients";
    for (concurrency, told) in [
        ("96", None),
        (
            "97",
            Some(", and --concurrency is 97: raise LimitNOFILE (ulimit -n) above 258, or lower --concurrency to 96"),
        ),
        ("100000", Some("; for more raise LimitNOFILE (ulimit -n)")),
    ] {
        let httptp = env!("CARGO_BIN_EXE_httptp");
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("log");
        let options = format!("--in http://127.0.0.1:0 --out http://127.0.0.1:1 --admin= --concurrency {concurrency}");
        let mut command = Command::new("sh");
        command.args(["-c", &format!("ulimit -n 256; exec {httptp} {options} 2>{}", file.display())]);
        let mut program = Program::spawn(command).await;
        program.signal(Signal::TERM);
        assert!(program.ended().await.success());
        let log = std::fs::read_to_string(&file).expect("a log");
        assert_eq!(log.contains("the limit of open files"), told.is_some(), "{log}");
        assert!(told.is_none_or(|told| log.contains(&format!("{few}{told}"))), "{log}");
    }
}

#[tokio::test]
async fn a_client_that_hangs_up_in_its_upload_is_499_and_a_body_that_is_malformed_400() {
    let origin = Origin::start().await;
    let far = Program::between("teleport://127.0.0.1:0", &origin.url(), &[]).await;
    let post = |framing: &str, body: &str| format!("POST /echo HTTP/1.1\r\nHost: h\r\n{framing}\r\n\r\n{body}");
    for out in [origin.url(), format!("teleport://{}", far.address())] {
        let args = ["--in", "http://127.0.0.1:0", "--out", &out, "--admin", "127.0.0.1:0"];
        let options = ["--access-log", "-"];
        let (mut program, mut start) = Program::saying_on_stderr(&[&args[..], &options].concat()).await;
        let told = log_has(&mut start, "admin page").await;
        let admin = told.rsplit_once("http://").expect("a URL").1.trim_end_matches('/');
        // Nothing of the first is on its way before it is whole.
        for (framing, body, status, gone) in [
            ("Content-Length: 100", "half", 499, 1.0),
            ("Content-Length: 1000000", "half", 499, 2.0),
            ("Transfer-Encoding: chunked", "4\r\nhalf\r\n", 499, 3.0),
        ] {
            let mut client = Client::connect(program.address()).await;
            client.send(post(framing, body)).await;
            drop(client);
            let line = program.next_line().await;
            assert!(line.contains(&format!(" HTTP/1.1\" {status} ")), "{framing} {body}: {line}");
            let metrics = get(admin, "/metrics").await;
            let counted = value(metrics.text(), "httptp_failed_requests_total", &["kind=\"request\""]);
            assert_eq!(counted, gone, "{out}: {framing} {body}");
        }
        let mut client = Client::connect(program.address()).await;
        client.send(post("Transfer-Encoding: chunked", "4\r\nhalf\r\nx")).await;
        assert_eq!(client.reply().await.status(), 400);
        assert!(program.next_line().await.contains(" HTTP/1.1\" 400 "));
        let metrics = get(admin, "/metrics").await;
        let refused = value(metrics.text(), "httptp_refusals_total", &["reason=\"malformed\""]);
        assert_eq!(refused, 1.0, "{out}");
        assert_eq!(value(metrics.text(), "httptp_upstream_failures_total", &[]), 0.0, "{out}");
    }
}
