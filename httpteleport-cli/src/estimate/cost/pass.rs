//! One pass: all exchanges of a sample over one new connection.

use std::future::Future;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;

use super::pipe::metered;
use super::sample::Sample;
use super::tcp::{Flights, Tcp};
use super::together::together;
use super::ways::{Row, Way};
use super::{framed_way, hyper_ways, teleport_way};
use crate::traffic::Exchange;

/// One pass, ready to be made.
pub struct Pass<'a> {
    runtime: Runtime,
    way: Way,
    calls: Calls<'a>,
    script: Script,
}

/// What went over the connection of one pass.
#[derive(Clone, Copy, Debug)]
pub struct Passed {
    /// Requests.
    pub up: Flights,
    /// Replies.
    pub down: Flights,
}

impl<'a> Pass<'a> {
    /// Prepares all messages of the sample, so that making them is not a part of carrying them.
    ///
    /// # Errors
    ///
    /// The row's way cannot carry a message, or the system gives no runtime.
    pub fn new(row: &Row, sample: &'a Sample) -> Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build().context("cannot make a runtime")?;
        Ok(Self { runtime, way: row.way, calls: Calls::new(row, sample)?, script: Script::new(sample) })
    }

    /// Carries the sample over a new connection, whose contexts are cold. Both ends run on this thread.
    ///
    /// # Errors
    ///
    /// A call failed, or a message did not arrive as it was sent.
    pub fn carry(self, tcp: Tcp) -> Result<Passed> {
        let Self { runtime, way, calls, script } = self;
        let (near, far, meter) = metered(tcp);
        runtime.block_on(LocalSet::new().run_until(async {
            match way {
                Way::Http1 { gzip } => hyper_ways::http1(gzip, calls, script, near, far).await,
                Way::Http2 { gzip } => hyper_ways::http2(gzip, calls, script, near, far).await,
                Way::Teleport(compression) => teleport_way::teleport(compression, calls, script, near, far).await,
                Way::Framed(codec) => framed_way::framed(codec, calls, script, near, far).await,
            }
        }))?;
        let (up, down) = meter.flights();
        Ok(Passed { up, down })
    }
}

impl Passed {
    /// Bytes both ways, with TCP and IP.
    #[must_use]
    pub fn with_tcp(&self, tcp: Tcp) -> u64 {
        tcp.bytes(&self.up) + tcp.bytes(&self.down)
    }
}

/// Something that makes calls.
pub(super) trait Caller {
    /// One call. `as_sent` is the reply that the far end is to send.
    fn call(&self, request: Request<Bytes>, as_sent: &Response<Bytes>)
    -> impl Future<Output = Result<Response<Bytes>>>;
}

/// The near side of a sample: its requests, ready to be sent, so that making them is nobody's cost.
pub(super) struct Calls<'a> {
    messages: usize,
    requests: Vec<Request<Bytes>>,
    exchanges: &'a [Exchange],
}

impl<'a> Calls<'a> {
    fn new(row: &Row, sample: &'a Sample) -> Result<Self> {
        let prepared = sample.exchanges.iter().map(|exchange| match row.way {
            Way::Http1 { gzip } => Ok(hyper_ways::for_http1(exchange.request.clone(), gzip)),
            Way::Http2 { gzip } => hyper_ways::for_http2(exchange.request.clone(), gzip),
            Way::Teleport(_) | Way::Framed(_) => Ok(exchange.request.clone()),
        });
        Ok(Self { messages: row.messages, requests: prepared.collect::<Result<_>>()?, exchanges: &sample.exchanges })
    }

    /// Makes all calls, so many at once, and looks at what comes back.
    pub(super) async fn make(self, caller: &impl Caller) -> Result<()> {
        let mut requests = self.requests.into_iter();
        for exchanges in self.exchanges.chunks(self.messages) {
            let batch = requests.by_ref().zip(exchanges);
            let replies = together(batch.map(|(request, exchange)| caller.call(request, &exchange.response))).await;
            for (reply, exchange) in replies.into_iter().zip(exchanges) {
                let (reply, sent) = (reply?, &exchange.response);
                let same = reply.status() == sent.status() && reply.body() == sent.body();
                ensure!(same, "{} did not get its reply but {}", exchange.request.uri(), reply.status());
            }
        }
        Ok(())
    }
}

/// The far side of a sample: what it has to receive and what it answers, in order.
pub(super) struct Script(Mutex<std::vec::IntoIter<Step>>);

/// One request and its reply.
pub(super) struct Step {
    /// What has to arrive.
    request: Request<Bytes>,
    /// The reply.
    reply: Response<Bytes>,
}

impl Script {
    fn new(sample: &Sample) -> Self {
        let step = |exchange: &Exchange| Step { request: exchange.request.clone(), reply: exchange.response.clone() };
        Self(Mutex::new(sample.exchanges.iter().map(step).collect::<Vec<_>>().into_iter()))
    }

    /// The step of the request that has come.
    pub(super) fn step(&self) -> Step {
        let next = self.0.lock().unwrap_or_else(PoisonError::into_inner).next();
        next.unwrap_or_else(|| Step { request: Request::default(), reply: refusal() })
    }
}

impl Step {
    /// The fields of the request as it was before anything was done to it.
    pub(super) fn request_headers(&self) -> &HeaderMap {
        self.request.headers()
    }

    /// The reply to a request with this body: the one prepared, or a 500 when the body is not the one sent.
    pub(super) fn answer(self, body: &Bytes) -> Response<Bytes> {
        if body == self.request.body() { self.reply } else { refusal() }
    }
}

fn refusal() -> Response<Bytes> {
    let mut reply = Response::new(Bytes::new());
    *reply.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
    reply
}

#[cfg(test)]
mod tests {
    use super::super::ways::rows;
    use super::*;
    use crate::traffic::Shape;

    fn pass(row: &Row, sample: &Sample) -> Passed {
        let carried = Pass::new(row, sample).and_then(|pass| pass.carry(Tcp::WITH_TIMESTAMPS));
        carried.unwrap_or_else(|error| panic!("{}: {error:#}", row.name))
    }

    #[test]
    fn every_way_carries_every_shape_in_flushes_as_asked() {
        for shape in Shape::ALL {
            let sample = Sample::generated(shape, 100_000);
            for row in rows(&sample.name) {
                let passed = pass(&row, &sample);
                let flushes = sample.exchanges.len().div_ceil(row.messages) as u64;
                assert!(passed.up.count >= flushes && passed.down.count >= flushes, "{}: {passed:?}", row.name);
                // Preface, settings, windows and acknowledgements of HTTP/2 come on top.
                let more = if matches!(row.way, Way::Http2 { .. }) { 3 * flushes + 4 } else { 2 };
                assert!(passed.up.count <= flushes + more, "{}: {passed:?}", row.name);
            }
        }
    }

    #[test]
    fn plain_teleporting_sends_what_http_sends_and_flate_a_fraction() {
        let sample = Sample::generated(Shape::Rest, 2_000_000);
        let payload = |wanted: &str| {
            let row = rows("rest").into_iter().find(|row| row.name == format!("bytes/rest/{wanted}")).expect("a row");
            let passed = pass(&row, &sample);
            (passed.up.payload + passed.down.payload) as f64
        };
        let http = payload("http1/1");
        assert!((0.98..1.02).contains(&(payload("none/16") / http)));
        assert!(payload("flate/16") < payload("http1_gzip/1"));
        assert!(payload("flate/16") < payload("flate/1"));
        assert!(payload("snappy/16") < http);
        assert!(payload("framed_none/16") < 0.95 * http, "heads are shorter than their text");
        assert!(payload("framed_lz4/16") < payload("snappy/16"));
        assert!(payload("framed_zstd/16") < 0.8 * payload("framed_lz4/16"));
    }
}
