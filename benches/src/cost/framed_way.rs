//! Teleported on the framed wire: one connection of `httpteleport::stream`, heads and bodies as its client and service
//! send them.

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use fastrpc::internals::session::{Accepted, Connected, ContextMemory, Options, accept, connect};
use fastrpc::wire::framed::codec::RecordCodec;
use fastrpc::{Compression, Protocol};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use httpteleport::Limits;
use httpteleport::stream::{Incoming, StreamClient, service};

use super::pass::{Caller, Calls, Script, Step};
use super::pipe::End;

/// Most bytes of a head: recorded ones may be longer than the default takes.
const HEAD: u32 = 61_000;

pub(super) async fn framed(codec: RecordCodec, calls: Calls<'_>, script: Script, near: End, far: End) -> Result<()> {
    let handler = move |request: Request<Incoming>| {
        let step = script.step();
        async move { answer(step, request).await }
    };
    let serve = service(handler, limits());
    let (protocol, options) = (Protocol::new("httpteleport", 0)?, options(codec));
    let serving = {
        let (protocol, options) = (protocol.clone(), options.clone());
        tokio::spawn(async move {
            match accept(Box::new(far), &protocol, Compression::None, options, None, serve).await? {
                Accepted::Framed(driver) => driver.await,
                Accepted::Classic(_) => unreachable!("the client below opens a framed connection"),
            }
        })
    };
    let Connected::Framed(caller, driver) = connect(Box::new(near), &protocol, options, None).await? else {
        bail!("the server does not speak the framed wire");
    };
    let driving = tokio::spawn(driver);
    let client = StreamClient::new(caller, limits());
    calls.make(&client).await?;
    client.drain();
    driving.await.context("the client's driver panicked")?.context("the client's connection failed")?;
    serving.await.context("the server panicked")?.context("the server's connection failed")
}

/// Everything at its default but the compression, for which there is always memory.
fn options(codec: RecordCodec) -> Options {
    let defaults = Options::default();
    let settings = fastrpc::wire::framed::settings::Settings { head: HEAD, ..defaults.settings.clone() };
    Options { codec, settings, memory: ContextMemory::new(usize::MAX), ..defaults }
}

fn limits() -> Limits {
    let most = HEAD as usize;
    Limits::default().with_max_head(most).with_peer_max_head(most)
}

async fn answer(step: Step, request: Request<Incoming>) -> Response<Full<Bytes>> {
    // A body that breaks is none of those that were sent, and answered as such.
    let body = request.into_body().collect().await.map(|body| body.to_bytes()).unwrap_or_default();
    step.answer(&body).map(Full::new)
}

impl Caller for StreamClient {
    async fn call(&self, request: Request<Bytes>, _: &Response<Bytes>) -> Result<Response<Bytes>> {
        let (head, body) = Self::call(self, request.map(Full::new), None).await?.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    }
}
