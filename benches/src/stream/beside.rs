//! What goes on beside a large body: small calls at a fixed rate, and events.

use std::time::Duration;

use anyhow::{Context, Result};
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use httpteleport::Client;

use crate::framed::Incoming;

/// Between two small calls.
const EVERY: Duration = Duration::from_millis(1);

pub(super) fn get(path: &str) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.uri_mut() = format!("http://far.example{path}").parse().expect("paths of this program");
    request
}

/// A deadline that is not reached.
pub(super) fn never() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

/// Makes a call a millisecond until `end`, whatever became of those before, and tells how long each took from when it was to
/// begin.
pub(super) async fn small_calls(client: Client, end: Instant) -> Result<Vec<Duration>> {
    let mut calls = JoinSet::new();
    let mut due = Instant::now();
    while due < end {
        sleep_until(due).await;
        let (client, begun) = (client.clone(), due);
        calls.spawn(async move {
            let reply = client.stream(get("/small")).deadline(never()).await.context("a small call failed")?;
            reply.into_body().collect().await.context("a small reply broke")?;
            anyhow::Ok(begun.elapsed())
        });
        due += EVERY;
    }
    calls.join_all().await.into_iter().collect()
}

/// Reads events until `end`, and tells how long each was under way.
pub(super) async fn events(mut events: Incoming, epoch: Instant, end: Instant) -> Result<Vec<Duration>> {
    let mut times = Vec::new();
    while Instant::now() < end {
        let event = events.frame().await.context("the events ended")??;
        let text = event.data_ref().and_then(|event| std::str::from_utf8(event).ok()).unwrap_or_default();
        // Events that came late may come together; each is told.
        for at in text.split("data: ").filter_map(|event| event.trim().parse().ok()) {
            times.push(epoch.elapsed().saturating_sub(Duration::from_nanos(at)));
        }
    }
    Ok(times)
}
