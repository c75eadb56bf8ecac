//! One round: calls and events for a while, beside a large body or alone.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use http_body_util::BodyExt;
use testkit::relay::{Leg, Relay, RelayOptions};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::beside::{events, get, small_calls};
use super::far::Far;
use crate::framed::{Client, How, StreamClient, client, limits, serve, service};

/// The way, and what it carries.
#[derive(Clone, Copy, Debug)]
pub struct Way {
    /// Both directions.
    pub leg: Leg,
    /// How the connection is used.
    pub how: How,
    /// Bytes of the large body.
    pub body: usize,
    /// How long calls and events go on alone.
    pub calm: Duration,
}

/// What a round came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// How long the large body took, from its call on.
    pub took: Option<Duration>,
    /// Small calls.
    pub calls: Times,
    /// Events.
    pub events: Times,
}

/// How long something took, many times.
#[derive(Clone, Copy, Debug, Default)]
pub struct Times {
    /// How many.
    pub count: usize,
    /// The middle.
    pub median: Duration,
    /// 99 of 100 are not above.
    pub p99: Duration,
}

impl Times {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort();
        let at = |percent: usize| times.get((times.len() * percent / 100).min(times.len().saturating_sub(1)));
        let at = |percent| at(percent).copied().unwrap_or_default();
        Self { count: times.len(), median: at(50), p99: at(99) }
    }
}

/// Runs one, on a connection of its own through a relay of its own. With `large` it goes on until that body is there, and
/// otherwise for a while.
///
/// # Errors
///
/// A call failed, or there is no socket.
pub async fn round(way: &Way, large: bool) -> Result<Outcome> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let relay = Relay::start(listener.local_addr()?, RelayOptions::both(way.leg))?;
    let epoch = Instant::now();
    let (far, how) = (Far::new(epoch), way.how);
    let near = TcpStream::connect(relay.addr()).await?;
    let (io, _) = listener.accept().await?;
    near.set_nodelay(true)?;
    io.set_nodelay(true)?;
    let handler = move |request| std::future::ready(far.answer(&request));
    let serving = tokio::spawn(serve(Box::new(io), how, service(handler, limits())));
    let Client { calls: client, driving } = client(Box::new(near), how).await?;

    // Windows are as they begin: only the way is known to be open.
    let stream = client.call(get("/events"), None).await?.into_body();
    let calls = |end| tokio::spawn(small_calls(client.clone(), end));
    let (took, calls, events) = if large {
        // The calls go on while the body comes; how long that is nobody knows before.
        let (asked, body) = (Instant::now(), tokio::spawn(download(client.clone(), way.body)));
        let guessed = way.leg.rate.map_or(way.calm, |rate| Duration::from_secs_f64(way.body as f64 / rate as f64));
        let end = asked + guessed;
        let (calls, events) = tokio::join!(calls(end), events(stream, epoch, end));
        (Some(body.await?? - asked), calls??, events?)
    } else {
        let end = Instant::now() + way.calm;
        let (calls, events) = tokio::join!(calls(end), events(stream, epoch, end));
        (None, calls??, events?)
    };
    drop(client);
    driving.abort();
    serving.abort();
    Ok(Outcome { took, calls: Times::of(calls), events: Times::of(events) })
}

/// Downloads a body, and tells when all of it was there.
async fn download(client: StreamClient, bytes: usize) -> Result<Instant> {
    let mut body = client.call(get(&format!("/down/{bytes}")), None).await?.into_body();
    let mut came = 0;
    while let Some(frame) = body.frame().await {
        came += frame.context("the large body broke")?.data_ref().map_or(0, bytes::Bytes::len);
    }
    ensure!(came == bytes, "{came} bytes of a body of {bytes} came");
    Ok(Instant::now())
}
