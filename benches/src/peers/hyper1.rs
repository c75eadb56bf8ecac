//! hyper's HTTP/1.1: a connection for each caller, kept alive, as HTTP/1.1 cannot share one.

use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use super::BoxError;
use super::caller::{Caller, Callers};
use super::workload::{Get, check_head, connect, listen, response};

/// Settings that cost it work are off: no timeout of heads (no timer is given), no `Date`, which ours does not write.
/// Head and body are copied into one buffer, which for small bodies is cheaper than a vectored write.
pub(super) async fn start(callers: usize) -> Result<Callers<Http1>, BoxError> {
    let (listener, address) = listen().await?;
    let mut all = Vec::with_capacity(callers);
    for _ in 0..callers {
        let (near, far) = connect(&listener, &address).await?;
        let serving = server::Builder::new()
            .writev(false)
            .auto_date_header(false)
            .serve_connection(TokioIo::new(far), service_fn(answer));
        tokio::spawn(serving);
        let (sender, connection) = client::handshake(TokioIo::new(near)).await?;
        tokio::spawn(connection);
        all.push(Http1 { sender, get: Get::with_host_header() });
    }
    Ok(Callers(all))
}

/// The service of both versions.
pub(super) async fn answer(_: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    Ok(response())
}

/// The body of a response of either version. One that comes in one piece, as here, is not copied.
pub(super) async fn whole(response: Response<Incoming>) -> Result<Bytes, BoxError> {
    check_head(&response)?;
    let mut body = response.into_body();
    let mut whole = Bytes::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        whole = if whole.is_empty() { data } else { [whole, data].concat().into() };
    }
    Ok(whole)
}

/// A caller with its connection.
pub(super) struct Http1 {
    sender: client::SendRequest<Empty<Bytes>>,
    get: Get,
}

impl Caller for Http1 {
    type Value = Bytes;

    async fn call(&mut self) -> Result<Bytes, BoxError> {
        self.sender.ready().await?;
        whole(self.sender.send_request(self.get.request(Empty::new())).await?).await
    }
}
