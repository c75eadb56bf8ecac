//! HTTP over httpteleport.

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt as _;
use httpteleport::{Body, Client, Limits, Server};
use tokio::time::Instant;

use super::{Caller, Counters, Tls, Workload, client_settings, server_settings, text};
use crate::rows::{Payload, Row};
use crate::transport::{Dialer, Listening};

/// A client that makes its request anew for each call, as a program does.
#[derive(Clone)]
pub struct HttpCalls {
    client: Client,
    body: Bytes,
    reply: usize,
    /// The reply's body is read as it comes.
    streams: bool,
}

impl Workload for HttpCalls {
    fn serve(row: &Row, listening: Listening, tls: Option<&Tls>) -> anyhow::Result<Counters> {
        let server = Server::builder(limits(row))
            .wire(row.spoken())
            .framed_compression(row.framed.unwrap_or_default())
            .ping(None);
        let server = server_settings!(server, row, tls).build()?;
        let (small, payload) = (text(row.payload.reply()), row.payload);
        let handler = move |request: Request<Body>| {
            let body = match payload {
                Payload::Small | Payload::Down(_) => small.clone(),
                Payload::Echo(_) => request.into_body().into_bytes(),
            };
            let mut response = Response::new(Body::from(body));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
            std::future::ready(response)
        };
        tokio::spawn(server.serve(listening, handler).into_future());
        Ok(Box::new(move || server.stats()))
    }

    fn connect(row: &Row, dialer: Dialer, tls: Option<&Tls>) -> anyhow::Result<Self> {
        let client = Client::builder(limits(row))
            .wire(row.spoken())
            .framed_compression(row.framed.unwrap_or_default())
            .ping(None);
        let client = client_settings!(client, row, tls);
        let client = client.connect_with("bench", move || dialer.clone().dial())?;
        let body = match row.payload {
            Payload::Small | Payload::Down(_) => Bytes::new(),
            Payload::Echo(bytes) => text(bytes),
        };
        let streams = row.framed.is_some() && matches!(row.payload, Payload::Down(_));
        Ok(Self { client, body, reply: row.payload.reply(), streams })
    }

    fn stats(&self) -> fastrpc::Stats {
        self.client.stats()
    }
}

impl Caller for HttpCalls {
    async fn call(&self, deadline: Instant) -> anyhow::Result<()> {
        let mut request = Request::new(Body::empty());
        if !self.body.is_empty() {
            *request.method_mut() = Method::POST;
            *request.body_mut() = Body::from(self.body.clone());
        }
        *request.uri_mut() = Uri::from_static("http://foobar/foo/bar");
        let (got, status) = if self.streams {
            self.read(request, deadline).await?
        } else {
            let reply = self.client.call(request).deadline(deadline).await.context("an HTTP call failed")?;
            (reply.body().len(), reply.status())
        };
        ensure!(got == self.reply, "a reply {status} of {got} bytes came instead of {}", self.reply);
        Ok(())
    }
}

impl HttpCalls {
    /// How much came of a body, read as it came, and the status.
    async fn read(&self, request: Request<Body>, deadline: Instant) -> anyhow::Result<(usize, StatusCode)> {
        let reply = self.client.stream(request).deadline(deadline).await.context("an HTTP call failed")?;
        let (status, mut body, mut got) = (reply.status(), reply.into_body(), 0);
        while let Some(frame) = body.frame().await.transpose()? {
            got += frame.data_ref().map_or(0, Bytes::len);
        }
        Ok((got, status))
    }
}

pub(super) fn limits(row: &Row) -> Limits {
    match row.payload {
        Payload::Small => Limits::default(),
        Payload::Echo(bytes) | Payload::Down(bytes) => {
            Limits::default().with_max_body(bytes.max(Limits::default().max_body()))
        }
    }
}
