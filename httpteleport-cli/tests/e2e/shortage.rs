//! A node that has no files left for connections to upstreams: that is no fault of theirs.

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::caller::{Caller, body, request};
use crate::node::Node;
use crate::origin::Origin;

/// Lets a process open files from now on, or none.
fn let_open(node: &Node, may: bool) {
    let pid = Pid::from_raw(i32::try_from(node.id()).expect("a process id")).expect("not zero");
    // Those that are open stay open.
    let most = if may { 1024 } else { 3 };
    prlimit(Some(pid), Resource::Nofile, Rlimit { current: Some(most), maximum: Some(1024) }).expect("a limit");
}

/// Has a client's request fail for want of a file, and go well when there is one.
async fn fails_and_goes_on(near: &Node) {
    let mut caller = Caller::connect(near.address()).await;
    // It is let in, and nothing is connected to.
    assert_eq!(caller.ask(&request("POST", "/x").body(b"x")).await.status, 405);
    let_open(near, false);
    for _ in 0..3 {
        let reply = caller.get("/short").await;
        let want = "http: proxying error: no connection to an upstream can be made now\n";
        assert_eq!((reply.status, body(&reply).as_str()), (503, want));
    }
    near.says("raise the limit of open files (LimitNOFILE)");
    near.says("could not be checked");
    let_open(near, true);
    assert_eq!(body(&caller.get("/well").await), "GET /well");
    for word in ["cannot be reached", "fails too often", "unhealthy"] {
        assert!(!near.has_said(word), "{word}: {near:?}");
    }
}

/// One failure is enough to leave an upstream alone, if it were its own.
const STRICT: [&str; 7] = [
    "--in-get-only",
    "--eject-after=1",
    "--health-check=/",
    "--health-interval=100ms",
    "--health-timeout=15s",
    "--health-fails=1",
    "--log-level=debug",
];

#[tokio::test(flavor = "multi_thread")]
async fn no_files_for_a_connection_to_an_http_upstream() {
    let origins = [Origin::start().await, Origin::start().await];
    let outs = format!("{},{}", origins[0].url, origins[1].url);
    fails_and_goes_on(&Node::start("http://127.0.0.1:0", &outs, &STRICT)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_files_for_a_teleport_connection() {
    for wire in ["framed", "classic"] {
        let origin = Origin::start().await;
        let far = Node::start("teleport://127.0.0.1:0", &origin.url, &["--wire", wire]);
        let near = Node::start("http://127.0.0.1:0", far.url(), &[&STRICT[..], &["--wire", wire]].concat());
        fails_and_goes_on(&near).await;
    }
}
