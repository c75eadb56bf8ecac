//! A collector of spans that the test plays itself, which reads them with OpenTelemetry's own types.

use std::convert::Infallible;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use prost::Message as _;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use crate::program::PATIENCE;

/// Most spans that a test leaves untaken.
const MOST: usize = 10_000;

/// What it answers: a status, and how many spans of each message it throws away.
pub(crate) type Answer = (u16, i64);

/// A running collector.
pub(crate) struct Collector {
    pub(crate) url: String,
    spans: Receiver<Told>,
}

/// A span, and whose it is.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) service: String,
    pub(crate) span: Span,
}

impl Collector {
    /// One that takes everything.
    pub(crate) async fn start() -> Collector {
        Collector::with(vec![], None).await
    }

    /// The same over TLS.
    pub(crate) async fn tls(config: ServerConfig) -> Collector {
        Collector::with(vec![], Some(TlsAcceptor::from(Arc::new(config)))).await
    }

    /// One that answers so, one message after the other, and then takes everything. Spans that it does not take are not told.
    pub(crate) async fn answering(answers: Vec<Answer>) -> Collector {
        Collector::with(answers, None).await
    }

    async fn with(answers: Vec<Answer>, tls: Option<TlsAcceptor>) -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{}/below", listener.local_addr().expect("an address"));
        let (sender, spans) = channel(MOST);
        let answers = Arc::new(std::sync::Mutex::new(answers.into_iter()));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (sender, answers) = (sender.clone(), Arc::clone(&answers));
                let service = service_fn(move |request| {
                    let answer = answers.lock().expect("no panic").next().unwrap_or((200, 0));
                    take(request, sender.clone(), answer)
                });
                let (http, tls) = (http1::Builder::new(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => http.serve_connection(TokioIo::new(stream), service).await,
                        Some(tls) => {
                            let stream = tls.accept(stream).await.expect("a handshake");
                            http.serve_connection(TokioIo::new(stream), service).await
                        }
                    }
                });
            }
        });
        Collector { url, spans }
    }

    /// The options of a node of this name.
    pub(crate) fn options<'a>(&'a self, service: &'a str) -> [&'a str; 4] {
        ["--otlp-endpoint", &self.url, "--otlp-service", service]
    }

    /// The next so many spans.
    pub(crate) async fn take(&mut self, count: usize) -> Vec<Told> {
        let mut all = Vec::new();
        while all.len() < count {
            all.push(timeout(PATIENCE, self.spans.recv()).await.expect("in time").expect("a span"));
        }
        all
    }

    /// What has come and was not taken.
    pub(crate) fn rest(&mut self) -> Vec<Told> {
        std::iter::from_fn(|| self.spans.try_recv().ok()).collect()
    }
}

async fn take(
    request: Request<Incoming>,
    sender: Sender<Told>,
    (status, rejected): Answer,
) -> Result<Response<Full<Bytes>>, Infallible> {
    assert_eq!((request.method().as_str(), request.uri().path()), ("POST", "/below/v1/traces"));
    assert_eq!(request.headers()["content-type"], "application/x-protobuf");
    let body = request.into_body().collect().await.expect("whole").to_bytes();
    let message = ExportTraceServiceRequest::decode(body).expect("a message of OTLP");
    for resource in message.resource_spans.into_iter().filter(|_| status == 200) {
        let service = attribute(&resource.resource.expect("a resource").attributes, "service.name");
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            // Nobody may be waiting any more.
            let _ = sender.try_send(Told { service: service.clone().expect("a name"), span });
        }
    }
    let error_message = if rejected > 0 { "too many\nof them".to_owned() } else { String::new() };
    let partial = ExportTracePartialSuccess { rejected_spans: rejected, error_message };
    let said = ExportTraceServiceResponse { partial_success: (rejected > 0).then_some(partial) };
    let reply = Response::builder().status(status).body(Full::new(said.encode_to_vec().into()));
    Ok(reply.expect("a reply"))
}

fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        other => panic!("{key}: {other:?}"),
    }
}

impl Told {
    /// The value of an attribute as text.
    pub(crate) fn get(&self, key: &str) -> Option<String> {
        attribute(&self.span.attributes, key)
    }

    /// The values of these attributes, which are there.
    pub(crate) fn all<const N: usize>(&self, keys: [&str; N]) -> [String; N] {
        keys.map(|key| self.get(key).unwrap_or_else(|| panic!("no {key} in {self:?}")))
    }

    /// Whether it is of a request that came.
    pub(crate) fn is_server(&self) -> bool {
        self.span.kind() == SpanKind::Server
    }

    /// Whether it says that something went wrong.
    pub(crate) fn is_error(&self) -> bool {
        self.span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error)
    }

    /// What a `traceparent` says that names it as the parent.
    pub(crate) fn traceparent(&self) -> String {
        format!("00-{}-{}-01", hex(&self.span.trace_id), hex(&self.span.span_id))
    }
}

/// Bytes as digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
