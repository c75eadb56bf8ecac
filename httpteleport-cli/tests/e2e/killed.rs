//! Nodes that die, freeze or leave while many callers use them.

use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::caller::{Caller, body, request};
use crate::load::Load;
use crate::node::{Node, PATIENCE, Pair};
use crate::origin::Origin;

#[tokio::test(flavor = "multi_thread")]
async fn the_far_node_is_killed_and_comes_back() {
    let origin = Origin::start().await;
    let mut pair = Pair::start(&origin.url);
    // Four calls that are certainly in flight when it happens.
    let mut held = Vec::new();
    for n in 0..4 {
        let mut caller = Caller::connect(pair.near.address()).await;
        caller.send(&request("POST", &format!("/hold/{n}")).body(b"x").bytes()).await;
        origin.holds().await;
        held.push(caller);
    }
    let load = Load::start(pair.near.address(), 32);
    for _ in 0..3 {
        load.good(300).await;
        pair.far.kill();
        load.until("calls fail while nobody is there", |counts| counts.bad_gateway >= 32).await;
        for mut caller in held.drain(..) {
            let reply = caller.reply().await;
            assert_eq!(reply.status, 502, "{reply:?}");
            assert!(body(&reply).starts_with("http: proxying error: "), "{reply:?}");
            assert!(!body(&reply).contains("127.0.0.1"), "{reply:?}");
        }
        pair.far.start_again();
    }
    load.good(300).await;
    let counts = load.stop().await;
    assert_eq!((counts.timed_out, counts.cut_off), (0, 0), "{counts:?}");
    origin.let_go(4);

    let mut caller = Caller::connect(pair.near.address()).await;
    assert_eq!(body(&caller.get("/after").await), "GET /after");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_far_node_costs_the_timeout_and_its_late_replies_reach_nobody() {
    let origin = Origin::start().await;
    let pair = Pair::with(&origin.url, &["--out-timeout", "250ms"], &[]);
    let load = Load::start(pair.near.address(), 16);
    for _ in 0..2 {
        load.good(200).await;
        pair.far.signal(Signal::STOP);
        load.until("calls time out", |counts| counts.timed_out >= 40).await;
        pair.far.signal(Signal::CONT);
    }
    load.good(500).await;
    let counts = load.stop().await;
    assert_eq!((counts.bad_gateway, counts.cut_off), (0, 0), "{counts:?}");

    pair.far.signal(Signal::STOP);
    stopped(pair.far.id()).await;
    let (mut caller, start) = (Caller::connect(pair.near.address()).await, Instant::now());
    let reply = caller.get("/frozen").await;
    let took = start.elapsed();
    assert_eq!(reply.status, 504, "{reply:?}");
    assert!(took >= Duration::from_millis(250) && took < Duration::from_secs(2), "{took:?}");
    pair.far.signal(Signal::CONT);
}

/// Waits until each thread of a process has stopped: the signal only asks for it.
pub(crate) async fn stopped(process: u32) {
    let tasks = format!("/proc/{process}/task");
    let is_stopped = |task: std::fs::DirEntry| {
        let stat = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|state| state.trim_start().starts_with('T'))
    };
    let all = || std::fs::read_dir(&tasks).expect("it lives").flatten().all(is_stopped);
    timeout(PATIENCE, async {
        while !all() {
            tokio::task::yield_now().await;
        }
    })
    .await
    .expect("in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_near_node_that_is_told_to_stop_answers_what_it_has_taken() {
    let origin = Origin::start().await;
    let mut pair = Pair::start(&origin.url);
    let mut held = Caller::connect(pair.near.address()).await;
    held.send(&request("GET", "/hold").bytes()).await;
    origin.holds().await;
    let load = Load::start(pair.near.address(), 16);
    load.good(200).await;
    pair.near.signal(Signal::TERM);
    let counts = load.stop_when_nobody_listens().await;
    assert_eq!((counts.bad_gateway, counts.timed_out), (0, 0), "{counts:?}");
    assert!(counts.cut_off <= 16, "only requests that met the close of an idle connection: {counts:?}");
    origin.let_go(1);
    let reply = held.reply().await;
    assert_eq!((reply.status, reply.value("Connection")), (200, Some("close")));
    assert_eq!(pair.near.ended().code(), Some(0));
}

/// Waits until nobody accepts at the address any more.
async fn refused(address: &str) {
    timeout(PATIENCE, async { while TcpStream::connect(address).await.is_ok() {} }).await.expect("in time");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_far_node_that_is_told_to_stop_answers_what_it_has_taken() {
    let origin = Origin::start().await;
    let mut pair = Pair::with(&origin.url, &["--out-timeout", "15s"], &["--out-timeout", "15s"]);
    let mut held = Vec::new();
    for n in 0..8 {
        let mut caller = Caller::connect(pair.near.address()).await;
        caller.send(&request("GET", &format!("/hold/{n}")).bytes()).await;
        origin.holds().await;
        held.push(caller);
    }
    let load = Load::start(pair.near.address(), 16);
    load.good(200).await;
    pair.far.signal(Signal::TERM);
    refused(pair.far.address()).await;
    origin.let_go(8);
    for (n, caller) in held.iter_mut().enumerate() {
        let reply = caller.reply().await;
        assert_eq!((reply.status, body(&reply)), (200, format!("GET /hold/{n}")), "it was taken");
    }
    assert_eq!(pair.far.ended().code(), Some(0));
    load.until("calls fail while nobody is there", |counts| counts.bad_gateway >= 32).await;
    pair.far.start_again();
    load.good(200).await;
    let counts = load.stop().await;
    assert_eq!((counts.timed_out, counts.cut_off), (0, 0), "{counts:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_sent_to_a_draining_far_node_does_not_wait_for_its_deadline() {
    let origin = Origin::start().await;
    let mut pair = Pair::with(&origin.url, &["--out-timeout", "15s"], &["--out-timeout", "15s"]);
    let mut held = Caller::connect(pair.near.address()).await;
    held.send(&request("GET", "/hold").bytes()).await;
    origin.holds().await;
    pair.far.signal(Signal::TERM);
    refused(pair.far.address()).await;
    let mut caller = Caller::connect(pair.near.address()).await;
    let reply = timeout(Duration::from_secs(5), caller.get("/meanwhile")).await.expect("an answer at once");
    assert!(matches!(reply.status, 200 | 502 | 503), "{reply:?}");
    origin.let_go(1);
    assert_eq!(held.reply().await.status, 200);
    assert_eq!(pair.far.ended().code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_two_outputs_dies_and_only_its_calls_in_flight_fail() {
    let origin = Origin::start().await;
    let mut fars = [0, 1].map(|_| Node::start("teleport://127.0.0.1:0", &origin.url, &[]));
    let near = Node::start("http://127.0.0.1:0", &format!("{},{}", fars[0].url(), fars[1].url()), &[]);
    let callers = 16;
    let load = Load::start(near.address(), callers);
    load.good(400).await;
    assert_eq!(load.counts().failed(), 0);
    fars[0].kill();
    // Several times the callers: whoever was in flight at the kill is through.
    load.good(10 * callers).await;
    let in_flight = load.counts().failed();
    assert!(in_flight <= callers, "{:?}", load.counts());
    load.good(1000).await;
    assert_eq!(load.counts().failed(), in_flight, "the other one serves everything: {:?}", load.counts());
    fars[0].start_again();
    fars[1].kill();
    load.until("the first one is found again", |counts| counts.good >= 1000).await;
    load.stop().await;
}

/// Takes connections and ends them, as a system does whose program is gone, until there were so many.
async fn hangs_up_on(mut count: usize) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("teleport://{}", listener.local_addr().expect("an address"));
    let over = tokio::spawn(async move {
        while count > 0 {
            drop(listener.accept().await.expect("a connection"));
            count -= 1;
        }
    });
    (url, over)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_was_gone_for_long_is_used_again_within_seconds() {
    let origins = [Origin::start().await, Origin::start().await];
    let (gone, mut over) = hangs_up_on(6).await;
    let far = Node::start("teleport://127.0.0.1:0", &origins[1].url, &[]);
    let near = Node::start("http://127.0.0.1:0", &format!("{gone},{}", far.url()), &["--wire", "framed"]);
    let mut caller = Caller::connect(near.address()).await;
    let asked = async {
        while !over.is_finished() {
            assert_eq!(caller.get("/meanwhile").await.status, 200);
        }
        (&mut over).await.expect("no panic");
    };
    timeout(PATIENCE, asked).await.expect("it is tried again and again");
    let _back = Node::start(&gone, &origins[0].url, &[]);
    let asked = async {
        while origins[0].requests().is_empty() {
            assert_eq!(caller.get("/again").await.status, 200);
        }
    };
    timeout(Duration::from_secs(10), asked).await.expect("five seconds and a quarter at the most");
    near.says(&format!("{gone} is back"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_least_loaded_output_gets_the_next_request() {
    let origins = [Origin::start().await, Origin::start().await];
    let fars = [0, 1].map(|at: usize| Node::start("teleport://127.0.0.1:0", &origins[at].url, &[]));
    let near = Node::start("http://127.0.0.1:0", &format!("{},{}", fars[0].url(), fars[1].url()), &[]);
    let mut held = Vec::new();
    for n in 0..6 {
        let mut caller = Caller::connect(near.address()).await;
        caller.send(&request("GET", &format!("/hold/{n}")).bytes()).await;
        tokio::select! {
            () = origins[0].holds() => {}
            () = origins[1].holds() => {}
        }
        held.push(caller);
    }
    assert_eq!(origins.each_ref().map(|origin| origin.requests().len()), [3, 3]);
    origins.iter().for_each(|origin| origin.let_go(3));
    for caller in &mut held {
        assert_eq!(caller.reply().await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_accepts_and_says_nothing_is_passed_over() {
    let origin = Origin::start().await;
    let fars = [0, 1].map(|_| Node::start("teleport://127.0.0.1:0", &origin.url, &[]));
    let outs = format!("{},{}", fars[0].url(), fars[1].url());
    let near = Node::start("http://127.0.0.1:0", &outs, &["--out-connect-timeout", "2s", "--out-timeout", "20s"]);
    // Frozen before anybody has spoken to it: its system accepts connections, and no hello comes.
    fars[0].signal(Signal::STOP);
    stopped(fars[0].id()).await;
    let mut caller = Caller::connect(near.address()).await;
    for n in 0..6 {
        let reply = caller.get(&format!("/{n}")).await;
        assert_eq!((reply.status, body(&reply)), (200, format!("GET /{n}")));
    }
    fars[0].signal(Signal::CONT);
}
