//! Messages whose heads stay text say and send what those of the `http` crate do.

use bytes::BytesMut;
use fastrpc::codec::{Codec, Decoded};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Uri};
use httpteleport::{Body, ClassicCodec, Client, Limits, Server, lazy};

use crate::support::*;

type LazyCodec = ClassicCodec<lazy::Request, lazy::Response>;

fn lazily() -> LazyCodec {
    ClassicCodec::of(Limits::default())
}

fn received_lazily(wire: &str) -> lazy::Request {
    match lazily().decode_request(&mut Default::default(), &mut BytesMut::from(wire)) {
        Ok(Some(Decoded::Message(request))) => request,
        other => panic!("{wire:?}: {other:?}"),
    }
}

fn received_reply_lazily(wire: &str) -> lazy::Response {
    match lazily().decode_reply(&mut Default::default(), &mut BytesMut::from(wire)) {
        Ok(Some(Decoded::Message(reply))) => reply,
        other => panic!("{wire:?}: {other:?}"),
    }
}

/// The text of an encoded request.
fn sent_lazily(request: &lazy::Request) -> String {
    let mut out = Vec::new();
    lazily().encode_request(request, &mut out).expect("it can be sent");
    String::from_utf8(out).expect("text")
}

fn sent_reply_lazily(reply: &lazy::Response) -> String {
    let mut out = Vec::new();
    lazily().encode_reply(reply, &mut out).expect("it can be sent");
    String::from_utf8(out).expect("text")
}

fn same(one: &Request<Body>, other: &Request<Body>) {
    assert_eq!(format!("{one:?}"), format!("{other:?}"));
}

const REQUESTS: &[&str] = &[
    "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET /a?b HTTP/1.1\nhost:h\nX: 1\nx: 2\n\n",
    "POST * HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nETag : \t7 \r\n\r\nhi",
    "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
    "GET /a#frag HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET http://user@other:8080?q HTTP/1.1\r\nHost: h\r\nX: 1\r\n\r\n",
    "GET / HTTP/1.1\r\nConnection: x-one, close\r\nHost: h\r\nX-One: gone\r\nX-Two: 2\r\n\r\n",
    "GET / HTTP/1.1\r\nX-One: gone\r\nTE: trailers\r\nUpgrade: x\r\nHost: h\r\nConnection: X-ONE\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: h\r\nTeleport-Method: HEAD\r\nTeleport-Head-Length: 4\r\nExpect: 100-continue\r\n\r\n",
    "HEAD /x HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET / HTTP/1.0\r\nHost: h\r\n\r\n",
    "DELETE /{a}|b HTTP/1.1\r\nHost: h\r\nEmpty:\r\nBinary: \u{e9}\r\n\r\n",
];

#[test]
fn a_lazy_request_says_what_its_conversion_says() {
    for wire in REQUESTS {
        let request = received_lazily(wire);
        let converted = Request::<Body>::try_from(request.clone()).unwrap();
        same(&converted, &received(wire));
        assert_eq!((request.method(), request.body()), (converted.method(), converted.body()), "{wire:?}");
        assert_eq!((request.target(), request.version()), (&*converted.uri().to_string(), converted.version()));
        assert_eq!(request.host().map(str::as_bytes), converted.headers().get(HOST).map(HeaderValue::as_bytes));
        assert_eq!(request.headers().count(), converted.headers().len(), "{wire:?}");
        for name in converted.headers().keys() {
            let told: Vec<_> = request.headers().filter(|(known, _)| name == known).map(|(_, value)| value).collect();
            assert_eq!(told, converted.headers().get_all(name).iter().collect::<Vec<_>>(), "{wire:?}");
            assert_eq!(request.header(&name.as_str().to_uppercase()), told.first().copied());
        }
    }
}

#[test]
fn a_lazy_request_that_is_passed_on_reads_like_its_conversion_passed_on() {
    for wire in REQUESTS {
        let request = received_lazily(wire);
        let converted = Request::<Body>::try_from(request.clone()).unwrap();
        let passed_on = sent_lazily(&request);
        same(&received(&passed_on), &received(sent(&converted)));
        let head = passed_on.to_ascii_lowercase();
        for gone in ["connection", "x-one", "expect", "teleport-head-length", "te:", "upgrade"] {
            assert!(!head.contains(gone), "{gone} in {head:?}");
        }
    }
}

/// A Go peer takes the last `Content-Type`, and parses a `multipart/form-data` body that has a length (see `ClassicCodec`).
#[test]
fn a_multipart_body_goes_chunked_whichever_content_type_says_so() {
    for types in [["multipart/form-data; boundary=x", "text/plain"], ["text/plain", "Multipart/Form-Data; boundary=x"]]
    {
        let [first, second] = types;
        let wire = format!(
            "POST / HTTP/1.1\r\nHost: h\r\nContent-Type: {first}\r\nContent-Length: 2\r\nContent-Type: {second}\r\n\r\nhi"
        );
        let passed_on = sent_lazily(&received_lazily(&wire));
        assert!(passed_on.contains("chunked") && !passed_on.contains("Content-Length"), "{passed_on}");
    }
}

#[test]
fn what_connection_names_stays_behind_in_a_lazy_message_that_is_made() {
    let name = HeaderName::from_static("x-one");
    let (value, named) = (HeaderValue::from_static("1"), HeaderValue::from_static("close, X-One"));
    let uri = Uri::from_static("http://h/");
    let (before, after) = (lazy::Request::new(Method::GET, &uri), lazy::Request::new(Method::GET, &uri));
    let before = before.with_header(&CONNECTION, &named).with_header(&name, &value);
    let after = after.with_header(&name, &value).with_header(&CONNECTION, &named);
    for request in [before, after] {
        assert_eq!((request.header("x-one"), request.header("connection"), request.host()), (None, None, Some("h")));
        assert_eq!(sent_lazily(&request), "GET / HTTP/1.1\r\nhost: h\r\n\r\n");
        assert_eq!(Request::<Body>::try_from(request).unwrap().headers().len(), 1);
    }
    let reply = lazy::Response::new(StatusCode::OK).with_header(&name, &value).with_header(&CONNECTION, &named);
    assert_eq!(sent_reply_lazily(&reply), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
}

#[test]
fn a_reply_has_no_host() {
    let host = HeaderValue::from_static("h");
    let received = received_reply_lazily("HTTP/1.1 200 OK\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    for reply in [received, lazy::Response::new(StatusCode::OK).with_header(&HOST, &host)] {
        assert_eq!(sent_reply_lazily(&reply), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    }
}

#[test]
fn a_lazy_response_tells_the_length_of_the_body_that_it_has() {
    let claimed = "HTTP/1.1 200 OK\r\nTeleport-Head-Length: 50000\r\nContent-Length: 2\r\n\r\nhi";
    assert_eq!(received_reply_lazily(claimed).content_length(), Some(2));
    let wrong = HeaderValue::from_static("7");
    let made = lazy::Response::new(StatusCode::OK).with_header(&CONTENT_LENGTH, &wrong).with_body("hi");
    assert_eq!(made.content_length(), Some(2));
    assert_eq!(lazy::Response::new(StatusCode::NO_CONTENT).content_length(), None);
}

#[tokio::test]
async fn lazy_and_eager_ends_understand_each_other() {
    fn answer(request: &lazy::Request) -> lazy::Response {
        let text = format!("{} {}", request.method(), request.target());
        lazy::Response::new(StatusCode::ACCEPTED).with_header(&HOST, &HeaderValue::from_static("h")).with_body(text)
    }
    for path in ["/", "/a?b"] {
        let (near, far) = testkit::pipe::duplex();
        let server = Server::lazy(Limits::default()).build().unwrap();
        let handler = std::sync::Arc::new(async |request: lazy::Request| answer(&request));
        tokio::spawn(async move { server.serve_connection(far, None, handler).await });
        let (eager, driver) = Client::builder(Limits::default()).handshake(near).await.unwrap();
        tokio::spawn(driver);

        let (near, far) = testkit::pipe::duplex();
        let server = Server::builder(Limits::default()).build().unwrap();
        let handler = std::sync::Arc::new(async |request: Request<Body>| {
            let text = format!("{} {}", request.method(), request.uri());
            Response::builder().status(StatusCode::ACCEPTED).body(Body::from(text)).unwrap()
        });
        tokio::spawn(async move { server.serve_connection(far, None, handler).await });
        let (lazily, driver) = Client::lazy(Limits::default()).handshake(near).await.unwrap();
        tokio::spawn(driver);

        let uri: Uri = format!("http://h{path}").parse().unwrap();
        for method in [Method::GET, Method::HEAD, Method::POST] {
            let request = Request::builder().method(method.clone()).uri(uri.clone()).body(Body::empty()).unwrap();
            let eager = eager.call(request).await.unwrap();
            let lazy = lazily.call(lazy::Request::new(method.clone(), &uri)).await.unwrap();
            let text = format!("{method} {path}");
            assert_eq!(lazy.content_length(), Some(text.len() as u64));
            assert_eq!(lazy.body(), &Body::from(if method == Method::HEAD { String::new() } else { text }));
            let lazy = Response::<Body>::try_from(lazy).unwrap();
            assert_eq!((eager.status(), eager.headers(), eager.body()), (lazy.status(), lazy.headers(), lazy.body()));
        }
    }
}
