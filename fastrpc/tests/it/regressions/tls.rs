//! What TLS hides: progress, and the end.

use std::sync::Arc;

use fastrpc::codec::tlv::Request;
use fastrpc::{Call, Error, ErrorKind};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{over_tls, pair};
use crate::support::*;

#[tokio::test(start_paused = true)]
async fn a_tls_peer_that_reads_slowly_and_steadily_is_not_cut_off() {
    let (client, server) = over_tls();
    let patient = client.timeout(secs(3600)).read_timeout(secs(3600));
    let (client, driver, _serving, [way, _]) = pair(patient, server, echo).await;
    tokio::spawn(driver);
    client.call(ask("warm")).await.unwrap();
    way.choke();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(secs(1)).await;
            way.allow(2048);
        }
    });
    let reply = client.call(Request::new("", vec![7; 100_000])).await;
    assert_eq!(reply.map(|reply| reply.value.len()).map_err(|error| error.to_string()), Ok(100_000));
}

#[tokio::test(start_paused = true)]
async fn a_tls_peer_that_does_not_read_is_cut_off() {
    let (client, server) = over_tls();
    let (client, driver, _serving, [way, _]) = pair(client.write_timeout(secs(5)), server, echo).await;
    tokio::spawn(driver);
    client.call(ask("warm")).await.unwrap();
    way.choke();
    let start = Instant::now();
    let error = client.call(Request::new("", vec![7; 100_000])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection);
    assert!((secs(5)..=ms(5002)).contains(&start.elapsed()), "after {:?}", start.elapsed());
}

/// Ends one way of a connection with a bare end while a call runs; how both sides tell it.
async fn bare_end(tls: bool, to_server: bool) -> [String; 3] {
    let (client, server) = if tls { over_tls() } else { (client(), server()) };
    let go_on = Arc::new(Notify::new());
    let gate = go_on.clone();
    let handler = move |call: Call<Request>| {
        let gate = gate.clone();
        async move {
            if call.request().name == "slow" {
                gate.notified().await;
            }
            echo(call).await
        }
    };
    let (client, driver, serving, [way, back]) = pair(client, server, handler).await;
    let way = if to_server { way } else { back };
    let driver = tokio::spawn(driver);
    client.call(ask("warm")).await.unwrap();
    let mut call = client.call(ask("slow"));
    assert!(poll_once(&mut call).is_pending());
    settle().await;
    way.end();
    settle().await;
    go_on.notify_one();
    let reply = call.await.map(|reply| reply.value);
    settle().await;
    drop(client);
    let (driver, serving) = (driver.await.unwrap(), serving.await.unwrap());
    // The words of a cause may differ; that there is one, and what kind, may not.
    let told = |ended: Result<(), Error>| format!("{:?}", ended.map_err(|error| (error.kind(), error.to_string())));
    let reply = reply.map_err(|error| (error.kind(), error.to_string()));
    [format!("{reply:?}"), told(driver), if to_server { told(serving) } else { String::new() }]
}

#[tokio::test(start_paused = true)]
async fn an_end_without_close_notify_is_an_orderly_end() {
    let [reply, driver, serving] = bare_end(true, true).await;
    assert_eq!(reply, "Ok(b\"slow\")", "what had begun is finished");
    assert_eq!(serving, "Ok(())");
    assert_eq!(driver, bare_end(false, true).await[1]);
    assert_eq!(bare_end(true, false).await, bare_end(false, false).await, "at the client");
}
