//! Messages for the codecs by themselves: the same content in the types of each.

use std::fmt;

use bytes::Bytes;
use fastrpc::Codec;
use fastrpc::codec::tlv::{self, Tlv};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode, Uri};
use httpteleport::{Body, ClassicCodec, Reply, lazy};

use crate::workload::{REPLY_BYTES, text};

/// A request and its reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Those of the matrix: next to nothing there, 261 bytes back.
    Small,
    /// Those of a shop's interface: 12 headers and some JSON each way.
    Real,
}

impl fmt::Display for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Small => "small",
            Self::Real => "real",
        })
    }
}

/// A codec with messages to try it on.
pub trait Sample: Codec {
    /// The codec itself.
    fn codec() -> Self;
    /// What is asked.
    fn request(message: Message) -> Self::Request;
    /// What is answered.
    fn reply(message: Message) -> Self::Reply;
}

/// The codec of the types of the `http` crate.
pub type Http = ClassicCodec;
/// The codec of lazy heads, both ways.
pub type LazyHeads = ClassicCodec<lazy::Request, lazy::Response>;

impl Sample for Tlv {
    fn codec() -> Self {
        Self::new()
    }

    fn request(message: Message) -> tlv::Request {
        match message {
            Message::Small => tlv::Request::new("", "foobar"),
            Message::Real => tlv::Request::new("orders.create", QUESTION),
        }
    }

    fn reply(message: Message) -> tlv::Reply {
        tlv::Reply::new(answer(message))
    }
}

impl Sample for Http {
    fn codec() -> Self {
        Self::default()
    }

    fn request(message: Message) -> http::Request<Body> {
        let mut request = http::Request::new(Body::empty());
        match message {
            Message::Small => *request.uri_mut() = Uri::from_static("http://foobar/foo/bar"),
            Message::Real => {
                *request.method_mut() = Method::POST;
                *request.uri_mut() = Uri::from_static("/v2/orders?expand=items");
                *request.headers_mut() = map(&ASKING);
                *request.body_mut() = Body::from(QUESTION);
            }
        }
        request
    }

    fn reply(message: Message) -> Reply {
        let mut response = http::Response::new(Body::from(answer(message)));
        *response.headers_mut() = map(answering(message));
        Reply::new(response)
    }
}

impl Sample for LazyHeads {
    fn codec() -> Self {
        Self::of(httpteleport::Limits::default())
    }

    fn request(message: Message) -> lazy::Request {
        match message {
            Message::Small => lazy::Request::new(Method::GET, &Uri::from_static("http://foobar/foo/bar")),
            Message::Real => {
                let bare = lazy::Request::new(Method::POST, &Uri::from_static("/v2/orders?expand=items"));
                let add = |request: lazy::Request, (name, value)| request.with_header(&name, &value);
                fields(&ASKING).fold(bare, add).with_body(QUESTION)
            }
        }
    }

    fn reply(message: Message) -> lazy::Response {
        let add = |response: lazy::Response, (name, value)| response.with_header(&name, &value);
        fields(answering(message)).fold(lazy::Response::new(StatusCode::OK), add).with_body(answer(message))
    }
}

type Fields = [(&'static str, &'static str)];

/// Twelve fields as a browser sends them through a load balancer.
const ASKING: [(&str, &str); 12] = [
    ("host", "api.store.example"),
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    ("accept", "application/json, text/plain, */*"),
    ("accept-encoding", "gzip, deflate, br, zstd"),
    ("accept-language", "en-GB,en;q=0.8"),
    ("authorization", "Bearer 7Vb2mQx0c9TzRk4LwYpE1uHs6JdN8aGf3oKi5XtCqZr"),
    ("cookie", "session=Zk3vP8sLq1Xw; csrf=m4Tn7Yb0Rd; locale=en; consent=1"),
    ("content-type", "application/json"),
    ("origin", "https://www.store.example"),
    ("x-forwarded-for", "203.0.113.41, 10.0.7.21"),
    ("x-request-id", "5e1c9f0a-7d34-4b28-9a61-c08f2e6b71d5"),
    ("traceparent", "00-8f3a1c5be07d4296a1f0c2b35d7e9864-3b9d61f07ac2e584-01"),
];

const QUESTION: &str = concat!(
    r#"{"customer":"c_81f3a0","currency":"EUR","items":[{"sku":"LMP-2210","quantity":2,"price":2495},"#,
    r#"{"sku":"CBL-0071","quantity":1,"price":899}],"shipping":{"method":"standard","city":"Utrecht","postcode":"3511"},"#,
    r#""note":"please leave it with the neighbours at number 12","coupon":null}"#,
);

/// Twelve fields as a service answers behind a proxy.
const ANSWERING: [(&str, &str); 12] = [
    ("date", "Thu, 01 Jan 2026 00:00:00 GMT"),
    ("etag", "W/\"6f1e0b93d2a7c845\""),
    ("cache-control", "private, max-age=0, must-revalidate"),
    ("x-request-id", "5e1c9f0a-7d34-4b28-9a61-c08f2e6b71d5"),
    ("server", "envoy"),
    ("content-type", "application/json; charset=utf-8"),
    ("vary", "Accept-Encoding, Origin"),
    ("access-control-allow-origin", "https://www.store.example"),
    ("x-ratelimit-remaining", "417"),
    ("x-content-type-options", "nosniff"),
    ("strict-transport-security", "max-age=31536000; includeSubDomains"),
    ("x-envoy-upstream-service-time", "23"),
];

const ANSWER: &str = concat!(
    r#"{"id":"o_5b20c7e19f","status":"accepted","total":5889,"currency":"EUR","created":"2026-01-01T00:00:00Z","#,
    r#""items":[{"sku":"LMP-2210","name":"Desk lamp, brass","quantity":2,"price":2495,"in_stock":true},"#,
    r#"{"sku":"CBL-0071","name":"Cable, 2 m, woven","quantity":1,"price":899,"in_stock":true}],"#,
    r#""delivery":{"method":"standard","earliest":"2026-01-05","latest":"2026-01-07","carrier":"postal"},"#,
    r#""links":{"self":"/v2/orders/o_5b20c7e19f","cancel":"/v2/orders/o_5b20c7e19f/cancel"}}"#,
);

fn answering(message: Message) -> &'static Fields {
    match message {
        Message::Small => &[("content-type", "text/plain; charset=utf-8")],
        Message::Real => &ANSWERING,
    }
}

fn answer(message: Message) -> Bytes {
    match message {
        Message::Small => text(REPLY_BYTES),
        Message::Real => Bytes::from_static(ANSWER.as_bytes()),
    }
}

fn fields(fields: &Fields) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    fields.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
}

fn map(of: &Fields) -> HeaderMap {
    fields(of).collect()
}
