//! The heads that `docs/wire.md` shows are the heads that travel.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use httpteleport::codec::framed::{self, Protocol};
use httpteleport::{Limits, MessageKind};

const TEXT: &str = include_str!("../../../docs/wire.md");

/// The bytes of the table row that begins with `| name |`.
fn row(name: &str) -> Vec<u8> {
    let start = format!("| {name} |");
    let line = TEXT.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("no row {name}"));
    let digits = line[start.len()..].replace(['`', '|', ' '], "");
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn requests() {
    let of = |method: &str, uri: &str| Request::builder().method(method).uri(uri);
    let web_socket = Protocol::new("websocket").unwrap();
    for (name, request) in [
        (
            "GET /a of h.example, accepting anything",
            of("GET", "/a").header("host", "h.example").header("accept", "*/*"),
        ),
        ("PURGE /a of h.example", of("PURGE", "http://h.example/a")),
        ("CONNECT h.example:443", of("CONNECT", "h.example:443")),
        ("CONNECT to a WebSocket, https://h.example/c", of("CONNECT", "https://h.example/c").extension(web_socket)),
    ] {
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let mut head = Vec::new();
        framed::encode_request(&parts, &Limits::default(), &mut head).unwrap();
        assert_eq!(head, row(name), "{name}");
        let read = framed::decode_request(&head.into(), &Limits::default()).unwrap();
        assert_eq!((&read.method, read.uri.path_and_query()), (&parts.method, parts.uri.path_and_query()));
        assert_eq!(read.extensions.get::<Protocol>(), parts.extensions.get());
        assert!(read.headers["host"].as_bytes().starts_with(b"h.example"));
    }
}

#[test]
fn replies_interim_heads_and_trailers() {
    let limits = Limits::default();
    let reply = Response::builder().header("content-length", 5).header("x-a", "b").body(()).unwrap().into_parts().0;
    let mut head = Vec::new();
    framed::encode_reply(&reply, &limits, &mut head).unwrap();
    assert_eq!(head, row("200, 5 bytes long, x-a \"b\""));
    assert_eq!(framed::decode_reply(&head.into(), &limits).unwrap().headers, reply.headers);

    let interim = Response::builder().status(103).header("link", "</a.css>").body(()).unwrap().into_parts().0;
    let mut head = Vec::new();
    framed::encode_interim(&interim, &limits, &mut head).unwrap();
    assert_eq!(head, row("103, a link"));
    assert_eq!(framed::decode_interim(&head.into(), &limits).unwrap().status, 103);

    let trailers = HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]);
    let mut bytes = Vec::new();
    framed::encode_trailers(MessageKind::Reply, &trailers, &limits, &mut bytes).unwrap();
    assert_eq!(bytes, row("trailers, grpc-status 0"));
    assert_eq!(framed::decode_trailers(MessageKind::Reply, &Bytes::from(bytes), &limits).unwrap(), trailers);
}

#[test]
fn the_table_of_names_is_complete() {
    let block = TEXT.split("```").find(|block| block.contains("0 :protocol ")).unwrap();
    let words: Vec<_> = block.split_whitespace().collect();
    for (at, pair) in words.chunks(2).enumerate() {
        assert_eq!(pair[0], at.to_string());
        // An empty value, which a few of them may not have.
        let mut head = vec![200, 0, u8::try_from(at).unwrap(), 0];
        if pair[1] == "content-length" {
            head.splice(3.., [1, b'7']);
        }
        let reply = framed::decode_reply(&head.clone().into(), &Limits::default());
        if pair[1].starts_with(':') {
            assert!(reply.is_err());
            continue;
        }
        let reply = reply.unwrap();
        assert_eq!(reply.headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), [pair[1]]);
        let mut again = Vec::new();
        framed::encode_reply(&reply, &Limits::default(), &mut again).unwrap();
        assert_eq!(again, head);
    }
    assert_eq!(words.len(), 2 * 64);
}
