//! Begins spans, and hands them over when they end.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fastrand::Rng;
use http::{Request, StatusCode};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::Counts;
use super::context::{Context, SAMPLED};
use super::export::{Exporter, Tally};
use super::record::{self, Record, Side, TRACESTATE};
use crate::config;
use crate::listen::Client;
use crate::metrics::failures::{KINDS, place};
use crate::outbound::{FailureKind, Place};
use crate::refusal::Caller;
use crate::request::Outgoing;
use crate::trace_context::TRACEPARENT;

/// Spans that wait to be sent.
const MOST_WAITING: usize = 4096;

/// How long the end of the process waits for the collector.
const LONGEST_FLUSH: Duration = Duration::from_secs(3);

/// Where spans go.
pub(crate) struct Spans {
    /// Which part of the requests is sampled that nobody has decided on.
    sample: f64,
    queue: mpsc::Sender<Record>,
    tally: Arc<Tally>,
    closing: CancellationToken,
    exporter: Mutex<Option<JoinHandle<()>>>,
}

/// A span that has begun. It ends, and waits to be sent, when it is dropped.
pub(crate) struct Span(Box<Open>);

struct Open {
    spans: Arc<Spans>,
    clock: Instant,
    /// For those that begin below it.
    context: Context,
    state: Arc<str>,
    /// Taken only by `drop`.
    record: Option<Record>,
}

impl Spans {
    /// Begins to send spans to the collector; nothing is connected to before there is one.
    ///
    /// # Errors
    ///
    /// The file of authorities is of no use: one line that names the option.
    pub(crate) fn start(settings: &config::Otlp) -> anyhow::Result<Arc<Spans>> {
        let (queue, waiting) = mpsc::channel(MOST_WAITING);
        let (tally, closing) = (Arc::<Tally>::default(), CancellationToken::new());
        let exporter = Exporter::new(settings, waiting, Arc::clone(&tally), closing.clone())?;
        let exporter = Mutex::new(Some(tokio::spawn(exporter.run())));
        Ok(Arc::new(Spans { sample: settings.sample, queue, tally, closing, exporter }))
    }

    /// A request has come: its span, if it is sampled. What has been decided by those before is kept to; otherwise a new trace begins
    /// here, sampled or not, and those who come next keep to that.
    pub(crate) fn begin<B>(self: &Arc<Self>, request: &mut Request<B>, caller: Caller) -> Option<Span> {
        let mut random = Rng::new();
        let before = Context::read(request.headers());
        if before.is_some_and(|before| before.flags & SAMPLED == 0) {
            return None;
        }
        let span = random.u64(1..);
        let context = match before {
            Some(before) => Context { span, ..before },
            None => self.begin_trace(request, span, &mut random)?,
        };
        let (parent, state) = (before.map(|before| before.span), record::state(request.headers()));
        let side = Side::server(request, caller);
        Some(self.span(Record::new(request, context, parent, state, side)))
    }

    /// The place of the first span of a trace, if it is sampled; either way the request tells of the trace from now on.
    fn begin_trace<B>(&self, request: &mut Request<B>, span: u64, random: &mut Rng) -> Option<Context> {
        let sampled = self.sample >= 1.0 || random.f64() < self.sample;
        let context = Context { trace: random.u128(1..), span, flags: if sampled { SAMPLED } else { 0 } };
        let headers = request.headers_mut();
        // It belongs to a trace that cannot be told.
        headers.remove(TRACESTATE);
        if let Some(value) = context.value() {
            headers.insert(TRACEPARENT, value);
        }
        sampled.then_some(context)
    }

    fn span(self: &Arc<Self>, record: Record) -> Span {
        let (context, state) = (record.context, Arc::clone(&record.state));
        Span(Box::new(Open { spans: Arc::clone(self), clock: Instant::now(), context, state, record: Some(record) }))
    }

    /// What has become of spans so far.
    pub(crate) fn counts(&self) -> Counts {
        self.tally.counts()
    }

    /// Sends what waits, for a moment at most: at the end of the process. Spans that end later are dropped.
    pub(crate) async fn flush(&self) {
        self.closing.cancel();
        let exporter = self.exporter.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(exporter) = exporter
            && timeout(LONGEST_FLUSH, exporter).await.is_err()
        {
            tracing::warn!("the last spans are not sent: the collector has not taken them in {LONGEST_FLUSH:?}");
        }
    }
}

impl Span {
    /// It turned out whose request it is.
    pub(crate) fn of(&mut self, whose: Client) {
        if let Some(Record { side: Side::Server { client, .. }, .. }) = &mut self.0.record {
            *client = whose;
        }
    }

    /// The request goes to an upstream, after so many others have had it: the span of that, which the request names from now on.
    pub(crate) fn attempt(&self, request: &mut Outgoing, to: &Place, resends: usize) -> Span {
        let above = &self.0;
        let context = Context { span: Rng::new().u64(1..), ..above.context };
        // A route may have removed it.
        if let Some(field) = request.headers_mut().get_mut(TRACEPARENT)
            && let Some(value) = context.value()
        {
            *field = value;
        }
        let side = Side::Client { upstream: to.endpoint.clone(), resends };
        let (parent, state) = (Some(above.context.span), Arc::clone(&above.state));
        above.spans.span(Record::new(request, context, parent, state, side))
    }

    /// The head of the reply is there.
    pub(crate) fn replied(&mut self, status: StatusCode) {
        if let Some(record) = &mut self.0.record {
            record.status = Some(status);
        }
    }

    /// There is no reply, or it broke off.
    pub(crate) fn failed(&mut self, kind: FailureKind) {
        if let Some(record) = &mut self.0.record {
            record.fault = Some(KINDS[place(kind)]);
        }
    }

    /// Its client has given it up in the middle of the reply.
    pub(crate) fn cancelled(&mut self) {
        if let Some(record) = &mut self.0.record {
            record.fault.get_or_insert(record::CANCELLED);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let Some(mut record) = self.record.take() else { return };
        record.took = self.clock.elapsed();
        if self.spans.queue.try_send(record).is_err() {
            self.spans.tally.crowded.add();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Scheme;

    #[tokio::test]
    async fn a_request_waits_for_no_room_in_the_queue() {
        let settings = config::Otlp {
            collector: http::Uri::from_static("http://127.0.0.1:1/v1/traces"),
            ca: None,
            sample: 1.0,
            service: "x".to_owned(),
        };
        let spans = Spans::start(&settings).expect("it starts");
        let caller = Caller { client: Client::Unix, input: Scheme::Unix, to: None, grpc: None };
        // What sends them has had no turn yet.
        for _ in 0..MOST_WAITING + 5 {
            let mut span = spans.begin(&mut Request::new(()), caller).expect("it is sampled");
            span.replied(StatusCode::OK);
        }
        assert_eq!(spans.counts(), Counts { crowded: 5, ..Counts::default() });
    }

    #[tokio::test]
    async fn so_large_a_part_is_sampled() {
        let (queue, _waiting) = mpsc::channel(1);
        let (tally, closing) = (Arc::default(), CancellationToken::new());
        let spans = Arc::new(Spans { sample: 0.25, queue, tally, closing, exporter: Mutex::default() });
        let caller = Caller { client: Client::Unix, input: Scheme::Unix, to: None, grpc: None };
        let sampled = (0..10_000).filter(|_| spans.begin(&mut Request::new(()), caller).is_some()).count();
        assert!((2000..3000).contains(&sampled), "{sampled}");
    }
}
