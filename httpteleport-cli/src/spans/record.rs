//! What a span tells, as it is kept until it is sent.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::header::{HOST, HeaderName, HeaderValue, USER_AGENT};
use http::{HeaderMap, Method, Request, StatusCode, Version};

use super::context::Context;
use crate::endpoint::{Endpoint, Scheme};
use crate::listen::Client;
use crate::refusal::Caller;

pub(super) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// What a span says of a request that its client gave up.
pub(super) const CANCELLED: &str = "cancelled";

/// Most bytes of a text: paths can be as long as a head.
pub(super) const LONGEST: usize = 1024;
/// So much of a `tracestate` is told, which is what everybody has to take.
const LONGEST_STATE: usize = 512;

/// A span that is over, but for its duration while it runs. Texts are copies: what a head came in, which may be large, is not held by
/// spans that wait.
pub(super) struct Record {
    /// Its own place.
    pub(super) context: Context,
    /// What it is below, if that is known.
    pub(super) parent: Option<u64>,
    /// The `tracestate` that came.
    pub(super) state: Arc<str>,
    pub(super) began: SystemTime,
    pub(super) took: Duration,
    pub(super) method: Method,
    pub(super) path: Box<str>,
    /// None if there was no reply.
    pub(super) status: Option<StatusCode>,
    /// What went wrong beside the status, in a word.
    pub(super) fault: Option<&'static str>,
    pub(super) side: Side,
}

/// Which end of a request it is.
pub(super) enum Side {
    /// The request as it came.
    Server {
        input: Scheme,
        version: Version,
        /// Whom the client has asked for: in its target, or as `Host`.
        authority: Option<Box<str>>,
        agent: Option<Box<str>>,
        /// Who has connected.
        peer: Client,
        /// Whose request it is.
        client: Client,
    },
    /// The request as it went to an upstream.
    Client {
        upstream: Endpoint,
        /// How many have had it before.
        resends: usize,
    },
}

impl Record {
    /// What begins now with this request.
    pub(super) fn new<B>(
        request: &Request<B>,
        context: Context,
        parent: Option<u64>,
        state: Arc<str>,
        side: Side,
    ) -> Record {
        Record {
            context,
            parent,
            state,
            began: SystemTime::now(),
            took: Duration::ZERO,
            method: request.method().clone(),
            path: shortened(request.uri().path()).into(),
            status: None,
            fault: None,
            side,
        }
    }
}

impl Side {
    /// That of a request that has come.
    pub(super) fn server<B>(request: &Request<B>, caller: Caller) -> Side {
        let field = |name: HeaderName| request.headers().get(name).and_then(text);
        let authority = request.uri().authority().map(http::uri::Authority::as_str);
        Side::Server {
            input: caller.input,
            version: request.version(),
            authority: authority.or_else(|| field(HOST)).map(shortened).map(Into::into),
            agent: field(USER_AGENT).map(shortened).map(Into::into),
            peer: caller.client,
            client: caller.client,
        }
    }
}

/// The `tracestate` of a request in one, or nothing if it is too long.
pub(super) fn state(headers: &HeaderMap) -> Arc<str> {
    let joined = headers.get_all(TRACESTATE).iter().filter_map(text).collect::<Vec<_>>().join(",");
    if joined.len() > LONGEST_STATE { "".into() } else { joined.into() }
}

fn text(value: &HeaderValue) -> Option<&str> {
    value.to_str().ok()
}

/// As much of it as is told.
fn shortened(text: &str) -> &str {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_of_http_2_names_its_host_in_its_target() {
        let caller = Caller { client: Client::Unix, input: Scheme::Https, to: None, grpc: None };
        let asked = |target: &str, host: Option<&str>| {
            let request = host.into_iter().fold(Request::get(target), |request, host| request.header(HOST, host));
            match Side::server(&request.body(()).expect("a request"), caller) {
                Side::Server { authority, .. } => authority,
                Side::Client { .. } => panic!("a server"),
            }
        };
        assert_eq!(asked("https://[::1]:8/a", None).as_deref(), Some("[::1]:8"));
        assert_eq!(asked("http://a:81/a", Some("b")).as_deref(), Some("a:81"));
        assert_eq!(asked("/a", Some("b")).as_deref(), Some("b"));
        assert_eq!(asked("/a", None), None);
    }

    #[test]
    fn what_clients_send_is_cut() {
        let long = "x".repeat(5000);
        let request = Request::get(format!("/{long}")).header(HOST, &long).header(USER_AGENT, &long);
        let request = request.header(TRACESTATE, "a=1,".repeat(100)).header(TRACESTATE, "b=2,".repeat(100));
        let request = request.body(()).expect("a request");
        let caller = Caller { client: Client::Unix, input: Scheme::Http, to: None, grpc: None };
        let (context, state) = (Context { trace: 1, span: 1, flags: 1 }, state(request.headers()));
        let record = Record::new(&request, context, None, state, Side::server(&request, caller));
        let Side::Server { authority, agent, .. } = record.side else { panic!("a server") };
        assert_eq!((record.path.len(), &*record.state), (LONGEST, ""));
        assert_eq!([authority, agent].map(|text| text.map(|text| text.len())), [Some(LONGEST); 2]);
        assert_eq!(shortened(&"\u{e4}".repeat(1000)).len(), LONGEST);
        assert_eq!(shortened(&format!("x{}", "\u{e4}".repeat(1000))).len(), LONGEST - 1, "no character is cut in two");
    }
}
