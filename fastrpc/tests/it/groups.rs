//! Groups of callers that have connections of their own. Time is virtual.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use fastrpc::codec::tlv::{Reply, Request, Tlv};
use fastrpc::{Call, Client, ClientBuilder, ErrorKind, ServerBuilder, Wire};
use testkit::pipe::duplex;
use tokio::time::{sleep, timeout};

use crate::support::*;

/// What each connection has carried: names of calls.
type Heard = Arc<Mutex<Vec<BTreeSet<String>>>>;

/// A port that notes on which connection a call comes; "slow" takes a second.
fn noted(builder: ServerBuilder<Tlv>) -> (Port, Heard) {
    let (server, heard) = (builder.build().unwrap(), Heard::default());
    let hears = heard.clone();
    let port = Port::new(move |end| {
        let (server, heard) = (server.clone(), hears.clone());
        let connection = heard.lock().unwrap().len();
        heard.lock().unwrap().push(BTreeSet::new());
        let handler = move |call: Call<Request>| {
            let name = String::from_utf8(call.into_request().name.to_vec()).unwrap();
            heard.lock().unwrap()[connection].insert(name.clone());
            async move {
                if name == "slow" {
                    sleep(secs(1)).await;
                }
                Reply::new(name)
            }
        };
        tokio::spawn(async move { server.serve_connection(end, None, Arc::new(handler)).await });
    });
    (port, heard)
}

fn auto() -> ClientBuilder<Tlv> {
    client().wire(Wire::Auto)
}

#[tokio::test(start_paused = true)]
async fn groups_never_share_a_connection() {
    for (ours, theirs) in [(Wire::Auto, Wire::Auto), (Wire::Auto, Wire::Classic), (Wire::Classic, Wire::Classic)] {
        let (port, heard) = noted(server().wire(theirs));
        let client = port.client(client().wire(ours).connections(2));
        client.call(ask("of none")).await.unwrap();
        let calls: Vec<_> = (0..60)
            .map(|n| {
                let (client, name) = (client.clone(), ["a", "b", "c", "of none"][n % 4]);
                tokio::spawn(async move {
                    let client = if name == "of none" { client } else { client.for_group(name).unwrap() };
                    client.call(ask(name)).await.unwrap();
                    client.send(&ask(name)).unwrap();
                })
            })
            .collect();
        for call in calls {
            call.await.unwrap();
        }
        settle().await;
        let heard = heard.lock().unwrap().clone();
        assert!(heard.iter().all(|names| names.len() <= 1), "{heard:?}");
        let connections = |name: &str| heard.iter().filter(|names| names.contains(name)).count();
        for name in ["a", "b", "c", "of none"] {
            assert_eq!(connections(name), 2, "{name} has a pool of two: {heard:?}");
        }
        assert_eq!(client.stats().calls, 121, "what groups do counts for the client that they are of");
        // What one of them has learnt of the peer, all know.
        assert_eq!(
            port.wires().matches('F').count(),
            if theirs == Wire::Auto { 8 } else { usize::from(ours == Wire::Auto) }
        );
    }
}

#[tokio::test(start_paused = true)]
async fn groups_are_bounded_and_idle_ones_forgotten() {
    let (port, _) = noted(server().wire(Wire::Auto));
    let client = port.client(auto().max_groups(2).idle_timeout(secs(30)));
    let slow = |key: &str| {
        let client = client.for_group(key).unwrap();
        tokio::spawn(async move { client.call(ask("slow")).await.unwrap() })
    };
    let busy = [slow("a"), slow("b")];
    settle().await;
    let error = client.for_group("c").err().unwrap();
    assert!(error.is_overload() && error.to_string().contains("raise max_groups"), "{error}");
    sleep(ms(10)).await;
    client.for_group("a").unwrap();
    for call in busy {
        call.await.unwrap();
    }
    // Without calls the one gives way that was not asked for the longest: its connection ends.
    client.for_group("c").unwrap().call(ask("x")).await.unwrap();
    timeout(secs(1), port.ways(1).0.ended()).await.expect("b is forgotten");
    client.for_group("a").unwrap().call(ask("x")).await.unwrap();
    assert_eq!(port.dialled(), 3, "a was not");
    // Whoever keeps its client goes on with it.
    let kept = client.for_group("a").unwrap();
    sleep(secs(31)).await;
    client.for_group("d").unwrap();
    kept.call(ask("x")).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_ends_a_client_ends_its_groups() {
    for drains in [false, true] {
        let (port, _) = noted(server().wire(Wire::Auto));
        let client = port.client(auto());
        let group = client.for_group("a").unwrap();
        let call = tokio::spawn({
            let group = group.clone();
            async move { group.call(ask("slow")).await }
        });
        settle().await;
        if drains {
            client.drain().await;
            assert_eq!(call.await.unwrap().unwrap().value, "slow");
        } else {
            client.close();
            assert!(call.await.unwrap().unwrap_err().is_closed());
        }
        assert!(group.call(ask("x")).await.unwrap_err().is_closed());
        assert!(client.for_group("b").err().unwrap().is_closed());
        timeout(secs(1), port.ways(0).0.ended()).await.expect("its connection ends");
    }
    let (port, _) = noted(server().wire(Wire::Auto));
    let client = port.client(auto());
    client.for_group("a").unwrap().call(ask("x")).await.unwrap();
    drop(client);
    timeout(secs(1), port.ways(0).0.ended()).await.expect("nobody has a client of it any more");
}

#[tokio::test(start_paused = true)]
async fn a_client_of_one_given_connection_has_no_groups() {
    let (here, there) = duplex();
    let serves = server().wire(Wire::Auto).build().unwrap();
    tokio::spawn(async move { serves.serve_connection(there, None, Arc::new(echo)).await });
    let (client, driver): (Client<Tlv>, _) = client().wire(Wire::Framed).handshake(here).await.unwrap();
    tokio::spawn(driver);
    let error = client.for_group("a").err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("use a client that dials"), "{error}");
    let error = auto().max_groups(0).connect("127.0.0.1:1").err().unwrap();
    assert!(error.to_string().contains("max_groups"), "{error}");
}
