//! Spans of requests, which a collector gets by OTLP (OpenTelemetry), and what else is done about traces.
//!
//! Only a program that is built with the feature `otlp` has spans; in others there is nothing of these types.

use std::sync::Arc;

use http::{Request, StatusCode};

use crate::body::Body;
use crate::refusal::Caller;
use crate::trace_context;

#[cfg(feature = "otlp")]
mod context;
#[cfg(feature = "otlp")]
mod export;
#[cfg(feature = "otlp")]
mod message;
#[cfg(not(feature = "otlp"))]
mod none;
#[cfg(feature = "otlp")]
mod record;
#[cfg(feature = "otlp")]
mod recorder;

#[cfg(not(feature = "otlp"))]
pub(crate) use self::none::{Span, Spans};
#[cfg(feature = "otlp")]
pub(crate) use self::recorder::{Span, Spans};

/// What has become of spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// The collector has taken them.
    pub(crate) sent: u64,
    /// Too many were waiting.
    pub(crate) crowded: u64,
    /// The collector was not there, or did not want them.
    pub(crate) refused: u64,
}

/// What an input does about traces.
#[derive(Clone)]
pub(crate) struct Traces {
    /// Requests without a trace get one.
    pub(crate) begin: bool,
    /// Where spans go, if they go anywhere.
    pub(crate) spans: Option<Arc<Spans>>,
}

impl Traces {
    /// A request has come: its span, if it is to have one.
    pub(crate) fn begin<B>(&self, request: &mut Request<B>, caller: Caller) -> Option<Span> {
        match &self.spans {
            Some(spans) => spans.begin(request, caller),
            None => {
                if self.begin {
                    trace_context::begin(request.headers_mut());
                }
                None
            }
        }
    }
}

/// The reply to a request is there: the end of its body is the end of the span.
pub(crate) fn answered(span: Option<Span>, status: StatusCode, body: &mut Body) {
    if let Some(mut span) = span {
        span.replied(status);
        body.end_span(span);
    }
}
