//! Teleported: the client and server of `httpteleport`, as any program uses them, on one connection.

use std::future::ready;
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::Bytes;
use fastrpc::Compression;
use http::{Request, Response};
use httpteleport::{Body, Client, Server};

use super::framed::limits;
use super::pass::{Caller, Calls, Script};
use super::pipe::End;

pub(super) async fn teleport(
    compression: Compression,
    calls: Calls<'_>,
    script: Script,
    near: End,
    far: End,
) -> Result<()> {
    let server = Server::builder(limits()).compression(compression).build()?;
    let handler = move |request: Request<Body>| ready(script.step().answer(request.body().as_bytes()).map(Body::from));
    let serving = tokio::spawn(async move { server.serve_connection(far, None, Arc::new(handler)).await });

    let (client, driver) = Client::builder(limits()).compression(compression).handshake(near).await?;
    let driving = tokio::spawn(driver);
    calls.make(&client).await?;
    client.close();
    drop(client);
    driving.await.context("the client's driver panicked")?.ok();
    serving.await.context("the server panicked")?.context("the server's connection failed")
}

impl Caller for Client {
    async fn call(&self, request: Request<Bytes>, _: &Response<Bytes>) -> Result<Response<Bytes>> {
        let reply = Self::call(self, request.map(Body::from)).await?;
        Ok(reply.map(Body::into_bytes))
    }
}
