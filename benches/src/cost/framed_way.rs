//! Teleported on the framed wire: one connection of it, heads and bodies as its client and service send them.

use anyhow::{Context, Result};
use bytes::Bytes;
use fastrpc::wire::framed::codec::RecordCodec;
use http::{Request, Response};
use http_body_util::{BodyExt, Collected, Full};

use super::pass::{Caller, Calls, Script, Step};
use super::pipe::End;
use crate::framed::{Client, How, Incoming, StreamClient, client, limits, serve, service};

pub(super) async fn framed(codec: RecordCodec, calls: Calls<'_>, script: Script, near: End, far: End) -> Result<()> {
    let handler = move |request: Request<Incoming>| {
        let step = script.step();
        async move { answer(step, request).await }
    };
    let how = How { codec, credit: None };
    let serving = tokio::spawn(serve(Box::new(far), how, service(handler, limits())));
    let Client { calls: client, driving } = client(Box::new(near), how).await?;
    calls.make(&client).await?;
    client.drain();
    driving.await.context("the client's driver panicked")?.context("the client's connection failed")?;
    serving.await.context("the server panicked")?
}

async fn answer(step: Step, request: Request<Incoming>) -> Response<Full<Bytes>> {
    // A body that breaks is none of those that were sent, and answered as such.
    let body = request.into_body().collect().await.map(Collected::to_bytes).unwrap_or_default();
    step.answer(&body).map(Full::new)
}

impl Caller for StreamClient {
    async fn call(&self, request: Request<Bytes>, _: &Response<Bytes>) -> Result<Response<Bytes>> {
        let (head, body) = Self::call(self, request.map(Full::new), None).await?.into_parts();
        Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
    }
}
