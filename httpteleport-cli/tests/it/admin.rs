//! The admin address: metrics, health, tokens.

use std::path::PathBuf;
use std::process::Stdio;

use rustix::process::Signal;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::timeout;

use crate::client::{Client, Reply};
use crate::origin::Origin;
use crate::program::{PATIENCE, Program, run};
use crate::tls::Identity;

const ANY: &str = "127.0.0.1:0";

pub(crate) async fn get(address: &str, target: &str) -> Reply {
    Client::connect(address).await.get(target).await
}

async fn with(address: &str, target: &str, field: &str) -> Reply {
    let request = format!("GET {target} HTTP/1.1\r\nHost: h\r\n{field}\r\n\r\n");
    Client::connect(address).await.ask(request).await
}

async fn json(address: &str, target: &str) -> Value {
    let reply = get(address, target).await;
    assert_eq!(reply.status(), 200);
    serde_json::from_str(reply.text()).expect("JSON")
}

/// Two nodes and an origin, and where each of them tells of itself.
struct Pair {
    near: Program,
    near_admin: String,
    far_admin: String,
    _far: Program,
    origin: Origin,
}

impl Pair {
    async fn start() -> Pair {
        let origin = Origin::start().await;
        let mut far = Program::start(&["--in", "teleport://127.0.0.1:0", "--out", &origin.url(), "--admin", ANY]).await;
        let far_admin = far.admin().await;
        let address = far.address().split(" (").next().expect("an address").to_owned();
        let out = format!("teleport://{address}");
        let mut near = Program::start(&["--in", "http://127.0.0.1:0", "--out", &out, "--admin", ANY]).await;
        let near_admin = near.admin().await;
        Pair { near, near_admin, far_admin, _far: far, origin }
    }
}

/// What promtool finds wrong with metrics.
pub(crate) async fn promtool(metrics: &str) -> String {
    let program = testkit::programs::installed("promtool")
        .expect("promtool is not installed: `cargo xtask test` gets it, or `apt-get install prometheus`");
    let mut command = Command::new(program);
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.kill_on_drop(true).spawn().expect("it starts");
    child.stdin.take().expect("a pipe").write_all(metrics.as_bytes()).await.expect("it reads");
    let output = timeout(PATIENCE, child.wait_with_output()).await.expect("in time").expect("an end");
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if output.status.success() { said } else { format!("{}: {said}", output.status) }
}

/// The value of a metric by its name, and labels that it has to have.
pub(crate) fn value(metrics: &str, name: &str, labels: &[&str]) -> f64 {
    let is_it = |line: &&str| {
        let of_name = line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        of_name && labels.iter().all(|label| line.contains(label))
    };
    let line = metrics.lines().find(is_it).unwrap_or_else(|| panic!("no {name} {labels:?} in:\n{metrics}"));
    line.rsplit(' ').next().and_then(|value| value.parse().ok()).expect("a value")
}

#[tokio::test]
async fn metrics_pass_promtool_and_tell_what_went_through() {
    let pair = Pair::start().await;
    let mut client = Client::connect(pair.near.address()).await;
    for _ in 0..20 {
        assert_eq!(client.get("/size/5000").await.status(), 200);
    }
    assert_eq!(client.get("/none").await.status(), 204);
    let near = get(&pair.near_admin, "/metrics").await;
    assert_eq!(near.field("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let (near, far) = (near.text().to_owned(), get(&pair.far_admin, "/metrics").await.text().to_owned());
    for metrics in [&near, &far] {
        assert_eq!(promtool(metrics).await, "", "{metrics}");
    }

    assert_eq!(value(&near, "httptp_in_requests_total", &["input=\"http://127.0.0.1:"]), 21.0);
    assert_eq!(value(&near, "httptp_in_replies_total", &["class=\"200\""]), 20.0);
    assert_eq!(value(&near, "httptp_in_replies_total", &["class=\"2xx\""]), 1.0);
    assert_eq!(value(&near, "httptp_in_connections", &[]), 1.0);
    assert!(value(&near, "httptp_in_written_bytes_total", &[]) > 100_000.0);

    for (metrics, side, sent, received) in [(&near, "out", "sent", "received"), (&far, "in", "received", "sent")] {
        let side = format!("side=\"{side}\"");
        let of = |name: &str, more: &str| value(metrics, name, &[&side, more]);
        let replies = of("httptp_teleport_plain_bytes_total", &format!("direction=\"{received}\""));
        let wire = of("httptp_teleport_wire_bytes_total", &format!("direction=\"{received}\""));
        assert!(replies > 100_000.0 && wire < 10_000.0, "{replies} {wire}");
        let ratio = of("httptp_teleport_compression_ratio", &format!("direction=\"{received}\""));
        assert!((ratio / (replies / wire) - 1.0).abs() < 1e-6 && ratio > 10.0);
        assert!(of("httptp_teleport_plain_bytes_total", &format!("direction=\"{sent}\"")) > 500.0);
        assert_eq!(of("httptp_teleport_batch_messages_sum", ""), 21.0);
        assert_eq!(of("httptp_teleport_batch_messages_bucket", "le=\"1\""), 21.0, "one after the other");
        assert_eq!(of("httptp_teleport_batch_wait_seconds_count", ""), 21.0);
        assert_eq!((of("httptp_teleport_connections", ""), of("httptp_teleport_calls_total", "")), (1.0, 21.0));
        assert!(of("httptp_teleport_compress_seconds_total", "") > 0.0);
    }
    assert!(value(&near, "httptp_compression_memory_bytes", &[]) > 1e6, "contexts of zstd");

    let upstream = format!("upstream=\"{}\"", pair.origin.url());
    let of = |name: &str| value(&far, name, &[&upstream, "group=\"out\""]);
    assert_eq!((of("httptp_upstream_up"), of("httptp_upstream_requests_total")), (1.0, 21.0));
    assert_eq!((of("httptp_upstream_reply_seconds_count"), of("httptp_upstream_dials_total")), (21.0, 1.0));
    assert!(of("httptp_upstream_read_bytes_total") > 100_000.0);
    assert!(value(&far, "process_cpu_seconds_total", &[]) > 0.0);
    every_one_is_explained(&near);
    every_one_is_explained(&far);
}

/// What docs/operations.md lists.
fn documented() -> &'static str {
    let docs = include_str!("../../../docs/operations.md");
    docs.split("\n## Every metric\n").nth(1).expect("the list of metrics")
}

/// In docs/operations.md.
pub(crate) fn every_one_is_explained(metrics: &str) {
    let label = |sample: &str| {
        let labels = sample.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(labels, _)| labels);
        let names = labels.unwrap_or_default().split("\",").filter_map(|label| label.split_once('='));
        names.map(|(name, _)| name).filter(|name| *name != "le").collect::<Vec<_>>().join(", ")
    };
    for line in metrics.lines().filter_map(|line| line.strip_prefix("# HELP ")) {
        let (name, help) = line.split_once(' ').expect("a name");
        let sample = metrics.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| !rest.starts_with(' ')));
        let labels = sample.map(label).unwrap_or_default();
        assert!(
            documented().contains(&format!("`{name}`")),
            "docs/operations.md lacks, below \"## Every metric\":\n| `{name}` | {labels} | {help} |"
        );
    }
}

#[tokio::test]
async fn what_the_docs_list_is_served() {
    let pair = Pair::start().await;
    assert_eq!(Client::connect(pair.near.address()).await.get("/size/9").await.status(), 200);
    let identity = Identity::new("admin_listed");
    let (cert, key) = identity.files();
    let traced = cfg!(feature = "otlp");
    let spans = &["--otlp-endpoint", "http://127.0.0.1:1"][..if traced { 2 } else { 0 }];
    let shown = [&["--in-tls-cert", cert, "--in-tls-key", key][..], spans].concat();
    let args = [&["--in", "https://127.0.0.1:0", "--out", "http://127.0.0.1:1", "--admin", ANY][..], &shown].concat();
    let mut tls = Program::start(&args).await;
    let orders = ["--autocert-host-regexp", "a.example", "--acme-directory", "https://127.0.0.1:1/"];
    let args = [&["--in", "https://127.0.0.1:0", "--out", "http://127.0.0.1:1", "--admin", ANY][..], &orders].concat();
    let mut acme = Program::start(&args).await;
    let mut served = String::new();
    for admin in [&pair.near_admin, &pair.far_admin, &tls.admin().await, &acme.admin().await] {
        served += get(admin, "/metrics").await.text();
    }
    let names = documented().lines().filter(|line| line.starts_with("| `")).flat_map(|line| {
        let cell = line.split(" | ").next().unwrap_or_default();
        cell.split('`').skip(1).step_by(2)
    });
    for name in names.filter(|name| traced || !name.starts_with("httptp_spans_")) {
        assert!(
            served.contains(&format!("# TYPE {name} ")),
            "docs/operations.md has {name}, which nobody serves any more"
        );
    }
}

#[tokio::test]
async fn refusals_failures_and_what_went_wrong_are_told() {
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let out = format!("http://{}", gone.local_addr().expect("an address"));
    drop(gone);
    let args = ["--in", "http://127.0.0.1:0", "--out", &out, "--admin", ANY, "--in-get-only"];
    let mut program = Program::start(&args).await;
    let admin = program.admin().await;
    let mut client = Client::connect(program.address()).await;
    for _ in 0..3 {
        assert_eq!(client.get("/x").await.status(), 502);
    }
    let reply = client.ask("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!(reply.status(), 405);

    let metrics = get(&admin, "/metrics").await.text().to_owned();
    assert_eq!(value(&metrics, "httptp_failed_requests_total", &["kind=\"unreachable\""]), 3.0);
    assert_eq!(value(&metrics, "httptp_refusals_total", &["reason=\"method\""]), 1.0);
    assert_eq!(value(&metrics, "httptp_in_replies_total", &["class=\"4xx\""]), 1.0);
    assert_eq!(value(&metrics, "httptp_in_replies_total", &["class=\"5xx\""]), 3.0);
    assert!(value(&metrics, "httptp_upstream_dial_errors_total", &[]) >= 3.0);
    assert_eq!(value(&metrics, "httptp_upstream_up", &[]), 0.0);

    let now = json(&admin, "/api/now").await;
    assert_eq!((&now["requests"], &now["failed"], &now["refused"]), (&4.into(), &3.into(), &1.into()));
    let trouble = &now["troubles"][0];
    assert_eq!((&trouble["what"], &trouble["count"]), (&format!("{out}: connection refused").into(), &3.into()));
    assert_eq!(now["upstreams"][0]["state"], "unreachable");
}

#[tokio::test]
async fn go_names_are_served_where_go_served_them() {
    let pair = Pair::start().await;
    let mut client = Client::connect(pair.near.address()).await;
    for target in ["/size/9", "/size/9", "/none"] {
        client.get(target).await;
    }
    let names = [
        "inConns",
        "outConns",
        "inBytesWritten",
        "outBytesWritten",
        "inBytesRead",
        "outBytesRead",
        "inWriteError",
        "outWriteError",
        "inReadError",
        "outReadError",
        "inWriteCalls",
        "outWriteCalls",
        "inReadCalls",
        "outReadCalls",
        "inAcceptSuccess",
        "inAcceptError",
        "outDialSuccess",
        "outDialError",
        "inRequestStart",
        "inRequestSuccess",
        "inRequestNon200",
        "inRequestTimeoutError",
        "inRequestOtherError",
        "prometheusHandlerCalls",
    ];
    for admin in [&pair.near_admin, &pair.far_admin] {
        let text = get(admin, "/prometheus").await.text().to_owned();
        let expvar = json(admin, "/expvar").await;
        for name in names {
            assert!(value(&text, name, &[]) >= 0.0 && expvar[name].is_u64(), "{name}");
        }
        let count = |name: &str| expvar[name].as_u64().expect("a number");
        assert_eq!((count("inRequestStart"), count("inRequestSuccess"), count("inRequestNon200")), (3, 3, 1));
        assert_eq!((count("inConns"), count("outConns"), count("outDialSuccess")), (1, 1, 1));
        assert_eq!((count("outDialError"), count("prometheusHandlerCalls")), (0, 1));
        for name in ["inBytesRead", "inBytesWritten", "outBytesRead", "outBytesWritten", "inReadCalls", "outWriteCalls"]
        {
            assert!(count(name) > 0, "{name}");
        }
        assert!(expvar["cmdline"][0].as_str().is_some_and(|program| program.ends_with("httptp")));
        assert!(expvar["memstats"]["Alloc"].as_u64().is_some_and(|bytes| bytes > 1_000_000));
        let said = promtool(&text).await;
        assert!(!said.contains("error while linting") && !said.contains("text format parsing"), "{said}");
    }
}

#[tokio::test]
async fn it_is_ready_until_it_drains_and_alive_to_the_end() {
    let origin = Origin::start().await;
    let args = ["--in", "http://127.0.0.1:0", "--out", &origin.url(), "--admin", ANY];
    let mut program = Program::start(&args).await;
    let admin = program.admin().await;
    assert_eq!(get(&admin, "/readyz").await.status(), 200);
    let mut client = Client::connect(program.address()).await;
    client.send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n").await;
    origin.holds().await;
    program.signal(Signal::TERM);
    let drains = async { while get(&admin, "/readyz").await.status() != 503 {} };
    timeout(PATIENCE, drains).await.expect("in time");
    assert_eq!(get(&admin, "/healthz").await.text(), "ok\n");
    assert_eq!(value(get(&admin, "/metrics").await.text(), "httptp_draining", &[]), 1.0);
    origin.let_go();
    assert_eq!(client.reply().await.status(), 200);
    assert!(program.ended().await.success());
}

fn file(name: &str, text: &str) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, text).expect("written");
    path.to_str().expect("UTF-8").to_owned()
}

#[tokio::test]
async fn a_token_is_asked_for_where_there_is_one() {
    let token = file("admin_token", "an-admin-token\n");
    let args =
        ["--in", "http://127.0.0.1:0", "--out", "http://127.0.0.1:1", "--admin", ANY, "--admin-token-file", &token];
    let mut program = Program::start(&args).await;
    let admin = program.admin().await;
    for target in ["/", "/metrics", "/prometheus", "/expvar", "/api/now", "/none", "/?token=another-token"] {
        let reply = get(&admin, target).await;
        assert_eq!((reply.status(), reply.field("www-authenticate")), (401, Some("Bearer")), "{target}");
        assert!(!reply.text().contains("an-admin-token"));
    }
    for target in ["/healthz", "/readyz"] {
        assert_eq!(get(&admin, target).await.status(), 200, "{target}");
    }
    assert_eq!(with(&admin, "/metrics", "Authorization: Bearer an-admin-token").await.status(), 200);
    assert_eq!(with(&admin, "/metrics", "Authorization: Bearer an-admin-tokem").await.status(), 401);
    let reply = get(&admin, "/?token=an-admin-token").await;
    assert_eq!((reply.status(), reply.field("location")), (303, Some("/")));
    let cookie = reply.field("set-cookie").and_then(|cookie| cookie.split(';').next()).expect("a cookie").to_owned();
    assert_eq!(with(&admin, "/api/now", &format!("Cookie: {cookie}")).await.status(), 200);
}

#[tokio::test]
async fn only_what_is_there_is_served_and_nothing_is_kept() {
    let mut program =
        Program::start(&["--in", "http://127.0.0.1:0", "--out", "http://127.0.0.1:1", "--admin", ANY]).await;
    let admin = program.admin().await;
    let page = get(&admin, "/").await;
    assert_eq!(page.field("content-type"), Some("text/html; charset=utf-8"));
    let policy = page.field("content-security-policy").expect("a policy");
    assert!(policy.starts_with("default-src 'none'; script-src 'sha256-"), "{policy}");
    for target in ["/", "/metrics", "/api/now", "/none"] {
        let reply = get(&admin, target).await;
        assert_eq!(reply.field("cache-control"), Some("no-store"), "{target}");
        assert_eq!(reply.field("x-content-type-options"), Some("nosniff"), "{target}");
    }
    assert_eq!(get(&admin, "/none").await.status(), 404);
    let mut client = Client::connect(&admin).await;
    let reply = client.ask("POST /metrics HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n").await;
    assert_eq!((reply.status(), reply.field("allow")), (405, Some("GET, HEAD")));
    let long = format!("GET / HTTP/1.1\r\nHost: h\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    assert_eq!(Client::connect(&admin).await.ask(long).await.status(), 431);
}

#[tokio::test]
async fn an_address_that_is_taken_matters_only_where_it_was_asked_for() {
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let (code, _, stderr) =
        run(&["--in", "http://127.0.0.1:0", "--out", "http://127.0.0.1:1", "--admin", &address]).await;
    assert_eq!(code, Some(1));
    let want =
        format!("httptp: --admin {address}: address in use: another program listens there; choose another address");
    assert_eq!(stderr.lines().last(), Some(want.as_str()), "{stderr}");

    // Somebody has the usual one now, be it another test.
    let _usual = TcpListener::bind("127.0.0.1:8040").await;
    let args = ["--in", "http://127.0.0.1:0", "--out", "http://127.0.0.1:1"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_httptp"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut program = command.spawn().expect("the program starts");
    let mut log = BufReader::new(program.stderr.take().expect("a pipe")).lines();
    let line = timeout(PATIENCE, log.next_line()).await.expect("in time").expect("text").expect("a line");
    assert!(line.contains("WARN metrics are not served: localhost:8040: address in use"), "{line}");
}

#[tokio::test]
async fn who_opens_it_to_others_is_warned_and_mistakes_are_told() {
    let args = ["--in", "http://127.0.0.1:0", "--out", "http://127.0.0.1:1", "--admin", "0.0.0.0:0"];
    let (_program, mut log) = Program::logged(&args).await;
    let line = timeout(PATIENCE, log.next_line()).await.expect("in time").expect("text").expect("a line");
    assert!(line.contains("WARN ANYBODY WHO REACHES 0.0.0.0:") && line.contains("--admin-token-file"), "{line}");

    let short = file("admin_token_short", "short\n");
    for (args, code, want) in [
        (vec!["--admin", "nonsense"], 2, "--admin nonsense: write HOST:PORT, or nothing to turn it off"),
        (vec!["--admin", "h:99999"], 2, "--admin h:99999: write HOST:PORT"),
        (vec!["--price-per-gb", "much"], 2, "--price-per-gb much: give a number from 0 to 1000000"),
        (vec!["--admin=", "--admin-token-file", "t"], 2, "--admin-token-file: there is no admin address"),
        (
            vec!["--admin", ANY, "--admin-token-file", "/nonexistent/t"],
            1,
            "--admin-token-file /nonexistent/t: cannot read the file: no such",
        ),
        (vec!["--admin", ANY, "--admin-token-file", &short], 1, "holds no token; it should have one of 8 to 512"),
    ] {
        let (status, _, stderr) =
            run(&[&["--in", "http://127.0.0.1:0", "--out", "http://127.0.0.1:1"], &args[..]].concat()).await;
        assert_eq!(status, Some(code), "{args:?}: {stderr}");
        assert!(stderr.lines().last().is_some_and(|line| line.contains(want)), "{args:?}: {stderr}");
    }
}

#[tokio::test]
async fn metrics_follow_the_settings() {
    let (one, two) = (Origin::start().await, Origin::start().await);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("web.toml");
    let write = |listeners: &str, origin: &Origin| {
        let text = format!("{listeners}\n[group.web]\nurls = \"{}\"\n", origin.url());
        std::fs::write(&path, text).expect("written");
    };
    write("[listener.http]\nurl = \"http://127.0.0.1:0\"", &one);
    let mut program = Program::start(&["--config", path.to_str().expect("UTF-8"), "--admin", ANY]).await;
    let admin = program.admin().await;
    let mut client = Client::connect(program.address()).await;
    assert_eq!(client.get("/size/1").await.status(), 200);

    let more = "[listener.far]\nurl = \"teleport://127.0.0.1:0\"";
    write(&format!("[listener.http]\nurl = \"http://127.0.0.1:0\"\n{more}"), &two);
    program.signal(Signal::HUP);
    let upstream = format!("upstream=\"{}\"", two.url());
    let changed = async {
        loop {
            let metrics = get(&admin, "/metrics").await.text().to_owned();
            if metrics.contains(&upstream) {
                return metrics;
            }
        }
    };
    let metrics = timeout(PATIENCE, changed).await.expect("in time");
    assert!(!metrics.contains(&one.url()), "what is gone is not told of:\n{metrics}");
    let http = format!("input=\"http://{}\"", program.address());
    assert_eq!(value(&metrics, "httptp_in_requests_total", &[&http]), 1.0, "its port stays, and so does its count");
    assert_eq!(value(&metrics, "httptp_in_requests_total", &["input=\"teleport://"]), 0.0);
    assert_eq!(value(&metrics, "httptp_teleport_connections", &["side=\"in\""]), 0.0);
    assert_eq!(client.get("/size/1").await.status(), 200);
    let metrics = get(&admin, "/metrics").await.text().to_owned();
    assert_eq!(value(&metrics, "httptp_upstream_requests_total", &[&upstream, "group=\"web\""]), 1.0);
}
