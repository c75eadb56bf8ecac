//! What goes out as a reply.

use fastrpc::codec::{BoxError, Codec, Failure};
use http::{Method, Response};
use httpteleport::{Body, CodecError, Fault, Reply};

use crate::support::{codec, fault, sent_reply};

fn reply(status: u16, body: &'static str) -> Reply {
    Reply::new(Response::builder().status(status).body(Body::from(body)).unwrap())
}

fn to_head(response: Response<Body>) -> String {
    sent_reply(&Reply::answering(&Method::HEAD, response))
}

#[test]
fn a_reply_has_exactly_one_length() {
    let builder = Response::builder().header("content-length", "9").header("transfer-encoding", "chunked");
    let response = builder.header("x-a", "b").body(Body::from("hello")).unwrap();
    assert_eq!(sent_reply(&Reply::new(response)), "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nx-a: b\r\n\r\nhello");
}

#[test]
fn an_empty_body_has_a_length_too() {
    assert_eq!(sent_reply(&reply(404, "")), "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
}

#[test]
fn an_unknown_status_keeps_the_space_before_its_missing_reason() {
    assert_eq!(sent_reply(&reply(299, "")), "HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n");
}

#[test]
fn statuses_without_body_get_neither_length_nor_body() {
    for (status, line) in [(204, "204 No Content"), (304, "304 Not Modified")] {
        let builder = Response::builder().status(status).header("content-length", "5").header("etag", "e");
        let response = builder.body(Body::from("hello")).unwrap();
        let text = format!("HTTP/1.1 {line}\r\netag: e\r\n\r\n");
        assert_eq!(sent_reply(&Reply::new(response)), text);
    }
}

#[test]
fn interim_statuses_are_not_sent() {
    for status in [100, 101, 103, 199] {
        let error = codec().encode_reply(&reply(status, ""), &mut Vec::new()).unwrap_err();
        assert!(matches!(fault(&error), Fault::Interim(got) if got == status));
    }
}

#[test]
fn hop_by_hop_headers_and_marks_stay_behind() {
    for name in ["connection", "keep-alive", "te", "trailer", "upgrade", "teleport-head-length", "teleport-method"] {
        let response = Response::builder().header(name, "1").body(Body::empty()).unwrap();
        assert_eq!(sent_reply(&Reply::new(response)), "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "{name}");
    }
    let builder = Response::builder().header("connection", "x-one").header("x-one", "1").header("set-cookie", "a");
    let text = sent_reply(&Reply::new(builder.header("set-cookie", "b").body(Body::empty()).unwrap()));
    assert_eq!(text, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nset-cookie: a\r\nset-cookie: b\r\n\r\n");
}

#[test]
fn a_head_over_the_peers_limit_is_not_sent() {
    let response = Response::builder().header("x", "v".repeat(4096)).body(Body::empty()).unwrap();
    let error = codec().encode_reply(&Reply::new(response), &mut Vec::new()).unwrap_err();
    assert_eq!(fault(&error), Fault::PeerHeadLimit { limit: 4096 });
    assert_eq!(error.downcast_ref::<CodecError>().unwrap().status(), 502);
}

#[test]
fn a_reply_to_head_tells_the_length_of_its_body_and_sends_none() {
    let text = to_head(Response::new(Body::from("hello")));
    let expected = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTeleport-Head-Length: 5\r\n\r\n0\r\n\r\n";
    assert_eq!(text, expected);
}

#[test]
fn a_reply_to_head_without_body_tells_the_length_in_its_header() {
    let text = to_head(Response::builder().header("content-length", "50000").body(Body::empty()).unwrap());
    let expected = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTeleport-Head-Length: 50000\r\n\r\n0\r\n\r\n";
    assert_eq!(text, expected);
}

#[test]
fn a_reply_to_head_of_unknown_length_tells_none() {
    let expected = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert_eq!(to_head(Response::new(Body::empty())), expected);
    for bad in ["five", "", "5, 5", "-1", "99999999999999999999"] {
        assert_eq!(to_head(Response::builder().header("content-length", bad).body(Body::empty()).unwrap()), expected);
    }
    let twice = Response::builder().header("content-length", "5").header("content-length", "6");
    assert_eq!(to_head(twice.body(Body::empty()).unwrap()), expected);
}

#[test]
fn a_bodiless_reply_to_head_is_bodiless() {
    let response = Response::builder().status(304).header("content-length", "7").body(Body::empty()).unwrap();
    assert_eq!(to_head(response), "HTTP/1.1 304 Not Modified\r\n\r\n");
}

#[test]
fn overload_says_what_the_go_server_says() {
    let text = sent_reply(&codec().failure(Failure::Overloaded { limit: 10_000 }));
    let body = "concurrency limit exceeded: 10000. Increase Server.Concurrency or decrease load on the server";
    assert!(text.starts_with("HTTP/1.1 429 Too Many Requests\r\n"), "{text}");
    assert!(text.contains("\r\ncontent-type: text/plain; charset=utf-8\r\n"), "{text}");
    assert!(text.ends_with(&format!("\r\n\r\n{body}")), "{text}");
}

#[test]
fn a_panic_is_500_and_an_unsendable_reply_502() {
    assert!(sent_reply(&codec().failure(Failure::Panicked)).starts_with("HTTP/1.1 500 Internal Server Error\r\n"));
    let error: BoxError = "too long".into();
    let text = sent_reply(&codec().failure(Failure::Unencodable(&error)));
    assert!(text.starts_with("HTTP/1.1 502 Bad Gateway\r\n") && text.ends_with("too long"), "{text}");
}
