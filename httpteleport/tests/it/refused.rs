//! Messages that are read to their end and not accepted: only their call fails.

use bytes::BytesMut;
use fastrpc::codec::{Codec, Decoded};
use httpteleport::{ClassicCodec, CodecError, Fault, Limits};

use crate::support::{codec, fault, in_pieces, received_with, refused, refused_reply, with_body};

fn small() -> ClassicCodec {
    ClassicCodec::new(
        Limits::default().with_max_head(1000).with_max_headers(10).with_max_body(100).with_max_skip(50_000),
    )
}

fn status_of(codec: &ClassicCodec, wire: impl AsRef<[u8]>) -> u16 {
    let reply = refused(codec, wire.as_ref());
    assert!(!reply.response().body().is_empty(), "it says why");
    reply.response().status().as_u16()
}

/// A request whose head is `length` bytes.
fn head_of(length: usize, fields: &str, body: &str) -> String {
    let start = format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}X: ");
    format!("{start}{}\r\n\r\n{body}", "v".repeat(length - start.len() - 4))
}

#[test]
fn a_head_at_the_limit_passes_and_one_byte_more_is_431() {
    let wire = head_of(1000, "Content-Length: 5\r\n", "hello");
    assert_eq!(received_with(&small(), wire.as_bytes()).body().len(), 5);
    let over = head_of(1001, "Content-Length: 5\r\n", "hello");
    assert_eq!(status_of(&small(), over), 431);
}

#[test]
fn the_default_limit_of_a_head_is_64_kib() {
    assert_eq!(status_of(&codec(), head_of((64 << 10) + 1, "", "")), 431);
}

#[test]
fn a_long_head_is_read_to_the_end_of_its_body() {
    let chunks = "5;x\r\nhello\r\n0\r\nT: t\r\n\r\n";
    assert_eq!(status_of(&small(), head_of(5000, "Content-Length: 5\r\n", "hello")), 431);
    assert_eq!(status_of(&small(), head_of(5000, "Transfer-Encoding: chunked\r\n", chunks)), 431);
    assert_eq!(status_of(&small(), head_of(5000, "(x): 1\r\nContent-Length: 5\r\n", "hello")), 431);
    let many = format!("POST / HTTP/1.1\nHost: h\n{}Content-Length: 3\n\nabc", "X: y\n".repeat(1000));
    assert_eq!(status_of(&small(), many), 431);
}

#[test]
fn a_long_target_is_431() {
    let wire = format!("POST /{} HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nok", "a".repeat(3000));
    assert_eq!(status_of(&small(), wire), 431);
}

#[test]
fn a_length_in_a_line_over_the_limit_ends_the_connection() {
    let start = format!("POST / HTTP/1.1\r\nX: {}\r\n", "v".repeat(2000));
    for name in ["Content-Length", "Transfer-Encoding", "no colon"] {
        let wire = format!("{start}{name}:{}5\r\n\r\nhello", " ".repeat(3000)).replace("no colon:", "no colon");
        assert!(matches!(feed(&small(), wire.as_bytes()), Err(Fault::Malformed(_))), "{name}");
    }
}

#[test]
fn a_blank_end_of_a_long_line_is_not_the_end_of_the_head() {
    // The line is dropped up to its very end, so that what is left of it looks blank.
    let (codec, mut partial, mut input) = (small(), Default::default(), BytesMut::new());
    for piece in ["POST / HTTP/1.1\r\n", &format!("X: {}", "v".repeat(2000)), "\r\n", "Content-Length: 2\r\n\r\no"] {
        input.extend_from_slice(piece.as_bytes());
        assert!(codec.decode_request(&mut partial, &mut input).unwrap().is_none());
    }
    input.extend_from_slice(b"k");
    assert!(matches!(codec.decode_request(&mut partial, &mut input), Ok(Some(Decoded::Refused(_)))));
    assert!(input.is_empty());
}

#[test]
fn a_long_head_holds_no_more_than_the_limit() {
    let (codec, mut partial, mut input) = (small(), Default::default(), BytesMut::new());
    input.extend_from_slice(b"POST / HTTP/1.1\r\nX: ");
    for _ in 0..400 {
        input.extend_from_slice(&[b'v'; 100]);
        assert!(codec.decode_request(&mut partial, &mut input).unwrap().is_none());
        assert!(input.len() <= 1000, "{}", input.len());
    }
}

#[test]
fn header_lines_are_counted() {
    let with = |count| format!("POST / HTTP/1.1\r\nHost: h\r\n{}Content-Length: 2\r\n\r\nok", "X: y\r\n".repeat(count));
    assert_eq!(received_with(&small(), with(8).as_bytes()).headers().len(), 9);
    assert_eq!(status_of(&small(), with(9)), 431);
}

#[test]
fn a_body_at_the_limit_passes_and_one_byte_more_is_413() {
    let sized = |n| format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {n}\r\n\r\n{}", "b".repeat(n));
    assert_eq!(received_with(&small(), sized(100).as_bytes()).body().len(), 100);
    assert_eq!(status_of(&small(), sized(101)), 413);
    assert_eq!(status_of(&small(), sized(40_000)), 413);
    assert_eq!(status_of(&with_body(&codec(), 0), sized(1)), 413);
}

#[test]
fn the_limit_holds_for_joined_chunks() {
    let head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunks = |n| format!("{head}{}0\r\nT: t\r\n\r\n", "1;x\r\nb\r\n".repeat(n));
    assert_eq!(received_with(&small(), chunks(100).as_bytes()).body().len(), 100);
    assert_eq!(status_of(&small(), chunks(101)), 413);
    assert_eq!(status_of(&small(), format!("{head}65\r\n{}\r\n0\r\n\r\n", "b".repeat(0x65))), 413);
}

/// The outcome of bytes that do not become a message.
fn feed(codec: &ClassicCodec, wire: &[u8]) -> Result<bool, Fault> {
    let outcome = in_pieces(codec, wire, 64, Codec::decode_request);
    outcome.map(|decoded| decoded.is_some()).map_err(|error| fault(&error))
}

#[test]
fn what_is_too_long_to_skip_ends_the_connection_at_once() {
    let over = Err(Fault::SkipLimit { limit: 50_000 });
    let post = "POST / HTTP/1.1\r\nHost: h\r\n";
    assert_eq!(feed(&small(), format!("{post}Content-Length: 50001\r\n\r\n").as_bytes()), over);
    assert_eq!(feed(&small(), format!("{post}Content-Length: {}\r\n\r\n", 1u64 << 62).as_bytes()), over);
    let chunked = format!("{post}Transfer-Encoding: chunked\r\n\r\n");
    assert_eq!(feed(&small(), format!("{chunked}ffffffffffffffff\r\n").as_bytes()), over);
    assert_eq!(feed(&small(), format!("{chunked}1\r\na\r\nffffffffffffffff\r\n").as_bytes()), over);
    assert_eq!(feed(&small(), format!("{post}X: {}", "v".repeat(60_000)).as_bytes()), over);
    assert_eq!(feed(&small(), format!("{post}{}", "X: v\r\n".repeat(10_000)).as_bytes()), over);
}

#[test]
fn unacceptable_requests_get_their_status_and_the_connection_goes_on() {
    let get = |line: &str, fields: &str| format!("{line}\r\n{fields}Content-Length: 2\r\n\r\nok");
    let host = "Host: h\r\n";
    assert_eq!(status_of(&codec(), get("G@T / HTTP/1.1", host)), 400);
    assert_eq!(status_of(&codec(), get(" / HTTP/1.1", host)), 400);
    assert_eq!(status_of(&codec(), get("GET  HTTP/1.1", host)), 400);
    assert_eq!(status_of(&codec(), get("GET /a b HTTP/1.1", host)), 400);
    assert_eq!(status_of(&codec(), get("CONNECT h:443 HTTP/1.1", host)), 501);
    assert_eq!(status_of(&codec(), get("GET / HTTP/2", host)), 505);
    assert_eq!(status_of(&codec(), get("GET / HTTP/1.1", "")), 400);
    assert_eq!(status_of(&codec(), get("GET / HTTP/1.1", "Host: a\r\nHost: a\r\n")), 400);
    assert_eq!(status_of(&codec(), get("GET http://:80/ HTTP/1.1", host)), 400);
    assert_eq!(status_of(&codec(), get("GET http://a/ HTTP/1.1", "Host: a\r\nHost: a\r\n")), 400);
    for name in ["", "bad name", "b\u{e4}d", "a\u{0}", "Content-Length\u{b}", "(x)"] {
        assert_eq!(status_of(&codec(), get("GET / HTTP/1.1", &format!("Host: h\r\n{name}: 7\r\n"))), 400, "{name}");
    }
    assert_eq!(status_of(&codec(), get("GET / HTTP/1.1", "Host: h\r\nX: a\u{1}b\r\n")), 400);
    assert_eq!(status_of(&codec(), get("GET / HTTP/1.1", "Host: h\r\nX: a\rb\r\n")), 400);
    assert_eq!(status_of(&codec(), get("GET / HTTP/1.1", "Host: h\r\nX: \u{7f}\r\n")), 400);
}

#[test]
fn refused_replies_fail_their_call_alone() {
    let reply = |fields: &str, body: &str| format!("HTTP/1.1 200 OK\r\n{fields}\r\n{body}");
    let fault_of = |wire: String| refused_reply(&small(), wire.as_bytes());
    assert_eq!(fault_of(reply("Content-Length: 101\r\n", &"b".repeat(101))), Fault::BodyTooLarge { limit: 100 });
    let long = format!("X: {}\r\nContent-Length: 2\r\n", "v".repeat(2000));
    assert_eq!(fault_of(reply(&long, "ok")), Fault::HeadTooLarge { limit: 1000 });
    let bodiless = format!("HTTP/1.1 304 Not Modified\r\nX: {}\r\nContent-Length: 2\r\n\r\n", "v".repeat(2000));
    assert_eq!(fault_of(bodiless), Fault::HeadTooLarge { limit: 1000 });
    let reason = format!("HTTP/1.1 204 {}\r\nContent-Length: 2\r\n\r\n", "v".repeat(2000));
    assert_eq!(fault_of(reason), Fault::HeadTooLarge { limit: 1000 });
    let many = format!("{}Content-Length: 2\r\n", "X: y\r\n".repeat(10));
    assert_eq!(fault_of(reply(&many, "ok")), Fault::TooManyHeaders { limit: 10 });
    assert_eq!(fault_of(reply("X Y: z\r\nContent-Length: 2\r\n", "ok")), Fault::BadName);
    assert_eq!(fault_of(reply("X: \u{1}\r\nContent-Length: 2\r\n", "ok")), Fault::BadValue);
    assert_eq!(fault_of("HTTP/1.1 1000 X\r\nContent-Length: 2\r\n\r\nok".into()), Fault::BadStatus);
    assert_eq!(fault_of("HTTP/1.1 42 X\r\nContent-Length: 2\r\n\r\nok".into()), Fault::BadStatus);
}

#[test]
fn an_interim_reply_is_the_whole_reply_of_its_call_and_no_answer() {
    for status in [100, 101, 103] {
        for length in ["", "Content-Length: 5\r\n", "Transfer-Encoding: chunked\r\n"] {
            let wire = format!("HTTP/1.1 {status} X\r\n{length}\r\n");
            let fault = refused_reply(&codec(), wire.as_bytes());
            assert!(matches!(fault, Fault::Interim(got) if got == status));
        }
    }
}

#[test]
fn errors_tell_what_a_proxy_answers() {
    let outcome = in_pieces(&codec(), b"HTTP/1.1 103 X\r\n\r\n", 64, Codec::decode_reply);
    let Ok(Some(Decoded::Refused(error))) = outcome else { panic!("refused") };
    let error = error.downcast_ref::<CodecError>().unwrap();
    assert_eq!(error.status(), 502);
    assert_eq!(error.message(), httpteleport::MessageKind::Reply);
    assert!(error.to_string().starts_with("reply: status 103 is interim"), "{error}");
}
