//! Which request gets what.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, LOCATION, REFERRER_POLICY,
    SET_COOKIE, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;

use super::cmdline;
use super::now;
use super::own_host::OwnHost;
use super::page::Page;
use super::token::{Token, TokenFile};
use crate::metrics::{Metrics, go, prometheus};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");
/// Prometheus' text format, and its version.
const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// The policy of what has nothing to show but itself.
const BARE: HeaderValue = HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'");

type Reply = Response<Full<Bytes>>;

/// Answers requests to the admin address.
pub(super) struct Answer {
    metrics: Arc<Metrics>,
    token: Option<Arc<TokenFile>>,
    /// Whom requests have to be for, if not anybody.
    own_host: Option<OwnHost>,
    price_per_gb: Option<f64>,
    page: Page,
}

impl Answer {
    pub(super) fn new(
        metrics: Arc<Metrics>,
        token: Option<Arc<TokenFile>>,
        own_host: Option<OwnHost>,
        price_per_gb: Option<f64>,
    ) -> Answer {
        Answer { metrics, token, own_host, price_per_gb, page: Page::new() }
    }

    /// The reply to a request, whose body nobody reads.
    pub(super) fn to<B>(&self, request: &Request<B>) -> Reply {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let reply = text(StatusCode::METHOD_NOT_ALLOWED, "only GET is served here\n");
            return with(reply, ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        match request.uri().path() {
            // Who looks whether the process lives may know nothing else of it.
            "/healthz" => text(StatusCode::OK, "ok\n"),
            "/readyz" if self.metrics.shutdown.is_leaving() => text(StatusCode::SERVICE_UNAVAILABLE, "draining\n"),
            "/readyz" => text(StatusCode::OK, "ready\n"),
            _ if self.own_host.as_ref().is_some_and(|own| !own.is_meant(request.headers())) => text(
                StatusCode::MISDIRECTED_REQUEST,
                "this address answers to localhost, to IP addresses and to the name in --admin\n",
            ),
            path => match self.token.as_ref().map(|file| file.token()) {
                Some(token) if !token.is_in(request.headers()) => refuse(&token, request.uri().query()),
                _ => self.read(path),
            },
        }
    }

    fn read(&self, path: &str) -> Reply {
        match path {
            "/" => {
                let reply = reply(StatusCode::OK, HTML, self.page.html());
                with(reply, CONTENT_SECURITY_POLICY, self.page.policy())
            }
            "/api/now" => {
                let json = now::json(&self.metrics.seen(), self.price_per_gb);
                reply(StatusCode::OK, JSON, Bytes::from(json.to_string()))
            }
            "/metrics" => encoded(prometheus::text(&self.metrics.seen())),
            "/prometheus" => {
                self.metrics.go_reads.fetch_add(1, Relaxed);
                encoded(go::text(&self.metrics.seen()))
            }
            "/expvar" => {
                let cmdline = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned());
                let json = go::json(&self.metrics.seen(), cmdline::without_keys(cmdline));
                reply(StatusCode::OK, JSON, Bytes::from(format!("{json:#}\n")))
            }
            _ => text(
                StatusCode::NOT_FOUND,
                "there are: / /metrics /healthz /readyz, and as Go's httptp has them /expvar /prometheus\n",
            ),
        }
    }
}

/// Who gives the token in the query gets it as a cookie, so that it does not stay in the address line.
fn refuse(token: &Token, query: Option<&str>) -> Reply {
    if query.is_some_and(|query| token.is_in_query(query))
        && let Some(cookie) = token.cookie()
    {
        let reply = text(StatusCode::SEE_OTHER, "");
        return with(with(reply, SET_COOKIE, cookie), LOCATION, HeaderValue::from_static("/"));
    }
    let why = "a token is needed: give it as Authorization: Bearer TOKEN, or in a browser once as /?token=TOKEN\n";
    with(text(StatusCode::UNAUTHORIZED, why), WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
}

fn encoded(metrics: anyhow::Result<String>) -> Reply {
    match metrics {
        Ok(metrics) => reply(StatusCode::OK, METRICS, metrics.into()),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error:#}\n")),
    }
}

fn text(status: StatusCode, text: &str) -> Reply {
    reply(status, TEXT, Bytes::copy_from_slice(text.as_bytes()))
}

fn reply(status: StatusCode, kind: HeaderValue, body: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = status;
    let headers = reply.headers_mut();
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_SECURITY_POLICY, BARE);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    reply
}

fn with(mut reply: Reply, name: HeaderName, value: HeaderValue) -> Reply {
    reply.headers_mut().insert(name, value);
    reply
}
