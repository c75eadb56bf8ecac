//! Heap that an idle connection holds, both ends together.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use tokio::time::Instant;
use workloads::rows::{Carried, Row, Setting, Wire};
use workloads::transport;
use workloads::workload::{HttpCalls, IDLE, LazyCalls, TlvCalls, Workload};

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Enough that what only the first ones allocate is little.
const CONNECTIONS: usize = 64;
/// Above what it is by 5 %. Nearly all of it are the read buffers of both ends, of 64 KiB each; what is resident of them is
/// what was read, and `scale` tells that.
const ALLOWED_KIB: f64 = 148.0;

/// One test, as others beside it would allocate too.
#[test]
fn connections_that_have_made_a_call_hold_little() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    for (carried, kib) in [
        (Carried::Tlv, runtime.block_on(kib_each::<TlvCalls>(Carried::Tlv))),
        (Carried::Http, runtime.block_on(kib_each::<HttpCalls>(Carried::Http))),
        (Carried::Lazy, runtime.block_on(kib_each::<LazyCalls>(Carried::Lazy))),
    ] {
        assert!(kib < ALLOWED_KIB, "{carried:?}: {kib:.1} KiB a connection, {ALLOWED_KIB} are allowed");
    }
}

/// Over TCP, as the buffers of an in-memory pipe would be most of it.
async fn kib_each<W: Workload>(carried: Carried) -> f64 {
    let setting = Setting { wire: Wire::Tcp, workers: None };
    let row = Row { setting, connections: 1, ..Row::new(carried, "", 1) };
    let (dialer, listening) = transport::join(row.setting.wire).expect("a socket");
    let _counters = W::serve(&row, listening, None).expect("a server");
    let mut clients = Vec::new();
    let mut open = async |count: usize| {
        for _ in 0..count {
            let client = W::connect(&row, dialer.clone(), None).expect("a client");
            client.call(Instant::now() + IDLE).await.expect("a reply");
            clients.push(client);
        }
    };
    open(CONNECTIONS).await;
    let before = held();
    open(CONNECTIONS).await;
    (held() - before) / CONNECTIONS as f64 / 1024.0
}

/// Bytes allocated and not given back.
fn held() -> f64 {
    let stats = HEAP.stats();
    stats.bytes_allocated as f64 - stats.bytes_deallocated as f64
}
