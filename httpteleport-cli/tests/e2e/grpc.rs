//! gRPC through nodes, with tonic at both ends: what its status says of an upstream.

use bytes::Bytes;
use rustix::process::Signal;
use tonic::Code;

use crate::grpc_server::{Caller, GrpcServer};
use crate::node::{Node, Pair};

/// Calls that are all on their way before the first one is answered.
const MANY: usize = 20;

/// How many failures in a row are too many.
const TOO_MANY: usize = 5;

/// Makes calls of both servers at once, and lets them be answered when each has too many to fail.
async fn burst(caller: &Caller, servers: &[GrpcServer; 2], streams: bool) -> Vec<Result<Bytes, Code>> {
    servers.iter().for_each(GrpcServer::hold);
    let calls: Vec<_> = (0..MANY).map(|_| tokio::spawn(caller.clone().call(streams))).collect();
    for server in servers {
        server.has(TOO_MANY).await;
    }
    servers.iter().for_each(GrpcServer::go_on);
    let mut answers = Vec::with_capacity(calls.len());
    for call in calls {
        answers.push(call.await.expect("no panic"));
    }
    answers
}

/// One server is unavailable, and whoever sends calls to both, as `near` does, leaves it alone.
async fn assert_ejects(near: &Node, servers: &[GrpcServer; 2], streams: bool) {
    let caller = Caller::connect(near.url()).await;
    servers[0].answer(Code::Unavailable);
    let answers = burst(&caller, servers, streams).await;
    assert!(answers.contains(&Err(Code::Unavailable)) && answers.contains(&Ok(Bytes::from("well"))), "{answers:?}");
    let line = near.tells("an ejection", |line| line.contains("fails too often").then(|| line.to_owned()));
    assert!(line.contains("the last time: it answers grpc-status 14; it gets nothing for "), "{line}");
    servers.iter().for_each(GrpcServer::forget);
    for _ in 0..MANY {
        assert_eq!(caller.clone().call(streams).await, Ok(Bytes::from("well")));
    }
    assert_eq!(servers.each_ref().map(GrpcServer::calls), [0, MANY], "it is left alone");
}

fn outs(servers: &[GrpcServer; 2]) -> String {
    servers.each_ref().map(|server| format!("h2c://{}", server.address)).join(",")
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_unavailable_is_left_alone_as_for_a_503() {
    for streams in [false, true] {
        let servers = [GrpcServer::start().await, GrpcServer::start().await];
        let near = Node::start("http://127.0.0.1:0", &outs(&servers), &[]);
        assert_ejects(&near, &servers, streams).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn so_it_is_behind_teleport() {
    for streams in [false, true] {
        let servers = [GrpcServer::start().await, GrpcServer::start().await];
        let far =
            |server: &GrpcServer| Node::start("teleport://127.0.0.1:0", &format!("h2c://{}", server.address), &[]);
        let fars = servers.each_ref().map(far);
        let near = Node::start("http://127.0.0.1:0", &format!("{},{}", fars[0].url(), fars[1].url()), &[]);
        assert_ejects(&near, &servers, streams).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_the_fault_of_a_call_or_its_program_ejects_nobody() {
    for code in [Code::NotFound, Code::Internal, Code::DeadlineExceeded] {
        let servers = [GrpcServer::start().await, GrpcServer::start().await];
        servers[0].answer(code);
        let mut near = Node::start("http://127.0.0.1:0", &outs(&servers), &[]);
        let answers = burst(&Caller::connect(near.url()).await, &servers, false).await;
        assert!(answers.iter().filter(|answer| **answer == Err(code)).count() >= TOO_MANY, "{answers:?}");
        near.signal(Signal::TERM);
        near.says("draining");
        assert!(near.ended().success() && !near.has_said("fails too often"), "{code:?}: {near:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nodes_refuse_and_fail_is_told_as_grpc_tells_it() {
    let server = GrpcServer::start().await;
    let out = format!("h2c://{}", server.address);
    let nobody = "h2c://127.0.0.1:1".to_owned();
    for (out, options, code, line) in [
        (&out, &["--in-max-body-size", "4"][..], Code::ResourceExhausted, Some("the request's body is too large")),
        (&out, &["--in-get-only"], Code::Unimplemented, Some("only GET is let in")),
        (&nobody, &[], Code::Unavailable, None),
    ] {
        let near = Node::start("http://127.0.0.1:0", out, options);
        assert_eq!(Caller::connect(near.url()).await.call(false).await, Err(code), "{options:?}");
        if let Some(line) = line {
            // After a status, or after "broken off" if the body came piece by piece.
            near.says(line);
        }
        // The same at the far node, behind a near one.
        let pair = Pair::with(out, &[], options);
        assert_eq!(Caller::connect(pair.near.url()).await.call(false).await, Err(code), "far: {options:?}");
        if line.is_some() && code == Code::ResourceExhausted {
            pair.far.says("the request's body is too large");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_is_not_answered_in_time_exceeds_its_deadline() {
    let server = GrpcServer::start().await;
    server.hold();
    let out = format!("h2c://{}", server.address);
    let near = Node::start("http://127.0.0.1:0", &out, &["--out-timeout", "200ms"]);
    assert_eq!(Caller::connect(near.url()).await.call(false).await, Err(Code::DeadlineExceeded));
    server.go_on();
}
