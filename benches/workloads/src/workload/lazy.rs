//! HTTP over httpteleport, heads read on demand.

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, StatusCode, Uri};
use httpteleport::lazy::{Request, Response};
use httpteleport::{Client, Lazy, Server};
use tokio::time::Instant;

use super::http::limits;
use super::{Caller, Counters, Tls, Workload, client_settings, server_settings, text};
use crate::rows::{Payload, Row};
use crate::transport::{Dialer, Listening};

/// A client that sends one request over and over, as the benchmarks of the Go original do, or makes it anew for each call.
#[derive(Clone)]
pub struct LazyCalls {
    client: Client<Lazy>,
    made: Request,
    built: bool,
    body: Bytes,
    reply: usize,
}

impl Workload for LazyCalls {
    fn serve(row: &Row, listening: Listening, tls: Option<&Tls>) -> anyhow::Result<Counters> {
        let server = server_settings!(Server::lazy(limits(row)), row, tls).build()?;
        let (payload, built) = (row.payload, row.built);
        let small = text(row.payload.reply());
        let made = response(small.clone());
        let handler = move |request: Request| {
            std::future::ready(match payload {
                Payload::Small | Payload::Down(_) if built => response(small.clone()),
                Payload::Small | Payload::Down(_) => made.clone(),
                Payload::Echo(_) => made.clone().with_body(request.into_body()),
            })
        };
        tokio::spawn(server.serve(listening, handler).into_future());
        Ok(Box::new(move || server.stats()))
    }

    fn connect(row: &Row, dialer: Dialer, tls: Option<&Tls>) -> anyhow::Result<Self> {
        let client = client_settings!(Client::lazy(limits(row)), row, tls);
        let client = client.connect_with("bench", move || dialer.clone().dial())?;
        let (body, reply) = match row.payload {
            Payload::Small | Payload::Down(_) => (Bytes::new(), row.payload.reply()),
            Payload::Echo(bytes) => (text(bytes), bytes),
        };
        Ok(Self { client, made: request(body.clone()), built: row.built, body, reply })
    }

    fn stats(&self) -> fastrpc::Stats {
        self.client.stats()
    }
}

impl Caller for LazyCalls {
    async fn call(&self, deadline: Instant) -> anyhow::Result<()> {
        let request = if self.built { request(self.body.clone()) } else { self.made.clone() };
        let reply = self.client.call(request).deadline(deadline).await.context("an HTTP call failed")?;
        let (got, status) = (reply.body().len(), reply.status());
        ensure!(got == self.reply, "a reply {status} of {got} bytes came instead of {}", self.reply);
        Ok(())
    }
}

fn request(body: Bytes) -> Request {
    let uri = Uri::from_static("http://foobar/foo/bar");
    if body.is_empty() { Request::new(Method::GET, &uri) } else { Request::new(Method::POST, &uri).with_body(body) }
}

fn response(body: Bytes) -> Response {
    Response::new(StatusCode::OK)
        .with_header(&CONTENT_TYPE, &HeaderValue::from_static("text/plain; charset=utf-8"))
        .with_body(body)
}
