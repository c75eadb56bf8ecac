//! Teleported on the framed wire: one connection of it, heads and bodies as its client and service send them.

use anyhow::{Context, Result};
use bytes::Bytes;
use fastrpc::RecordCodec;
use http::{Request, Response};
use http_body_util::{BodyExt, Collected, Full};

use super::pass::{Caller, Calls, Script, Step};
use super::pipe::End;
use httpteleport::Client;

use super::framed::{Incoming, client, serve};

pub(super) async fn framed(codec: RecordCodec, calls: Calls<'_>, script: Script, near: End, far: End) -> Result<()> {
    let handler = move |request: Request<Incoming>| {
        let step = script.step();
        async move { answer(step, request).await }
    };
    let serving = tokio::spawn(serve(Box::new(far), codec, handler));
    let client = client(Box::new(near), codec).await?;
    calls.make(&Streams(client.clone())).await?;
    client.drain().await;
    serving.await.context("the server panicked")?
}

async fn answer(step: Step, request: Request<Incoming>) -> Response<Full<Bytes>> {
    // A body that breaks is none of those that were sent, and answered as such.
    let body = request.into_body().collect().await.map(Collected::to_bytes).unwrap_or_default();
    step.answer(&body).map(Full::new)
}

/// Calls whose bodies stream.
struct Streams(Client);

impl Caller for Streams {
    async fn call(&self, request: Request<Bytes>, _: &Response<Bytes>) -> Result<Response<Bytes>> {
        let (head, body) = self.0.stream(request.map(Full::new)).await?.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    }
}
