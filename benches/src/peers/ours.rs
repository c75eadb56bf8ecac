//! `fastrpc` and `httpteleport`: one connection, which all callers share; every setting but the compression is the default.

use std::future::ready;

use bytes::Bytes;
use fastrpc::codec::Codec;
use fastrpc::codec::bincode::Bincode;
use fastrpc::codec::postcard::{Postcard, RemoteFailure};
use fastrpc::codec::tlv::{self, Tlv};
use fastrpc::{Call, Compression, Stats};
use http::Request;
use httpteleport::{Body, Limits};
use tokio::time::Instant;

use super::BoxError;
use super::caller::{Caller, Callers};
use super::workload::{Answer, Get, HOUR, Question, REPLY, check_head, listen, response};

/// HTTP types over `httpteleport`.
pub(super) async fn http(callers: usize, compression: Compression) -> Result<Callers<Http>, BoxError> {
    let (listener, address) = listen().await?;
    let server = httpteleport::Server::builder(Limits::default()).compression(compression).build()?;
    let answer = |_: Request<Body>| ready(response());
    tokio::spawn(server.serve(listener, answer).into_future());
    let client = httpteleport::Client::builder(Limits::default())
        .wire(fastrpc::Wire::Classic)
        .compression(compression)
        .connect(&address)?;
    Ok(Callers(vec![Http { client, get: Get::with_host_header(), deadline: Instant::now() + HOUR }; callers]))
}

/// Names and values over `fastrpc`.
pub(super) async fn tlv(callers: usize) -> Result<Callers<Rpc<Tlv>>, BoxError> {
    let reply = tlv::Reply::new(Bytes::from_static(REPLY.as_bytes()));
    rpc(Tlv::new(), callers, tlv::Request::new("", "foobar"), reply).await
}

/// Typed messages over `fastrpc` with postcard.
pub(super) async fn postcard(callers: usize) -> Result<Callers<Rpc<Postcard<Question, Answer>>>, BoxError> {
    rpc(Postcard::new(), callers, Question::usual(), Ok(Answer::usual())).await
}

/// Typed messages over `fastrpc` with bincode 2.
pub(super) async fn bincode(callers: usize) -> Result<Callers<Rpc<Bincode<Question, Answer>>>, BoxError> {
    rpc(Bincode::new(), callers, Question::usual(), Ok(Answer::usual())).await
}

async fn rpc<C>(codec: C, callers: usize, request: C::Request, reply: C::Reply) -> Result<Callers<Rpc<C>>, BoxError>
where
    C: Codec + Clone,
    C::Request: Clone,
    C::Reply: Clone + Sync,
{
    let (listener, address) = listen().await?;
    let server = fastrpc::Server::builder(codec.clone()).compression(Compression::None).build()?;
    tokio::spawn(server.serve(listener, move |_: Call<C::Request>| ready(reply.clone())).into_future());
    let client =
        fastrpc::Client::builder(codec).wire(fastrpc::Wire::Classic).compression(Compression::None).connect(address)?;
    let deadline = Instant::now() + HOUR;
    let caller = || Rpc { client: client.clone(), request: request.clone(), deadline };
    Ok(Callers(std::iter::repeat_with(caller).take(callers).collect()))
}

/// A caller that can tell what its client has counted.
pub(super) trait Counted: Caller {
    /// What the client has counted, all callers together.
    fn stats(&self) -> Stats;
}

/// Bytes of a request and of a reply on the wire, as these callers have them.
pub(super) async fn wire_bytes<C: Counted>(callers: Callers<C>) -> Result<(usize, usize), BoxError> {
    const CALLS: u64 = 100;
    let Callers(mut callers) = callers;
    let caller = callers.first_mut().ok_or("wire bytes of no caller: start at least one")?;
    caller.call().await?; // The opening exchange is no part of a call.
    let before = caller.stats();
    for _ in 0..CALLS {
        caller.call().await?;
    }
    let after = caller.stats();
    let sent = (after.wire_bytes_out - before.wire_bytes_out) / CALLS;
    let received = (after.wire_bytes_in - before.wire_bytes_in) / CALLS;
    Ok((usize::try_from(sent)?, usize::try_from(received)?))
}

/// A caller of `httpteleport`.
#[derive(Clone)]
pub(super) struct Http {
    client: httpteleport::Client,
    get: Get,
    deadline: Instant,
}

impl Caller for Http {
    type Value = Bytes;

    async fn call(&mut self) -> Result<Bytes, BoxError> {
        let response = self.client.call(self.get.request(Body::empty())).deadline(self.deadline).await?;
        check_head(&response)?;
        Ok(response.into_body().into_bytes())
    }
}

impl Counted for Http {
    fn stats(&self) -> Stats {
        self.client.stats()
    }
}

/// A caller of `fastrpc` with codec `C`.
pub(super) struct Rpc<C: Codec> {
    client: fastrpc::Client<C>,
    request: C::Request,
    deadline: Instant,
}

/// What a reply of a codec holds.
pub(super) trait Holds: Send {
    /// The value, as the peers give it.
    type Value: AsRef<[u8]> + Send;

    /// The value, or what the server says instead.
    fn value(self) -> Result<Self::Value, BoxError>;
}

impl Holds for tlv::Reply {
    type Value = Bytes;

    fn value(self) -> Result<Bytes, BoxError> {
        Ok(self.value)
    }
}

impl Holds for Result<Answer, RemoteFailure> {
    type Value = Answer;

    fn value(self) -> Result<Answer, BoxError> {
        Ok(self?)
    }
}

impl<C> Caller for Rpc<C>
where
    C: Codec,
    C::Request: Clone + Sync,
    C::Reply: Holds,
{
    type Value = <C::Reply as Holds>::Value;

    async fn call(&mut self) -> Result<Self::Value, BoxError> {
        self.client.call(self.request.clone()).deadline(self.deadline).await?.value()
    }
}

impl<C> Counted for Rpc<C>
where
    C: Codec,
    C::Request: Clone + Sync,
    C::Reply: Holds,
{
    fn stats(&self) -> Stats {
        self.client.stats()
    }
}
