//! One test for each fault that a review has found, named by the rule it broke.

mod batches;
mod counters;
mod retries;
mod serving;
mod times;
mod tls;
mod turns;

use std::sync::Arc;
use std::time::Duration;

use fastrpc::codec::tlv::{Request, Tlv};
use fastrpc::{Client, ClientBuilder, Driver, Error, Handler, ServerBuilder};
use testkit::pipe::{Way, duplex};
use testkit::tls::Ca;
use tokio::task::JoinHandle;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::support::*;

type Ended = JoinHandle<Result<(), Error>>;

/// Moves the paused clock without letting any other task run: time that a task takes to compute.
fn compute_for(time: Duration) {
    assert!(poll_once(&mut Box::pin(tokio::time::advance(time))).is_pending());
}

/// A client and a server on one pipe: the client, its driver, the server's end, and the ways to the server and back.
async fn pair(
    client: ClientBuilder<Tlv>,
    server: ServerBuilder<Tlv>,
    handler: impl Handler<Tlv>,
) -> (Client<Tlv>, Driver<Tlv>, Ended, [Way; 2]) {
    let (near, far) = duplex();
    let ways = [near.outgoing(), near.incoming()];
    let server = server.build().unwrap();
    let serving = tokio::spawn(async move { server.serve_connection(far, None, Arc::new(handler)).await });
    let (client, driver) = client.handshake(near).await.unwrap();
    (client, driver, serving, ways)
}

/// Settings that speak TLS with each other.
fn over_tls() -> (ClientBuilder<Tlv>, ServerBuilder<Tlv>) {
    let ca = Ca::new();
    let name = ServerName::try_from("localhost").unwrap();
    (client().tls(ca.client_config(), name), server().tls(ca.issue(&["localhost"]).server_config()))
}

/// Makes calls of tasks of their own, all at once, and waits for the replies.
async fn all(client: &Client<Tlv>, requests: impl IntoIterator<Item = Request>) {
    let call = |request| {
        let client = client.clone();
        tokio::spawn(async move { client.call(request).await })
    };
    let calls: Vec<_> = requests.into_iter().map(call).collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
}
