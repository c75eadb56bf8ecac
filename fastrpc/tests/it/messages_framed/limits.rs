//! How many calls and bytes are admitted, and who waits.

use super::*;

#[tokio::test(start_paused = true)]
async fn as_many_calls_are_admitted_as_may_and_every_end_gives_its_place_back() {
    for connections in [1, 3] {
        let (server, port, handler) = scene(serves());
        let client = port.client(framed().max_pending(3).connections(connections).max_undecoded(50_000));
        let full = async |what: &str| {
            let calls: Vec<_> = (0..3).map(|_| spawned(&client, ask("slow"))).collect();
            settle().await;
            assert_eq!(client.pending(), 3, "{what}");
            let error = client.call(ask("over")).await.unwrap_err();
            assert!(error.is_overload() && error.may_retry(), "{what}: {error:?}");
            assert!(client.send(&ask("over")).unwrap_err().is_overload());
            handler.runs(3).await;
            handler.0.gate.add_permits(3);
            for call in calls {
                call.await.unwrap().unwrap();
            }
            assert_eq!(client.pending(), 0, "{what}");
        };
        full("at first").await;
        let ends: [(&str, &dyn Fn() -> Request); 4] = [
            ("an error", &|| Request::new("", vec![0; 2 << 20])),
            ("a panic", &|| ask("panic")),
            ("a reply that is refused", &|| Request::new("", vec![0; 60_000])),
            ("a long reply", &|| Request::new("", vec![0; 40_000])),
        ];
        for (what, request) in ends {
            quiet();
            let _ = client.call(request()).await;
            full(what).await;
        }
        let mut waits = client.call(ask("never"));
        assert!(poll_once(&mut waits).is_pending());
        handler.runs(1).await;
        drop(waits);
        handler.runs(0).await;
        full("it was dropped while it waited").await;
        assert!(client.call(ask("never")).timeout(ms(5)).await.unwrap_err().is_timeout());
        handler.runs(0).await;
        full("its time was over").await;
        let lost = spawned(&client, ask("never"));
        handler.runs(1).await;
        (0..port.dialled()).for_each(|n| port.cut(n));
        assert_eq!(lost.await.unwrap().unwrap_err().kind(), ErrorKind::Connection);
        handler.runs(0).await;
        let mut opening: Vec<_> = (0..3).map(|_| client.call(ask("opening"))).collect();
        for call in &mut opening {
            assert!(poll_once(call).is_pending());
        }
        assert_eq!(client.pending(), 3);
        drop(opening);
        full("they were dropped while the connection was opened").await;
        assert_eq!(server.stats().pending, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn waiting_is_fair_and_a_cancelled_waiter_does_not_lose_the_turn() {
    let (client, _port, handler) = open(framed().max_pending(1).at_limit(AtLimit::Wait), serves()).await;
    let first = spawned(&client, ask("slow"));
    handler.runs(1).await;
    let mut calls: Vec<_> = ["cancelled", "a", "b", "c"].map(|name| client.call(ask(name))).into_iter().collect();
    for call in &mut calls {
        assert!(poll_once(call).is_pending());
    }
    assert_eq!(client.pending(), 1);
    let error = client.call(ask("late")).timeout(ms(10)).await.unwrap_err();
    assert!(error.is_timeout() && error.may_retry());
    handler.0.gate.add_permits(1);
    first.await.unwrap().unwrap();
    // The turn has been given to the one that goes away now; it must reach the next.
    drop(calls.remove(0));
    let mut barging = client.call(ask("barging"));
    assert!(poll_once(&mut barging).is_pending());
    for call in calls {
        call.await.unwrap();
    }
    barging.await.unwrap();
    assert_eq!(handler.0.begun.lock().unwrap()[2..], ["a", "b", "c", "barging"]);
    assert_eq!(client.pending(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_newer_call_takes_the_place_of_the_oldest_unsent_one() {
    let (client, port, handler) = open(framed().max_pending(5).at_limit(AtLimit::DropOldest), serves()).await;
    let filling = stop(&client, &port);
    settle().await;
    let [oldest, old] = ["oldest", "old"].map(|name| spawned(&client, ask(name)));
    settle().await;
    let newer = spawned(&client, ask("newer"));
    let error = oldest.await.unwrap().unwrap_err();
    assert!(error.is_overload() && error.may_retry(), "{error:?}");
    assert_eq!((client.pending(), client.stats().overloads, client.stats().errors), (5, 1, 0));
    port.ways(0).0.allow_all();
    for call in filling.into_iter().chain([old, newer]) {
        call.await.unwrap().unwrap();
    }
    assert_eq!(handler.begun("oldest"), 0);
    // All are sent: there is none to take the place of.
    let sent: Vec<_> = (0..5).map(|_| spawned(&client, ask("slow"))).collect();
    handler.runs(5).await;
    assert!(client.call(ask("newest")).await.unwrap_err().is_overload());
    handler.0.gate.add_permits(5);
    for call in sent {
        call.await.unwrap().unwrap();
    }
    assert_eq!(client.pending(), 0);
}

/// So it is while there is no connection.
#[tokio::test(start_paused = true)]
async fn a_newer_call_takes_the_place_of_the_oldest_that_waits_for_a_connection() {
    for wire in [Wire::Framed, Wire::Auto] {
        let (_, port, _) = scene(serves());
        let dial = port.dial();
        let builder = framed().wire(wire).max_pending(2).at_limit(AtLimit::DropOldest);
        let slow = move || {
            let dialled = dial();
            async move {
                sleep(secs(1)).await;
                dialled.await
            }
        };
        let client = builder.connect_with("port", slow).unwrap();
        let calls: Vec<_> = (0..4).map(|n| spawned(&client, ask(&n.to_string()))).collect();
        settle().await;
        assert_eq!(client.pending(), 2);
        let ends: Vec<_> = futures(calls).await.into_iter().map(|end| end.map_err(|error| error.kind())).collect();
        let expected = [Err(ErrorKind::Overload), Err(ErrorKind::Overload), Ok("2".into()), Ok("3".into())];
        assert_eq!(ends.into_iter().map(|end| end.map(|reply| reply.value)).collect::<Vec<_>>(), expected);
        assert_eq!((client.pending(), client.stats().overloads, client.stats().errors), (0, 2, 0));
    }
}

async fn futures<T>(tasks: Vec<tokio::task::JoinHandle<T>>) -> Vec<T> {
    let mut ends = Vec::new();
    for task in tasks {
        ends.push(task.await.unwrap());
    }
    ends
}

#[tokio::test(start_paused = true)]
async fn unsent_bytes_are_limited_and_waited_for() {
    for at_limit in [AtLimit::Fail, AtLimit::Wait] {
        let (client, port, handler) = open(framed().max_unsent(1000).at_limit(at_limit), serves()).await;
        let filling = stop(&client, &port);
        settle().await;
        let held = spawned(&client, Request::new("held", vec![0; 2000]));
        settle().await;
        let over = spawned(&client, ask("over"));
        assert!(client.send(&ask("over")).unwrap_err().is_overload());
        settle().await;
        if at_limit == AtLimit::Wait {
            let error = client.call(ask("late")).timeout(ms(20)).await.unwrap_err();
            assert!(error.is_timeout() && error.may_retry(), "{error:?}");
        }
        port.ways(0).0.allow_all();
        held.await.unwrap().unwrap();
        match at_limit {
            AtLimit::Wait => assert_eq!(over.await.unwrap().unwrap().value, "over"),
            _ => assert!(over.await.unwrap().unwrap_err().is_overload()),
        }
        futures(filling).await;
        assert_eq!((client.pending(), handler.begun("late")), (0, 0));
        client.send(&ask("room again")).unwrap();
    }
}
