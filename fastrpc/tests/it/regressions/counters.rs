//! What counts as what.

use fastrpc::codec::tlv::{Reply, Request};
use fastrpc::{Call, Dispatch, ErrorKind};

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn a_request_that_cannot_be_encoded_counts_as_an_error() {
    let (net, ends) = net();
    serve(server(), ends, echo);
    let client = net.client(client());
    let error = client.call(Request::new("", vec![0; 2 << 20])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encode);
    let stats = client.stats();
    assert_eq!((stats.calls, stats.errors, stats.replies), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_cannot_be_encoded_counts_as_an_error_and_no_reply() {
    for dispatch in [Dispatch::Inline, Dispatch::Spawn, Dispatch::Pipeline] {
        let (net, ends) = net();
        let (server, _) = serve(server().dispatch(dispatch), ends, |call: Call<Request>| async move {
            if call.request().name == "slow" {
                tokio::task::yield_now().await;
            }
            Reply::new(vec![0; 2 << 20])
        });
        let client = net.client(client());
        for name in ["at once", "slow"] {
            let reply = client.call(ask(name)).await.unwrap();
            assert!(reply.value.starts_with(b"unencodable"), "the caller is told");
        }
        let stats = server.stats();
        assert_eq!((stats.calls, stats.errors, stats.replies), (2, 2, 0), "{dispatch:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_orderly_close_of_an_idle_server_is_no_connection_error() {
    let (net, ends) = net();
    let (server, _) = serve(server().idle_timeout(secs(10)), ends, echo);
    let client = net.client(client());
    client.call(ask("")).await.unwrap();
    tokio::time::sleep(secs(20)).await;
    assert_eq!((client.stats().connection_errors, server.stats().connection_errors), (0, 0));
    client.call(ask("")).await.unwrap();
    assert_eq!(client.stats().connections, 2, "the server had closed");
}
