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

mod access;
mod metrics;

const ANY: &str = "127.0.0.1:0";

pub(crate) async fn get(address: &str, target: &str) -> Reply {
    with(address, target, "").await
}

async fn with(address: &str, target: &str, field: &str) -> Reply {
    let field = if field.is_empty() { String::new() } else { format!("{field}\r\n") };
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n{field}\r\n");
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
