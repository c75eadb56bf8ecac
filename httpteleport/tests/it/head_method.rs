//! `HEAD`, which the wire cannot carry as such.

use fastrpc::codec::{Codec, Decoded};
use http::{Method, Request, Response};
use httpteleport::{Body, Reply};

use crate::support::{codec, in_pieces, received, sent};

/// What a client that asked `asked` makes of a reply on the wire.
fn response(wire: &[u8], asked: &Method) -> Response<Body> {
    match in_pieces(&codec(), wire, usize::MAX, Codec::decode_reply) {
        Ok(Some(Decoded::Message(reply))) => reply.into_response(asked),
        other => panic!("{other:?}"),
    }
}

fn length(response: &Response<Body>) -> Option<&str> {
    assert!(response.body().is_empty());
    response.headers().get("content-length").map(|value| value.to_str().unwrap())
}

#[test]
fn the_mark_makes_a_get_a_head_and_is_taken_out() {
    let request = received(sent(&Request::head("http://h/").body(Body::empty()).unwrap()));
    assert_eq!((request.method(), request.headers().len()), (&Method::HEAD, 1));
}

#[test]
fn a_raw_head_of_a_go_client_is_a_head() {
    assert_eq!(received("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n").method(), Method::HEAD);
}

#[test]
fn the_mark_does_nothing_else() {
    for (method, mark) in [("POST", "HEAD"), ("GET", "POST"), ("GET", ""), ("GET", "head")] {
        let request = received(format!("{method} / HTTP/1.1\r\nHost: h\r\nTeleport-Method: {mark}\r\n\r\n"));
        assert_eq!((request.method().as_str(), request.headers().len()), (method, 1));
    }
}

#[test]
fn our_short_form_gives_the_true_length_back() {
    for (given, expected) in [
        (Response::new(Body::from("hello")), Some("5")),
        (Response::builder().header("content-length", "50000").body(Body::empty()).unwrap(), Some("50000")),
        (Response::builder().header("content-length", "0").body(Body::empty()).unwrap(), Some("0")),
        (Response::new(Body::empty()), None),
        (Response::builder().status(204).body(Body::empty()).unwrap(), None),
        (Response::builder().status(304).header("content-length", "3").body(Body::empty()).unwrap(), None),
    ] {
        let mut wire = Vec::new();
        codec().encode_reply(&Reply::answering(&Method::HEAD, given), &mut wire).unwrap();
        let response = response(&wire, &Method::HEAD);
        assert_eq!(length(&response), expected);
        assert!(!response.headers().contains_key("teleport-head-length"));
    }
}

#[test]
fn the_whole_get_of_a_go_peer_gives_its_length_and_no_body() {
    let response = response(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello", &Method::HEAD);
    assert_eq!(length(&response), Some("5"));
    assert_eq!(response.headers()["x-a"], "b");
}

#[test]
fn the_mark_of_a_reply_is_not_shown_to_other_methods() {
    let response = response(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTeleport-Head-Length: 7\r\n\r\nok", &Method::GET);
    assert!(response.headers().is_empty());
    assert_eq!(response.body().as_bytes(), "ok");
}

#[test]
fn a_bad_mark_of_a_reply_tells_no_length() {
    let wire = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nTeleport-Head-Length: many\r\n\r\n";
    assert_eq!(length(&response(wire, &Method::HEAD)), None);
}

#[test]
fn a_status_without_body_has_no_length_whatever_a_mark_says() {
    for status in [204, 304] {
        let wire = format!("HTTP/1.1 {status} X\r\nTeleport-Head-Length: 7\r\n\r\n");
        assert_eq!(length(&response(wire.as_bytes(), &Method::HEAD)), None);
    }
}
