//! slowhttptest against an input: clients that take ages are ended by its limits, and nobody else notices them.

use std::process::Command;

use rustix::process::Signal;
use testkit::programs::{Listen, Nginx, Running, installed};

use crate::load::Load;
use crate::node::Node;
use crate::origin::Origin;

/// Slow clients, all at once.
const MANY: usize = 200;

/// More than sockets take of a reply that nobody reads.
const LARGE: usize = 6_000_000;

/// Serves `/large`; the rest is an echo.
fn nginx(echo: &Origin) -> Nginx {
    let rest = format!("location / {{ proxy_pass {}; }} location = /large {{ }}", echo.url);
    let nginx = Nginx::start(Listen::Tcp, &rest);
    nginx.file("large", &vec![b'l'; LARGE]);
    nginx
}

/// Runs it in this mode, for 15 seconds at most. The node then says that it has ended so many for this reason.
async fn slow_clients_are_ended(mode: &[&str], target: &str, reason: &str) {
    let program = installed("slowhttptest").expect("`cargo xtask test` gets it, or `apt-get install slowhttptest`");
    let echo = Origin::start().await;
    let nginx = tokio::task::block_in_place(|| nginx(&echo));
    // Longer than the others pause on a machine that is busy, and shorter than the tool goes on.
    let limits = ["--in-head-timeout", "3s", "--in-body-timeout", "3s", "--in-write-timeout", "3s"];
    let mut near = Node::start("http://127.0.0.1:0", &format!("http://{}", nginx.authority()), &limits);
    let others = Load::start(near.address(), 2);
    let many = MANY.to_string();
    let mut command = Command::new(program);
    command
        .args(mode)
        .args(["-c", &many, "-r", &many, "-l", "15", "-v", "1", "-u"])
        .arg(near.url().to_owned() + target);
    let mut slow = Running::start(command);
    while slow.exited().is_none() {
        others.good(20).await;
    }
    others.good(20).await;
    let counts = others.stop().await;
    assert_eq!(counts.failed(), 0, "{counts:?} {near:?}");
    near.signal(Signal::TERM);
    assert!(near.ended().success(), "{near:?}");
    // `connections and refusals: accepted 205, slow_head 200`; the tool itself may have ended a few when its time was over.
    let ended = near.tells(reason, |line| {
        let (_, counts) = line.split_once("refusals: ")?;
        counts.split(", ").find_map(|count| count.strip_prefix(reason)?.trim().parse::<usize>().ok())
    });
    assert!((MANY * 3 / 4..=MANY).contains(&ended), "{ended} {reason}: {near:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn heads() {
    slow_clients_are_ended(&["-H", "-i", "2"], "/", "slow_head").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies() {
    slow_clients_are_ended(&["-B", "-i", "5", "-s", "8192"], "/", "slow_body").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn readers() {
    slow_clients_are_ended(&["-X", "-w", "1", "-y", "1", "-n", "5", "-z", "1"], "/large", "slow_reader").await;
}
