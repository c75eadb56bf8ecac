//! The workload for moments, in virtual time.

use std::time::Duration;

use fastrpc::wire::framed::codec::RecordCodec;
use soak::{Ground, Plan, run};
use testkit::relay::{Leg, RelayOptions};

async fn soak(seed: u64, codec: RecordCodec) {
    let plan = Plan {
        seed,
        time: Duration::from_secs(20),
        bytes: 3_000_000,
        stripe: 500_000,
        callers: 20,
        turmoil: 500..3_000,
        codec,
        growth: None,
        tell: Duration::from_secs(5),
    };
    let leg = Leg { delay: Duration::from_millis(75), ..Leg::default() };
    let report = run(&plan, Ground::memory(RelayOptions::both(leg)), |_| {}).await.expect("it runs");
    assert_eq!(report.fault_count, 0, "{report}\n{}", report.faults.join("\n"));
    assert_eq!((report.down, report.up), (plan.bytes, plan.bytes), "{report}");
    assert!(report.calls > 500 && report.dropped > 50 && report.drains > 0 && report.cuts > 0, "{report}");
}

#[tokio::test(start_paused = true)]
async fn moments_leave_nothing_with_zstd() {
    soak(1, RecordCodec::Zstd).await;
}

#[tokio::test(start_paused = true)]
async fn moments_leave_nothing_without_compression() {
    soak(2, RecordCodec::None).await;
}
