//! Where a body ends, and where that cannot be known.

use httpteleport::{ClassicCodec, Fault, Limits};

use crate::support::{codec, fatal, fatal_reply, in_pieces, received, received_reply};

fn request(fields: &str, body: &str) -> String {
    format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n{body}")
}

fn assert_malformed(wire: &str) {
    assert!(matches!(fatal(wire), Fault::Malformed(_)), "{wire}");
}

#[test]
fn transfer_encoding_wins_over_content_length() {
    for fields in
        ["Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", "Content-Length: 99\r\nTransfer-Encoding: Chunked\r\n"]
    {
        let request = received(request(fields, "2\r\nok\r\n0\r\n\r\n"));
        assert_eq!(request.body().as_bytes(), "ok");
        assert_eq!(request.headers().len(), 1, "the next hop must see neither");
    }
}

#[test]
fn identity_is_no_coding() {
    let request = received(request("Transfer-Encoding: identity\r\nContent-Length: 2\r\n", "ok"));
    assert_eq!(request.body().as_bytes(), "ok");
}

#[test]
fn a_space_before_the_colon_does_not_hide_a_length() {
    assert_eq!(received(request("Content-Length : 2\r\n", "ok")).body().as_bytes(), "ok");
}

#[test]
fn repeated_lengths_end_the_connection_even_when_equal() {
    assert_malformed(&request("Content-Length: 2\r\nContent-Length: 2\r\n", "ok"));
    assert_malformed(&request("Content-Length: 2\r\ncontent-length: 3\r\n", "ok"));
    assert_malformed(&request("Content-Length: 2, 2\r\n", "ok"));
}

#[test]
fn lengths_are_digits() {
    for bad in ["", "+2", "-2", "0x2", "2 2", "2.0", "99999999999999999999", "\u{664}"] {
        assert_malformed(&request(&format!("Content-Length: {bad}\r\n"), "ok"));
    }
}

#[test]
fn other_codings_end_the_connection() {
    for bad in ["", "gzip", "gzip, chunked", "chunked, chunked", "xchunked", "chunked;a"] {
        assert_malformed(&request(&format!("Transfer-Encoding: {bad}\r\n"), "0\r\n\r\n"));
    }
    assert_malformed(&request("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"));
    assert_malformed(&request("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "0\r\n\r\n"));
}

#[test]
fn a_coding_in_a_request_of_http_1_0_ends_the_connection() {
    for fields in [
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    ] {
        assert_malformed(&request(fields, "").replace("HTTP/1.1", "HTTP/1.0"));
    }
    let length = request("Content-Length: 2\r\n", "ok").replace("HTTP/1.1", "HTTP/1.0");
    assert_eq!(received(length).body().as_bytes(), "ok");
}

#[test]
fn a_coding_in_a_request_of_http_1_0_ends_the_connection_behind_a_long_head_too() {
    let codec = ClassicCodec::new(Limits::default().with_max_head(1000));
    let outcome = |start: &str| {
        let wire = format!("{start}\r\nX: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "v".repeat(2000));
        [1, 7, usize::MAX].map(|step| {
            in_pieces(&codec, wire.as_bytes(), step, fastrpc::codec::Codec::decode_request)
                .is_ok_and(|got| got.is_some())
        })
    };
    assert_eq!(outcome("POST / HTTP/1.1"), [true; 3]);
    assert_eq!(outcome("POST / HTTP/1.0"), [false; 3]);
    // Its version is lost with the line.
    assert_eq!(outcome(&format!("POST /{} HTTP/1.1", "a".repeat(2000))), [false; 3]);
}

#[test]
fn a_reply_without_length_ends_the_connection() {
    for fields in ["", "Connection: close\r\n", "Transfer-Encoding: identity\r\n"] {
        let fault = fatal_reply(format!("HTTP/1.1 200 OK\r\n{fields}\r\n"));
        assert!(matches!(fault, Fault::Malformed(_)), "{fields}");
    }
}

#[test]
fn lines_that_are_no_headers_end_the_connection() {
    for bad in ["no colon", "no colon\r\nX: y", " folded: x", "\tfolded", "X: a\r\n more", "\r\r"] {
        assert_malformed(&request(&format!("{bad}\r\n"), ""));
    }
}

#[test]
fn start_lines_that_are_none_end_the_connection() {
    for bad in ["GET", "GET /", "GET / FTP/1.1", "GET / ", "\u{0}\u{0}\u{0}\u{1}", " GET / HTTX/1.1"] {
        assert_malformed(&format!("{bad}\r\nHost: h\r\n\r\n"));
    }
    for bad in ["HTTP/1.1", "HTTP/1.1 abc", " 200 OK", "HTTP/1.1  200", "200 OK"] {
        let fault = fatal_reply(format!("{bad}\r\nContent-Length: 0\r\n\r\n"));
        assert!(matches!(fault, Fault::Malformed(_)), "{bad}");
    }
}

#[test]
fn blank_lines_without_end_end_the_connection() {
    assert_malformed(&"\r\n".repeat(40_000));
}

#[test]
fn chunks_are_joined() {
    let body = "5\r\nhello\r\n0000000000000006\r\n world\r\nA \r\n0123456789\r\n0\r\n\r\n";
    assert_eq!(received(request("Transfer-Encoding: chunked\r\n", body)).body().as_bytes(), "hello world0123456789");
    assert!(received(request("Transfer-Encoding: chunked\r\n", "0\r\n\r\n")).body().is_empty());
}

#[test]
fn extensions_and_trailers_are_dropped() {
    let body = "2;x=y;z=\"\t\"\r\nok\r\n0;last\r\nX-Trailer: 1\r\nHost: evil\r\n\r\n";
    let reply = received_reply(format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}"));
    assert_eq!(reply.body().as_bytes(), "ok");
    assert!(reply.headers().is_empty());
}

#[test]
fn bad_chunks_end_the_connection() {
    for bad in [
        "\r\n",
        "x\r\n",
        "-1\r\n",
        "+1\r\na",
        "1x\r\na",
        "0x1\r\na",
        "11111111111111111\r\n",
        "1;\r;\r\na",
        "2\r\nabc\r\n",
    ] {
        assert_malformed(&request("Transfer-Encoding: chunked\r\n", bad));
    }
}

#[test]
fn a_chunk_line_that_is_too_long_and_wrong_is_too_long_however_it_is_cut() {
    let line = format!("1{}\r\n", "x".repeat(70_000));
    let fault = fatal(format!("POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n{line}"));
    assert_eq!(fault, Fault::Malformed("its chunk extensions and trailers are over the limit of a head"));
}

#[test]
fn extensions_and_trailers_are_bounded() {
    let limits = Limits::default().with_max_head(1000);
    let fatal = |body: String| {
        let wire = request("Transfer-Encoding: chunked\r\n", &body);
        for step in [1, 7, usize::MAX] {
            let outcome =
                in_pieces(&ClassicCodec::new(limits), wire.as_bytes(), step, fastrpc::codec::Codec::decode_request);
            assert!(outcome.is_err());
        }
    };
    fatal(format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(1000)));
    fatal("1;xxxxxxxxx\r\na\r\n".repeat(101));
    fatal(format!("0\r\nX: {}\r\n\r\n", "x".repeat(1000)));
    fatal(format!("0\r\n{}\r\n", "X: y\r\n".repeat(200)));
    fatal("0".repeat(2000));
}

#[test]
fn a_partial_of_the_other_direction_is_an_error_and_no_panic() {
    use fastrpc::codec::Codec;

    let (codec, mut partial) = (codec(), Default::default());
    let mut input = bytes::BytesMut::from("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no");
    assert!(codec.decode_reply(&mut partial, &mut input).unwrap().is_none());
    input.extend_from_slice(b"k");
    assert!(codec.decode_request(&mut partial, &mut input).is_err());
}
