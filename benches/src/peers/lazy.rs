//! `httpteleport` with its own types, whose heads stay text until asked for.

use std::future::ready;

use bytes::Bytes;
use fastrpc::Compression;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, StatusCode, Uri};
use httpteleport::{Lazy, Limits, lazy};
use tokio::time::Instant;

use super::BoxError;
use super::caller::{Caller, Callers};
use super::workload::{HOUR, REPLY, listen};

/// One connection, which all callers share. Request and response are made once, which these types allow.
pub(super) async fn start(callers: usize) -> Result<Callers<LazyHttp>, BoxError> {
    let (listener, address) = listen().await?;
    let reply = lazy::Response::new(StatusCode::OK)
        .with_header(&CONTENT_TYPE, &HeaderValue::from_static("text/plain; charset=utf-8"))
        .with_body(Bytes::from_static(REPLY.as_bytes()));
    let server = httpteleport::Server::lazy(Limits::default()).compression(Compression::None).build()?;
    tokio::spawn(server.serve(listener, move |_: lazy::Request| ready(reply.clone())).into_future());
    let client = httpteleport::Client::lazy(Limits::default()).compression(Compression::None).connect(&address)?;
    let request = lazy::Request::new(Method::GET, &Uri::from_static("http://foobar/foo/bar"));
    Ok(Callers(vec![LazyHttp { client, request, deadline: Instant::now() + HOUR }; callers]))
}

/// A caller with its handle of the client.
#[derive(Clone)]
pub(super) struct LazyHttp {
    client: httpteleport::Client<Lazy>,
    request: lazy::Request,
    deadline: Instant,
}

impl Caller for LazyHttp {
    type Value = Bytes;

    async fn call(&mut self) -> Result<Bytes, BoxError> {
        let response = self.client.call(self.request.clone()).deadline(self.deadline).await?;
        if response.status() != StatusCode::OK || response.header("content-type").is_none() {
            return Err(format!("the response is {response:?}").into());
        }
        Ok(response.into_body().into_bytes())
    }
}
