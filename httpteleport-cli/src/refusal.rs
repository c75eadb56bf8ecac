//! Requests that are not forwarded, and what their clients are told.

use std::fmt::Display;
use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use http::{Response, StatusCode};

use crate::body::Body;
use crate::counters::{Counters, REFUSALS, Refused};
use crate::endpoint::Scheme;
use crate::grpc;
use crate::listen::Client;

/// Why a request is not forwarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// It is no good HTTP.
    Malformed,
    /// Its client hung up in the middle of it.
    Gone,
    /// No route takes it.
    NoRoute,
    /// Its method is not let in.
    Method,
    /// Its body stopped.
    SlowBody,
    /// Its body is too large.
    LargeBody,
    /// Something is expected of it that is not done here.
    Expectation,
    /// Its client has too many running already.
    ClientConcurrency,
    /// Its client has sent too many in a second.
    ClientRate,
    /// Its head is too large.
    LargeHead,
    /// It asks for what is not done here.
    Unsupported,
    /// There is no place for it.
    Concurrency,
}

impl Reason {
    /// What the client is answered.
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Reason::Malformed => StatusCode::BAD_REQUEST,
            // What nginx has for it, and the access log: nobody is left who would be answered.
            Reason::Gone => StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
            Reason::NoRoute => StatusCode::NOT_FOUND,
            Reason::Method => StatusCode::METHOD_NOT_ALLOWED,
            Reason::SlowBody => StatusCode::REQUEST_TIMEOUT,
            Reason::LargeBody => StatusCode::PAYLOAD_TOO_LARGE,
            Reason::Expectation => StatusCode::EXPECTATION_FAILED,
            Reason::ClientConcurrency | Reason::ClientRate => StatusCode::TOO_MANY_REQUESTS,
            Reason::LargeHead => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Reason::Unsupported => StatusCode::NOT_IMPLEMENTED,
            Reason::Concurrency => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Why a request was answered so for its head.
    pub(crate) fn of_head(status: StatusCode) -> Reason {
        match status {
            StatusCode::PAYLOAD_TOO_LARGE => Reason::LargeBody,
            StatusCode::URI_TOO_LONG | StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => Reason::LargeHead,
            StatusCode::NOT_IMPLEMENTED => Reason::Unsupported,
            _ => Reason::Malformed,
        }
    }

    /// Counts and logs what became of a request for it.
    pub(crate) fn note(self, counters: &Counters, client: Client, became: impl Display) {
        match self.counter(counters) {
            Some(counter) => counter.note("request", client, became),
            // It happens all the time, and nobody is to blame.
            None => tracing::debug!(target: REFUSALS, "request of {client} {became}"),
        }
    }

    fn counter(self, counters: &Counters) -> Option<&Refused> {
        Some(match self {
            Reason::Gone => return None,
            Reason::Malformed => &counters.malformed,
            Reason::NoRoute => &counters.no_route,
            Reason::Method => &counters.method,
            Reason::SlowBody => &counters.slow_body,
            Reason::LargeBody => &counters.large_body,
            Reason::Expectation => &counters.expectation,
            Reason::ClientConcurrency => &counters.client_concurrency,
            Reason::ClientRate => &counters.client_rate,
            Reason::LargeHead => &counters.large_head,
            Reason::Unsupported => &counters.unsupported,
            Reason::Concurrency => &counters.concurrency,
        })
    }

    /// The option that decides it, for the log: clients need not know.
    fn option(self) -> Option<&'static str> {
        match self {
            Reason::Method => Some("--in-get-only"),
            Reason::SlowBody => Some("--in-body-timeout"),
            Reason::LargeBody => Some("--in-max-body-size"),
            Reason::LargeHead => Some("--in-max-header-size, --in-max-headers"),
            Reason::ClientConcurrency => Some("--client-concurrency"),
            Reason::ClientRate => Some("--client-rate"),
            Reason::Concurrency => Some("--concurrency"),
            _ => None,
        }
    }

    /// Whether the connection can be used on: what follows on it is a request, whose it is.
    pub(crate) fn is_harmless(self) -> bool {
        matches!(
            self,
            Reason::NoRoute | Reason::Method | Reason::ClientConcurrency | Reason::ClientRate | Reason::Concurrency
        )
    }

    /// The field that goes with the status.
    fn field(self) -> Option<(http::HeaderName, HeaderValue)> {
        match self {
            Reason::Method => Some((ALLOW, HeaderValue::from_static("GET"))),
            Reason::ClientConcurrency | Reason::ClientRate => Some((RETRY_AFTER, HeaderValue::from_static("1"))),
            _ => None,
        }
    }
}

/// A request that is not forwarded: the reason, and the same in words.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Refusal(pub(crate) Reason, pub(crate) &'static str);

impl Refusal {
    /// A refusal in fixed words.
    pub(crate) const fn new(reason: Reason, why: &'static str) -> Refusal {
        Refusal(reason, why)
    }
}

/// Who sent a request, and through what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caller {
    /// For logs.
    pub(crate) client: Client,
    /// The input's: its name begins every error text.
    pub(crate) input: Scheme,
    /// The address that the client, or who brought its request, came to.
    pub(crate) to: Option<SocketAddr>,
    /// The type of a reply, if its request is a call of gRPC.
    pub(crate) grpc: Option<&'static str>,
}

impl Caller {
    /// An error reply of this proxy: short text that begins with the input's kind. Who calls by gRPC gets it as what the call came to.
    pub(crate) fn refuse(self, status: StatusCode, why: &str) -> Response<Body> {
        let text = format!("{}: proxying error: {why}", self.input.name());
        if let Some(kind) = self.grpc {
            return grpc::failure(kind, status, &text).map(Body::from);
        }
        let mut reply = Response::new(Body::from(Bytes::from(text + "\n")));
        *reply.status_mut() = status;
        reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
        reply
    }

    /// The reply to a request that is not forwarded; counts and logs it.
    pub(crate) fn turn_away(self, refusal: &Refusal, counters: &Counters) -> Response<Body> {
        let Refusal(reason, why) = refusal;
        let status = reason.status();
        let code = status.as_u16();
        match reason.option() {
            Some(option) => reason.note(counters, self.client, format_args!("refused with {code}: {why} ({option})")),
            None => reason.note(counters, self.client, format_args!("refused with {code}: {why}")),
        }
        let mut reply = self.refuse(status, why);
        reply.headers_mut().extend(reason.field());
        reply
    }
}
