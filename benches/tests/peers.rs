//! Every row of the peers answers, and with what it should.

use std::alloc::System;
use std::time::Duration;

use benches::measure::Effort;
use benches::peers::measure::{measure, replies};
use benches::peers::rows::{PEERS, Row, chosen};
use benches::peers::table;
use benches::peers::workload::REPLY;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[test]
fn every_caller_of_every_peer_gets_the_reply() {
    for peer in PEERS {
        let row = Row { peer, callers: 3 };
        let replies = replies(row).unwrap();
        let expected = if peer.floor.is_some() { 3 } else { 0 };
        assert_eq!(replies.len(), expected, "{}", row.name());
        for reply in replies {
            assert_eq!(String::from_utf8_lossy(&reply), REPLY, "{}", row.name());
        }
    }
}

#[test]
fn a_run_measures_every_row_and_holds_it_against_ours_and_the_floor() {
    let rows = chosen(&[2], "", false);
    assert_eq!(rows.len(), PEERS.len());
    let run = measure(&rows, Effort { rounds: 2, round: Duration::from_millis(5) }, Some(HEAP)).unwrap();
    for (measured, line) in run.iter().zip(table::lines(&run)) {
        let (name, peer) = (measured.row.name(), measured.row.peer);
        assert!(measured.ns.iter().all(|ns| (10.0..1e8).contains(ns)), "{name}: {:?}", measured.ns);
        let json: serde_json::Value = serde_json::from_str(&line.json()).unwrap();
        assert_eq!(json["name"], name);
        assert!(json["allocs_per_op"].is_number(), "{name}");
        assert_eq!(json["to_ours"].is_object(), peer.ours.is_some(), "{name}");
        assert_eq!(json["to_floor"].is_object(), peer.floor.is_some(), "{name}");
        assert!(line.text().starts_with(&name));
    }
}

#[test]
fn a_choice_brings_what_it_is_held_against() {
    let names = |callers: &[usize], prefix| chosen(callers, prefix, false).iter().map(Row::name).collect::<Vec<_>>();
    assert_eq!(names(&[1, 10], "http/hyper2/10"), ["http/httpteleport/10", "http/hyper2/10", "floor/http/10"]);
    assert_eq!(
        names(&[1], "rpc/tarpc"),
        ["rpc/fastrpc-postcard/1", "rpc/fastrpc-bincode/1", "rpc/tarpc-bincode/1", "rpc/tarpc-json/1", "floor/typed/1"]
    );
    assert!(names(&[1], "grpc").is_empty());
    assert_eq!(chosen(&[1], "rpc/tarpc", true).len(), 2);
}
