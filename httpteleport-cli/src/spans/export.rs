//! Sends spans to a collector, many at once (OTLP/HTTP).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::uri::Scheme;
use http::{Request, Response, StatusCode, Uri};
use http_body_util::Full;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message as _;
use rustls::ClientConfig;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::record::Record;
use super::{Counts, message};
use crate::config;
use crate::counters::Count;
use crate::fetch::fetch;
use crate::outbound::{one_line, plain};
use crate::seldom::Seldom;
use crate::tls;

/// Most spans that are sent at once.
const BATCH: usize = 512;
/// How long the first of them waits for others.
const WAIT: Duration = Duration::from_secs(1);
/// How long a collector may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Before what a collector could not take is sent again.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];
/// Between two lines about a collector that takes nothing.
const SILENCE: Duration = Duration::from_secs(60);

/// What has become of spans.
#[derive(Debug, Default)]
pub(super) struct Tally {
    sent: Count,
    pub(super) crowded: Count,
    refused: Count,
}

impl Tally {
    pub(super) fn counts(&self) -> Counts {
        Counts { sent: self.sent.get(), crowded: self.crowded.get(), refused: self.refused.get() }
    }
}

/// Who sends them.
pub(super) struct Exporter {
    waiting: mpsc::Receiver<Record>,
    /// No more spans come: what waits is the rest.
    closing: CancellationToken,
    collector: Uri,
    /// If that is https.
    tls: Option<Arc<ClientConfig>>,
    service: String,
    tally: Arc<Tally>,
    failures: Seldom,
}

/// Why a collector has not taken spans.
struct Fault {
    why: String,
    /// It may take them later.
    passing: bool,
}

impl Exporter {
    /// One that takes spans from there.
    ///
    /// # Errors
    ///
    /// The file of authorities is of no use: one line that names the option.
    pub(super) fn new(
        settings: &config::Otlp,
        waiting: mpsc::Receiver<Record>,
        tally: Arc<Tally>,
        closing: CancellationToken,
    ) -> anyhow::Result<Exporter> {
        let tls = || tls::trusting(settings.ca.as_deref(), "--otlp-ca");
        let is_tls = settings.collector.scheme() == Some(&Scheme::HTTPS);
        Ok(Exporter {
            waiting,
            closing,
            collector: settings.collector.clone(),
            tls: is_tls.then(tls).transpose()?,
            service: settings.service.clone(),
            tally,
            failures: Seldom::each(SILENCE),
        })
    }

    /// Sends what comes, until no more does.
    pub(super) async fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        while self.gather(&mut batch).await {
            self.send(&batch).await;
            batch.clear();
        }
    }

    /// Waits for a span, and for those that follow it soon. Tells whether there is one.
    async fn gather(&mut self, batch: &mut Vec<Record>) -> bool {
        if self.receive(batch).await == 0 {
            return false;
        }
        // What does not come in time stays where it is.
        let _ = timeout(WAIT, async { while batch.len() < BATCH && self.receive(batch).await > 0 {} }).await;
        true
    }

    /// Waits for more spans; none when no more will come. Cancel safe.
    async fn receive(&mut self, batch: &mut Vec<Record>) -> usize {
        let room = BATCH - batch.len();
        tokio::select! {
            biased;
            () = self.closing.cancelled(), if !self.waiting.is_closed() => self.waiting.close(),
            count = self.waiting.recv_many(batch, room) => return count,
        }
        self.waiting.recv_many(batch, room).await
    }

    /// Has the collector take these, or gives them up.
    async fn send(&self, batch: &[Record]) {
        let bytes = Bytes::from(message::request(&self.service, batch).encode_to_vec());
        let count = batch.len() as u64;
        let mut pauses = PAUSES.iter();
        loop {
            let fault = match self.post(bytes.clone()).await {
                Ok(rejected) => {
                    let rejected = rejected.min(count);
                    self.tally.sent.add_many(count - rejected);
                    return self.tally.refused.add_many(rejected);
                }
                Err(fault) => fault,
            };
            let (collector, why) = (&self.collector, &fault.why);
            self.failures.warn(format_args!("spans are not sent: {collector}: {why}"));
            match pauses.next() {
                Some(pause) if fault.passing && !self.closing.is_cancelled() => tokio::select! {
                    () = sleep(*pause) => {}
                    () = self.closing.cancelled() => {}
                },
                _ => return self.tally.refused.add_many(count),
            }
        }
    }

    /// Sends them once; how many the collector has thrown away.
    async fn post(&self, bytes: Bytes) -> Result<u64, Fault> {
        let mut request = Request::post(self.collector.clone());
        if let Some(headers) = request.headers_mut() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        }
        let passing = |why| Fault { why, passing: true };
        let request = request.body(Full::new(bytes)).map_err(|error| passing(one_line(&error)))?;
        match timeout(PATIENCE, fetch(self.tls.as_ref(), request)).await {
            Ok(Ok(reply)) => self.taken(&reply),
            Ok(Err(error)) => {
                let why = error.downcast_ref().map_or_else(|| one_line(&*error), plain);
                Err(passing(why))
            }
            Err(_) => Err(passing(format!("no answer within {PATIENCE:?}"))),
        }
    }

    /// What the collector says.
    fn taken(&self, reply: &Response<Bytes>) -> Result<u64, Fault> {
        let status = reply.status();
        if !status.is_success() {
            let passing = matches!(
                status,
                StatusCode::TOO_MANY_REQUESTS
                    | StatusCode::BAD_GATEWAY
                    | StatusCode::SERVICE_UNAVAILABLE
                    | StatusCode::GATEWAY_TIMEOUT
            );
            return Err(Fault { why: format!("it answers {status}"), passing });
        }
        // Whoever answers 200 with something else has taken them all the same.
        let partial =
            ExportTraceServiceResponse::decode(reply.body().clone()).ok().and_then(|said| said.partial_success);
        let rejected = partial.as_ref().map_or(0, |partial| u64::try_from(partial.rejected_spans).unwrap_or_default());
        if let Some(partial) = partial.filter(|_| rejected > 0) {
            let (collector, why) = (&self.collector, partial.error_message.escape_default());
            self.failures.warn(format_args!("{collector} has thrown away {rejected} spans: {why}"));
        }
        Ok(rejected)
    }
}
