//! Spans in the words of OTLP, with the attributes of OpenTelemetry's semantic conventions for HTTP.

use std::time::{SystemTime, UNIX_EPOCH};

use http::uri::Authority;
use http::{Method, Version};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

use super::record::{CANCELLED, Record, Side};
use crate::endpoint::{Address, Endpoint};
use crate::listen::Client;

/// It is known whether the parent is of another process, and it is.
const REMOTE: u32 = 0x300;
/// It is known, and it is not.
const LOCAL: u32 = 0x100;

/// Spans of this service.
pub(super) fn request(service: &str, records: &[Record]) -> ExportTraceServiceRequest {
    let version = env!("CARGO_PKG_VERSION");
    let mut attributes = Attributes::default();
    attributes.text("service.name", service);
    attributes.text("service.version", version);
    let scope = InstrumentationScope { name: "httptp".to_owned(), version: version.to_owned(), ..Default::default() };
    let spans = records.iter().map(span).collect();
    let scope_spans = vec![ScopeSpans { scope: Some(scope), spans, ..Default::default() }];
    let resource = Some(Resource { attributes: attributes.0, ..Default::default() });
    ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { resource, scope_spans, ..Default::default() }] }
}

fn span(record: &Record) -> Span {
    let mut attributes = Attributes::default();
    attributes.method(&record.method);
    let (kind, remote, fails_from) = match &record.side {
        Side::Server { input, version, authority, agent, peer, client } => {
            attributes.text("url.scheme", if input.is_tls() { "https" } else { "http" });
            attributes.text("url.path", &record.path);
            attributes.host(authority.as_deref().unwrap_or_default());
            attributes.address("client.address", *client);
            attributes.peer(*peer);
            attributes.protocol(input.is_teleport(), *version);
            attributes.text("user_agent.original", agent.as_deref().unwrap_or_default());
            (SpanKind::Server, record.parent.is_some(), 500)
        }
        Side::Client { upstream, resends } => {
            attributes.upstream(upstream, &record.path);
            if *resends > 0 {
                attributes.number("http.request.resend_count", *resends as u64);
            }
            (SpanKind::Client, false, 400)
        }
    };
    let error = match (record.fault, record.status) {
        (Some(fault), _) => Some(fault.to_owned()),
        (None, Some(status)) => (status.as_u16() >= fails_from).then(|| status.as_u16().to_string()),
        (None, None) => Some(CANCELLED.to_owned()),
    };
    if let Some(status) = record.status {
        attributes.number("http.response.status_code", status.as_u16().into());
    }
    if let Some(error) = &error {
        attributes.text("error.type", error);
    }
    let status = error.map(|_| Status { code: StatusCode::Error.into(), ..Default::default() });
    let began = nanos(record.began);
    Span {
        trace_id: record.context.trace.to_be_bytes().to_vec(),
        span_id: record.context.span.to_be_bytes().to_vec(),
        parent_span_id: record.parent.map(|parent| parent.to_be_bytes().to_vec()).unwrap_or_default(),
        trace_state: record.state.as_ref().to_owned(),
        flags: u32::from(record.context.flags) | if remote { REMOTE } else { LOCAL },
        name: known(&record.method).unwrap_or("HTTP").to_owned(),
        kind: kind.into(),
        start_time_unix_nano: began,
        end_time_unix_nano: began.saturating_add(u64::try_from(record.took.as_nanos()).unwrap_or(u64::MAX)),
        attributes: attributes.0,
        status,
        ..Default::default()
    }
}

#[derive(Default)]
struct Attributes(Vec<KeyValue>);

impl Attributes {
    fn add(&mut self, key: &str, value: Value) {
        let value = Some(AnyValue { value: Some(value) });
        self.0.push(KeyValue { key: key.to_owned(), value, ..Default::default() });
    }

    /// Nothing is not told.
    fn text(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.add(key, Value::StringValue(value.to_owned()));
        }
    }

    fn number(&mut self, key: &str, value: u64) {
        self.add(key, Value::IntValue(i64::try_from(value).unwrap_or(i64::MAX)));
    }

    /// Clients can send any word: others than those that are known count as one.
    fn method(&mut self, method: &Method) {
        self.text("http.request.method", known(method).unwrap_or("_OTHER"));
        if known(method).is_none() {
            self.text("http.request.method_original", method.as_str());
        }
    }

    /// Whom the client has asked for.
    fn host(&mut self, authority: &str) {
        let Ok(authority) = authority.parse::<Authority>() else { return };
        self.text("server.address", authority.host().trim_matches(['[', ']']));
        if let Some(port) = authority.port_u16() {
            self.number("server.port", port.into());
        }
    }

    fn address(&mut self, key: &str, client: Client) {
        if let Some(address) = client.address() {
            self.text(key, &address.to_string());
        }
    }

    fn peer(&mut self, peer: Client) {
        self.address("network.peer.address", peer);
        if let Client::Tcp(address) = peer {
            self.number("network.peer.port", address.port().into());
        }
    }

    fn protocol(&mut self, is_teleport: bool, version: Version) {
        let version = match version {
            _ if is_teleport => return self.text("network.protocol.name", "teleport"),
            Version::HTTP_10 => "1.0",
            Version::HTTP_2 => "2",
            _ => "1.1",
        };
        self.text("network.protocol.version", version);
    }

    /// Where the request went. Its query is not told: there may be secrets in it.
    fn upstream(&mut self, upstream: &Endpoint, path: &str) {
        match &upstream.address {
            Address::Tcp { host, port } => {
                self.text("url.full", &format!("{upstream}{path}"));
                self.text("server.address", host);
                self.number("server.port", (*port).into());
            }
            Address::Unix(socket) => {
                self.text("url.path", path);
                self.text("server.address", &socket.to_string_lossy());
            }
        }
        if upstream.scheme.is_teleport() {
            self.text("network.protocol.name", "teleport");
        }
    }
}

/// Its name, if it is one of those that everybody knows (RFC 9110, RFC 5789).
fn known(method: &Method) -> Option<&str> {
    let all = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::CONNECT,
        Method::OPTIONS,
        Method::TRACE,
        Method::PATCH,
    ];
    all.contains(method).then_some(method.as_str())
}

fn nanos(time: SystemTime) -> u64 {
    u64::try_from(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::endpoint::Scheme;
    use crate::spans::context::Context;

    fn record(path: &str, side: Side) -> Record {
        Record {
            context: Context { trace: 7, span: 9, flags: 1 },
            parent: None,
            state: "".into(),
            began: UNIX_EPOCH + Duration::from_secs(5),
            took: Duration::from_nanos(11),
            method: Method::GET,
            path: path.into(),
            status: Some(http::StatusCode::OK),
            fault: None,
            side,
        }
    }

    /// A request that came to this authority.
    fn server(input: Scheme, version: Version, authority: &str) -> Side {
        let (authority, agent) = (Some(authority.into()), Some("".into()));
        Side::Server { input, version, authority, agent, peer: Client::Unix, client: Client::Unix }
    }

    /// Each attribute as `key=value`.
    fn attributes(span: &Span) -> Vec<String> {
        let value = |one: &KeyValue| match one.value.as_ref()?.value.as_ref()? {
            Value::StringValue(text) => Some(text.clone()),
            Value::IntValue(number) => Some(number.to_string()),
            _ => None,
        };
        span.attributes.iter().map(|one| format!("{}={}", one.key, value(one).expect("text or number"))).collect()
    }

    #[test]
    fn a_request_that_came_tells_whom_it_was_for() {
        let span = span(&record("/a%2Fb", server(Scheme::Https, Version::HTTP_2, "[::1]:8")));
        let want = [
            "http.request.method=GET",
            "url.scheme=https",
            "url.path=/a%2Fb",
            "server.address=::1",
            "server.port=8",
            "network.protocol.version=2",
            "http.response.status_code=200",
        ];
        assert_eq!(attributes(&span), want);
        assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (5_000_000_000, 5_000_000_011));
        assert_eq!((&span.trace_id[15..], &span.span_id[7..], span.parent_span_id.len()), (&[7][..], &[9][..], 0));
    }

    #[test]
    fn an_upstream_on_a_unix_socket_has_no_url() {
        let upstream = Endpoint::parse("unix:/run/app").expect("an endpoint");
        let span = span(&record("/x", Side::Client { upstream, resends: 0 }));
        let want =
            ["http.request.method=GET", "url.path=/x", "server.address=/run/app", "http.response.status_code=200"];
        assert_eq!(attributes(&span), want);
    }

    #[test]
    fn errors_are_those_of_the_side() {
        let upstream = Endpoint::parse("http://h").expect("an endpoint");
        for (code, of_server, of_client) in
            [(200, None, None), (404, None, Some("404")), (503, Some("503"), Some("503"))]
        {
            for (side, want) in [
                (server(Scheme::Http, Version::HTTP_11, "no host"), of_server),
                (Side::Client { upstream: upstream.clone(), resends: 1 }, of_client),
            ] {
                let mut record = record("/", side);
                record.status = http::StatusCode::from_u16(code).ok();
                let span = span(&record);
                let error = want.map(|error| format!("error.type={error}"));
                assert_eq!(attributes(&span).into_iter().find(|one| one.starts_with("error.type")), error, "{code}");
                assert_eq!(span.status.is_some(), want.is_some());
            }
        }
    }
}
