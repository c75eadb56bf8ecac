//! Ten thousand calls at once, half of them dropped at random: everything returns.

use std::sync::Arc;

use fastrpc::codec::tlv::{Reply, Request, Tlv};
use fastrpc::{Call, Client, Dispatch};
use tokio::sync::Semaphore;

use crate::support::*;

const CALLS: usize = 10_000;

/// Makes the calls, drops half of them while replies trickle in, and checks the rest.
async fn round(client: &Client<Tlv>, gate: &Semaphore, random: &mut fastrand::Rng) {
    let names: Vec<String> = (0..CALLS).map(|n| format!("token {n}")).collect();
    let mut calls: Vec<_> = names.iter().map(|name| Some(client.call(ask(name)))).collect();
    for call in calls.iter_mut().flatten() {
        assert!(poll_once(call).is_pending());
        if random.u8(..) == 0 {
            settle().await; // Batches end anywhere.
        }
    }
    assert_eq!(client.pending(), CALLS);
    assert!(client.call(ask("one too many")).await.unwrap_err().is_overload());
    for call in &mut calls {
        if random.bool() {
            *call = None;
        }
        if random.u8(..) == 0 {
            gate.add_permits(random.usize(..100));
            settle().await;
        }
    }
    gate.add_permits(2 * CALLS);
    for (call, name) in calls.into_iter().zip(names) {
        if let Some(call) = call {
            assert_eq!(call.await.unwrap().value, name);
        }
    }
    // The replies to dropped calls are still to come; those that were never sent have none.
    settle().await;
    tokio::time::sleep(ms(10)).await;
    gate.forget_permits(usize::MAX);
    assert_eq!(client.pending(), 0);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_calls_half_of_them_dropped() {
    for dispatch in [Dispatch::Inline, Dispatch::Pipeline] {
        let mut random = fastrand::Rng::with_seed(0x7e1e);
        let gate = Arc::new(Semaphore::new(0));
        let handler = {
            let gate = gate.clone();
            move |call: Call<Request>| {
                let gate = gate.clone();
                async move {
                    gate.acquire().await.unwrap().forget();
                    Reply::new(call.into_request().name)
                }
            }
        };
        let (net, ends) = net();
        let (server, _serving) = serve(server().dispatch(dispatch).max_unread(4096), ends, handler);
        let client = net.client(client().max_pending(CALLS).max_abandoned(CALLS * 2 / 3));
        // All was sent before anything is dropped, so that each round abandons half. Were the slots not freed by the late
        // replies, the second round would pass the limit and cost the connection.
        client.send(&ask("opens the connection")).unwrap();
        gate.add_permits(1);
        settle().await;
        for _ in 0..3 {
            round(&client, &gate, &mut random).await;
        }
        assert_eq!(client.stats().connections, 1);
        assert!(client.stats().late_replies > 10_000, "{}", client.stats().late_replies);
        assert_eq!(server.stats().pending, 0);
    }
}
