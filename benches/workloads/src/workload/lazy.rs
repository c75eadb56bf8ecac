//! HTTP over httpteleport, heads read on demand.

use anyhow::{Context as _, ensure};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, StatusCode, Uri};
use httpteleport::lazy::{Request, Response};
use httpteleport::{Client, Lazy, Server};
use tokio::time::Instant;

use super::http::limits;
use super::{Caller, Counters, REPLY_BYTES, Tls, Workload, client_settings, server_settings};
use crate::rows::{Payload, Row};
use crate::transport::{Dialer, Listening};

/// A client that sends one request over and over, as the benchmarks of the Go original do.
#[derive(Clone)]
pub struct LazyCalls {
    client: Client<Lazy>,
    request: Request,
    reply: usize,
}

impl Workload for LazyCalls {
    fn serve(row: &Row, listening: Listening, tls: Option<&Tls>) -> anyhow::Result<Counters> {
        let server = server_settings!(Server::lazy(limits(row)), row, tls).build()?;
        let payload = row.payload;
        let reply = Response::new(StatusCode::OK)
            .with_header(&CONTENT_TYPE, &HeaderValue::from_static("text/plain; charset=utf-8"))
            .with_body(vec![b'x'; REPLY_BYTES]);
        let handler = move |request: Request| {
            std::future::ready(match payload {
                Payload::Small => reply.clone(),
                Payload::Echo(_) => reply.clone().with_body(request.into_body()),
            })
        };
        tokio::spawn(server.serve(listening, handler).into_future());
        Ok(Box::new(move || server.stats()))
    }

    fn connect(row: &Row, dialer: Dialer, tls: Option<&Tls>) -> anyhow::Result<Self> {
        let client = client_settings!(Client::lazy(limits(row)), row, tls);
        let client = client.connect_with("bench", move || dialer.clone().dial())?;
        let uri = Uri::from_static("http://foobar/foo/bar");
        let (request, reply) = match row.payload {
            Payload::Small => (Request::new(Method::GET, &uri), REPLY_BYTES),
            Payload::Echo(bytes) => (Request::new(Method::POST, &uri).with_body(vec![b'x'; bytes]), bytes),
        };
        Ok(Self { client, request, reply })
    }

    fn stats(&self) -> fastrpc::Stats {
        self.client.stats()
    }
}

impl Caller for LazyCalls {
    async fn call(&self, deadline: Instant) -> anyhow::Result<()> {
        let reply = self.client.call(self.request.clone()).deadline(deadline).await.context("an HTTP call failed")?;
        let (got, status) = (reply.body().len(), reply.status());
        ensure!(got == self.reply, "a reply {status} of {got} bytes came instead of {}", self.reply);
        Ok(())
    }
}
