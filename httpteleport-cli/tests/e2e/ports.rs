//! A node that has no ports left for connections to an upstream: that is no fault of it. Each test has a network of its own, with few of them.

use std::process::{Command, Output};

use testkit::programs::installed;
use tokio::net::UnixStream;

use crate::caller::{Caller, body, request};
use crate::node::{Files, Node, text};
use crate::origin::Origin;

const HTTPTP: &str = env!("CARGO_BIN_EXE_httptp");

fn program(name: &str) -> Command {
    Command::new(installed(name).unwrap_or_else(|| panic!("{name} is not installed: `cargo xtask test` gets it")))
}

/// The first node of a network that has nothing but its loopback.
fn first(args: &[&str]) -> Node {
    let mut command = program("unshare");
    command.args(["--map-root-user", "--net", "sh", "-c", "ip link set lo up && exec \"$@\"", "sh", HTTPTP]);
    Node::by(command, args)
}

/// What runs a program in the network of that node.
fn beside(node: &Node, name: &str) -> Command {
    let mut command = program("nsenter");
    command.args(["--target", &node.id().to_string(), "--user", "--net", "--preserve-credentials", name]);
    command
}

fn run(mut command: Command) -> Output {
    let output = tokio::task::block_in_place(|| command.output()).expect("it starts");
    assert!(output.status.success(), "{command:?}: {output:?}");
    output
}

/// From now on connections come from these ports, as far as they are free.
fn let_use_ports(node: &Node, range: &str) {
    let mut command = beside(node, "sh");
    command.args(["-c", "echo \"$1\" > /proc/sys/net/ipv4/ip_local_port_range", "sh", range]);
    run(command);
}

/// What a node counts under a name, with these labels.
fn counted(node: &Node, name: &str, labels: &str) -> f64 {
    let url = node.tells("an admin page", |line| Some(line.split_once("metrics at ")?.1.to_owned()));
    let mut command = beside(node, "curl");
    command.args(["--disable", "--silent", "--noproxy", "*", &format!("{url}metrics")]);
    let text = String::from_utf8(run(command).stdout).expect("UTF-8");
    let mut lines = text.lines().filter(|line| line.starts_with(name) && line.contains(labels));
    let line = lines.next().unwrap_or_else(|| panic!("no {name} {labels} in {text}"));
    line.rsplit(' ').next().expect("a value").parse().expect("a number")
}

async fn caller(node: &Node) -> Caller<UnixStream> {
    let path = node.url().strip_prefix("unix:").expect("a unix socket");
    Caller::over(UnixStream::connect(path).await.expect("a connection"))
}

/// Has three requests fail for want of a port.
async fn fails(near: &Node) {
    let mut caller = caller(near).await;
    for _ in 0..3 {
        let reply = caller.get("/short").await;
        let want = "unix: proxying error: no connection to an upstream can be made now\n";
        assert_eq!((reply.status, body(&reply).as_str()), (503, want));
    }
    near.says("widen the range of ports (net.ipv4.ip_local_port_range)");
}

/// Those three are counted, and the upstream is not blamed.
fn are_counted(near: &Node) {
    // Whoever asks needs one too.
    let_use_ports(near, "40000 40009");
    assert_eq!(counted(near, "httptp_failed_requests_total", "kind=\"shortage\""), 3.0);
    assert_eq!(counted(near, "httptp_failed_requests_total", "kind=\"unreachable\""), 0.0);
    assert_eq!(counted(near, "httptp_upstream_failures_total", ""), 0.0);
    assert_eq!(counted(near, "httptp_upstream_up", ""), 1.0);
    for word in ["cannot be reached", "fails too often", "unhealthy"] {
        assert!(!near.has_said(word), "{word}: {near:?}");
    }
}

/// One failure is enough to leave an upstream alone, if it were its own.
const STRICT: [&str; 2] = ["--eject-after=1", "--admin=127.0.0.1:9001"];

#[tokio::test(flavor = "multi_thread")]
async fn no_ports_for_another_connection_to_an_http_upstream() {
    let files = Files::new();
    let (origin, front) = (Origin::unix(&files), format!("unix:{}", text(&files.path("front"))));
    let far = first(&["--in", "http://127.0.0.1:9000", "--out", &origin.url, "--admin="]);
    let near = Node::by(beside(&far, HTTPTP), &[&["--in", &front, "--out", far.url()][..], &STRICT].concat());
    let_use_ports(&near, "40000 40001");
    // Two connections are busy, and their ports are all.
    let mut held = [caller(&near).await, caller(&near).await];
    for caller in &mut held {
        caller.send(&request("GET", "/hold").bytes()).await;
        origin.holds().await;
    }
    fails(&near).await;
    origin.let_go(2);
    for caller in &mut held {
        assert_eq!(body(&caller.reply().await), "GET /hold");
    }
    are_counted(&near);
    assert_eq!(body(&caller(&near).await.get("/well").await), "GET /well");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_ports_for_a_teleport_connection() {
    for wire in ["framed", "classic"] {
        let files = Files::new();
        let origin = Origin::unix(&files);
        let front = |name: &str| format!("unix:{}", text(&files.path(name)));
        let wire = ["--wire", wire];
        let args = ["--in", "teleport://127.0.0.1:9000", "--out", &origin.url, "--admin="];
        let far = first(&[&args[..], &wire].concat());
        let near = |name: &str, more: &[&str]| {
            let (front, out) = (front(name), far.url());
            Node::by(beside(&far, HTTPTP), &[&["--in", &front, "--out", out], &wire[..], more].concat())
        };
        let_use_ports(&far, "40000 40000");
        // One node has the only port.
        let other = near("other", &["--admin="]);
        assert_eq!(body(&caller(&other).await.get("/first").await), "GET /first");
        let near = near("front", &STRICT);
        fails(&near).await;
        are_counted(&near);
        assert_eq!(body(&caller(&near).await.get("/well").await), "GET /well");
    }
}
