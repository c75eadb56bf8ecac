//! The same calls on framed connections: all that this crate uses of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, bail, ensure};
use bytes::Bytes;
use fastrpc::internals::session::{self, Accepted, Connected, Counted, Incoming, Options, SendBody, Serve};
use fastrpc::{Compression, Listener as _, Protocol};
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Collected, Full};
use httpteleport::Limits;
use httpteleport::stream::{self, StreamClient, service};
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::{Caller, Counters, Tls, Workload, text};
use crate::rows::{Payload, Row};
use crate::transport::{Dialer, Listening};

/// Every setting at its default but the compression; and nobody is taken for gone between the rounds of other rows.
fn options(row: &Row, counted: Counted) -> Options {
    Options { codec: row.framed.unwrap_or_default(), counted, ping: None, ..Options::default() }
}

fn protocol() -> anyhow::Result<Protocol> {
    Ok(Protocol::new("bench", 0)?)
}

/// Accepts connections for as long as the runtime runs; `serve` makes what answers each one's calls.
fn accept<S: Serve>(
    row: &Row,
    mut listening: Listening,
    serve: impl Fn() -> S + Send + 'static,
) -> anyhow::Result<Counters> {
    let (counted, protocol) = (Counted::default(), protocol()?);
    let options = options(row, counted.clone());
    tokio::spawn(async move {
        while let Ok((io, _)) = listening.accept().await {
            let accepted =
                session::accept(Box::new(io), &protocol, Compression::None, options.clone(), None, serve()).await;
            if let Ok(Accepted::Framed(driver)) = accepted {
                tokio::spawn(driver);
            }
        }
    });
    Ok(Box::new(move || counted.stats()))
}

/// Connections of a client, opened by its first call; each clone of it keeps to one of them.
struct Connections {
    opened: Arc<OnceCell<Vec<session::Caller>>>,
    clones: Arc<AtomicUsize>,
    number: usize,
    wanted: usize,
    dialer: Dialer,
    options: Options,
    counted: Counted,
}

impl Clone for Connections {
    fn clone(&self) -> Self {
        Self {
            opened: self.opened.clone(),
            clones: self.clones.clone(),
            number: self.clones.fetch_add(1, Ordering::Relaxed),
            wanted: self.wanted,
            dialer: self.dialer.clone(),
            options: self.options.clone(),
            counted: self.counted.clone(),
        }
    }
}

impl Connections {
    fn new(row: &Row, dialer: Dialer) -> Self {
        let counted = Counted::default();
        let options = options(row, counted.clone());
        let (opened, clones) = Default::default();
        Self { opened, clones, number: 0, wanted: row.connections, dialer, options, counted }
    }

    async fn caller(&self) -> anyhow::Result<&session::Caller> {
        let opened = match self.opened.get() {
            Some(opened) => opened,
            None => self.opened.get_or_try_init(|| self.open()).await?,
        };
        Ok(&opened[self.number % opened.len()])
    }

    async fn open(&self) -> anyhow::Result<Vec<session::Caller>> {
        let mut opened = Vec::new();
        for _ in 0..self.wanted {
            let io = Box::new(self.dialer.clone().dial().await?);
            match session::connect(io, &protocol()?, self.options.clone(), None).await? {
                Connected::Framed(caller, driver) => {
                    tokio::spawn(driver);
                    opened.push(caller);
                }
                Connected::Classic | Connected::NoTls => bail!("the server does not speak the framed wire"),
            }
        }
        Ok(opened)
    }
}

/// A client of calls without heads: what TLV calls carry.
#[derive(Clone)]
pub struct FramedCalls {
    connections: Connections,
    body: Bytes,
    reply: usize,
}

impl Workload for FramedCalls {
    fn serve(row: &Row, listening: Listening, _: Option<&Tls>) -> anyhow::Result<Counters> {
        let (reply, echoes) = (text(row.payload.reply()), matches!(row.payload, Payload::Echo(_)));
        accept(row, listening, move || {
            let reply = reply.clone();
            move |mut call: Incoming| {
                let reply = reply.clone();
                async move {
                    let body = if echoes { whole(&mut call.body).await.unwrap_or_default() } else { reply };
                    let _ = call.responder.reply(|_| Ok(()), SendBody::Whole(body));
                }
            }
        })
    }

    fn connect(row: &Row, dialer: Dialer, _: Option<&Tls>) -> anyhow::Result<Self> {
        let body = match row.payload {
            Payload::Echo(bytes) => text(bytes),
            Payload::Small | Payload::Down(_) => Bytes::from_static(b"foobar"),
        };
        Ok(Self { connections: Connections::new(row, dialer), body, reply: row.payload.reply() })
    }

    fn stats(&self) -> fastrpc::Stats {
        self.connections.counted.stats()
    }
}

impl Caller for FramedCalls {
    async fn call(&self, deadline: Instant) -> anyhow::Result<()> {
        let caller = self.connections.caller().await?;
        let timeout = Some(deadline.saturating_duration_since(Instant::now()));
        let (reply, _) = caller.call(|_| Ok(()), SendBody::Whole(self.body.clone()), timeout)?;
        let body = whole(&mut reply.await.context("a framed call failed")?.body).await?;
        ensure!(body.len() == self.reply, "a reply of {} bytes came instead of {}", body.len(), self.reply);
        Ok(())
    }
}

/// A body in one piece, which is copied only if it came in several.
async fn whole(body: &mut session::BodyReader) -> anyhow::Result<Bytes> {
    let Some(first) = body.piece().await.transpose()? else { return Ok(Bytes::new()) };
    let Some(second) = body.piece().await.transpose()? else { return Ok(first) };
    let mut all = [first, second].concat();
    while let Some(piece) = body.piece().await.transpose()? {
        all.extend_from_slice(&piece);
    }
    Ok(all.into())
}

/// A client of HTTP calls, whose bodies stream.
#[derive(Clone)]
pub struct FramedHttpCalls {
    connections: Connections,
    body: Bytes,
    reply: usize,
}

impl Workload for FramedHttpCalls {
    fn serve(row: &Row, listening: Listening, _: Option<&Tls>) -> anyhow::Result<Counters> {
        let (reply, echoes) = (text(row.payload.reply()), matches!(row.payload, Payload::Echo(_)));
        accept(row, listening, move || {
            let reply = reply.clone();
            let handler = move |request: Request<stream::Incoming>| {
                let reply = reply.clone();
                async move {
                    let body = if echoes {
                        request.into_body().collect().await.map(Collected::to_bytes).unwrap_or_default()
                    } else {
                        reply
                    };
                    let mut response = Response::new(Full::new(body));
                    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
                    response
                }
            };
            service(handler, Limits::default())
        })
    }

    fn connect(row: &Row, dialer: Dialer, _: Option<&Tls>) -> anyhow::Result<Self> {
        let body = match row.payload {
            Payload::Echo(bytes) => text(bytes),
            Payload::Small | Payload::Down(_) => Bytes::new(),
        };
        Ok(Self { connections: Connections::new(row, dialer), body, reply: row.payload.reply() })
    }

    fn stats(&self) -> fastrpc::Stats {
        self.connections.counted.stats()
    }
}

impl Caller for FramedHttpCalls {
    async fn call(&self, deadline: Instant) -> anyhow::Result<()> {
        let client = StreamClient::new(self.connections.caller().await?.clone(), Limits::default());
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.uri_mut() = Uri::from_static("http://foobar/foo/bar");
        let timeout = Some(deadline.saturating_duration_since(Instant::now()));
        let response = client.call(request, timeout).await.context("a framed HTTP call failed")?;
        let (status, mut body, mut got) = (response.status(), response.into_body(), 0);
        while let Some(frame) = body.frame().await.transpose()? {
            got += frame.data_ref().map_or(0, Bytes::len);
        }
        ensure!(got == self.reply, "a reply {status} of {got} bytes came instead of {}", self.reply);
        Ok(())
    }
}
