//! The reader accepts what the wire promises and nothing else; the writer's bytes come back.

use proptest::collection::vec;
use proptest::prelude::*;
use testkit::wire::http::{chunked, read_reply, read_request};
use testkit::wire::{
    Compression, Compressor, Decompressor, Error, Hello, HttpReply, HttpRequest, SNAPPY_IDENTIFIER, TlvReply,
    TlvRequest, decompress, frame, read_frames, read_http_replies, snappy_chunk, tlv,
};

#[test]
fn hello_bytes() {
    let hello = Hello::http(Compression::Snappy).with_tls();
    assert_eq!(hello.bytes(), b"httpteleport\x00\x02\x01");
    let (read, rest) = Hello::read(b"httpteleport", b"httpteleport\x00\x02\x01more").unwrap();
    assert_eq!((read, rest), (hello, &b"more"[..]));
    assert_eq!(Hello::read(b"httpteleport", b"http"), Err(Error::Incomplete("hello")));
    assert!(matches!(Hello::read(b"httpteleport", b"GET / HT"), Err(Error::Bad(_))));
    let unknown = Hello { compression: 3, ..Hello::new(b"x", 9, Compression::None) };
    assert_eq!(unknown.bytes(), b"x\x09\x03\x00");
    assert!(unknown.compression().is_err());
}

#[test]
fn flate_reads_at_each_flush_and_refuses_an_end() {
    let mut compressor = Compressor::new(Compression::Flate);
    let mut decompressor = Decompressor::new(Compression::Flate, 100);
    for text in ["first", "", "second"] {
        let packed = compressor.flush(text.as_bytes());
        assert!(packed.is_empty() || packed.ends_with(&[0, 0, 0xFF, 0xFF]), "{packed:?}");
        assert_eq!(decompressor.push(&packed).unwrap(), text.as_bytes());
    }
    assert!(decompressor.push(&compressor.flush(&[0; 200])).is_err(), "over the limit");
    // A final block: the stream says that it ends.
    assert!(decompress(Compression::Flate, &[0x03, 0x00], 10).is_err());
    // A stored block that is whole, but no flush after it.
    assert!(decompress(Compression::Flate, &[0x00, 0x01, 0x00, 0xFE, 0xFF, b'x'], 10).is_err());
}

#[test]
fn flate_flush_is_complete_at_any_size() {
    for len in (0..300).chain([4096, 65_535, 65_536, 200_000]) {
        let plain: Vec<u8> = (0u32..len).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let packed = Compressor::new(Compression::Flate).flush(&plain);
        assert_eq!(decompress(Compression::Flate, &packed, plain.len()).unwrap(), plain, "{len}");
    }
}

#[test]
fn snappy_chunks() {
    let read = |chunks: &[&[u8]]| decompress(Compression::Snappy, &chunks.concat(), 1 << 20);
    let whole = Compressor::new(Compression::Snappy).flush(b"hello hello hello hello hello");
    let (first, data) = whole.split_at(SNAPPY_IDENTIFIER.len());
    assert_eq!((first, data[0]), (SNAPPY_IDENTIFIER, 0), "compressed, since that saves an eighth");
    let plain = Compressor::new(Compression::Snappy).flush(b"abcdefg");
    assert_eq!(plain[10..14], [1, 11, 0, 0], "plain, since nothing is saved");

    let padding = snappy_chunk(0xFE, &[7; 300]);
    let text = read(&[first, &padding, data, first, &snappy_chunk(0x80, b""), data]).unwrap();
    assert_eq!(text, b"hello hello hello hello hellohello hello hello hello hello");
    assert!(read(&[]).unwrap().is_empty());

    let wrong: &[(&str, &[&[u8]])] = &[
        ("no identifier", &[data]),
        ("another identifier", &[&snappy_chunk(0xFF, b"sNaPpX")]),
        ("cannot be skipped", &[first, &snappy_chunk(0x02, b"")]),
        ("cannot be skipped", &[first, &snappy_chunk(0x7F, b"")]),
        ("wrong checksum", &[first, &snappy_chunk(1, b"\0\0\0\0hello")]),
        ("no checksum", &[first, &snappy_chunk(1, b"abc")]),
        ("claims too much", &[first, &snappy_chunk(0, b"\0\0\0\0\xFF\xFF\xFF\xFF\x0F")]),
        ("cut", &[first, &data[..data.len() - 1]]),
    ];
    for (why, chunks) in wrong {
        assert!(read(chunks).is_err(), "{why}");
    }
    assert!(decompress(Compression::Snappy, &whole, 10).is_err(), "over the limit");
}

#[test]
fn request_bytes_and_back() {
    let request = HttpRequest::new("POST", "/a b?c").header("Host", "h").header("X", "\u{e9}").body(b"hi");
    let bytes = request.bytes();
    assert_eq!(bytes, b"POST /a b?c HTTP/1.1\r\nHost: h\r\nX: \xE9\r\nContent-Length: 2\r\n\r\nhi");
    assert_eq!(read_request(&bytes).unwrap(), (request.clone(), bytes.len()));
    for cut in 0..bytes.len() {
        assert!(matches!(read_request(&bytes[..cut]), Err(Error::Incomplete(_))), "cut at {cut}");
    }
    assert_eq!((request.value("host"), request.value("none")), (Some("h"), None));
}

#[test]
fn chunks_are_joined() {
    let mut bytes = b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    bytes.extend(chunked(b"hello world", 4));
    let (request, len) = read_request(&bytes).unwrap();
    assert_eq!((&request.body[..], len), (&b"hello world"[..], bytes.len()));
    let trailer = b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;skip=me\r\nx\r\n0\r\nSum: 1\r\n\r\n";
    assert_eq!(read_request(trailer).unwrap().0.trailers, [("Sum".to_owned(), "1".to_owned())]);
}

#[test]
fn what_no_peer_may_send_is_refused() {
    let requests = [
        "GET /\r\n\r\n",
        "GET  HTTP/1.1\r\n\r\n",
        "GET / HTTP/2\r\n\r\n",
        "G(T / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "GET / HTTP/1.1\r\nname : space\r\n\r\n",
        "GET / HTTP/1.1\r\nx: a\0b\r\n\r\n",
        "GET / HTTP/1.1\r\nx: a\nb\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
        "GET / HTTP/1.1\r\nContent-Length: +1\r\n\r\nx",
        "GET / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\nx",
        "GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n;ext\r\nx\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFF\r\n",
    ];
    for text in requests {
        assert!(matches!(read_request(text.as_bytes()), Err(Error::Bad(_))), "{text:?}");
    }
    let replies = ["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n", "HTTP/1.1\r\n\r\n"];
    for text in replies {
        assert!(matches!(read_reply(text.as_bytes()), Err(Error::Bad(_))), "{text:?}");
    }
}

#[test]
fn replies_without_a_body() {
    for status in [100, 103, 204, 304] {
        let bytes = HttpReply::new(status, "").header("Content-Length", "5").bytes();
        let (reply, len) = read_reply(&bytes).unwrap();
        assert_eq!((reply.status, reply.body.len(), len), (status, 0, bytes.len()));
    }
    let head = HttpReply::new(200, "OK").header("Content-Length", "5").bytes();
    let full = HttpReply::new(200, "OK").body(b"hello").bytes();
    let stream = [frame(7, &head), frame(8, &full)].concat();
    let frames = read_http_replies(&stream, |id| id == 7).unwrap();
    assert_eq!((frames[0].message.body.len(), frames[1].message.body.len()), (0, 5));
    assert_eq!(frames[1].offset, 4 + head.len());
}

#[test]
fn tlv_bytes_and_limits() {
    let request = TlvRequest::new(b"ab", b"\0");
    assert_eq!(request.bytes(), b"\x02\0\0\0ab\x01\0\0\0\0");
    assert_eq!(tlv::read_request(&request.bytes()).unwrap(), (request, 11));
    assert_eq!(tlv::read_reply(&TlvReply::new(b"").bytes()).unwrap(), (TlvReply::new(b""), 4));
    assert_eq!(tlv::read_reply(b"\x05\0\0\0abcd"), Err(Error::Incomplete("value")));
    let most = TlvReply::new(&vec![0; tlv::MAX_LEN]).bytes();
    assert!(tlv::read_reply(&most).is_ok());
    assert!(matches!(tlv::read_reply(&[1, 0, 0x10, 0]), Err(Error::Bad(_))));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    /// Any batches survive any compression and any pieces.
    #[test]
    fn streams_survive_pieces(
        batches in vec(vec(any::<u8>(), 0..2000), 0..8),
        repeats in 1usize..20,
        piece in 1usize..3000,
    ) {
        for compression in Compression::ALL {
            let mut compressor = Compressor::new(compression);
            let plain: Vec<Vec<u8>> = batches.iter().map(|batch| batch.repeat(repeats)).collect();
            let packed: Vec<u8> = plain.iter().flat_map(|batch| compressor.flush(batch)).collect();
            let plain = plain.concat();
            let mut decompressor = Decompressor::new(compression, plain.len());
            let pieces: Result<Vec<_>, _> = packed.chunks(piece).map(|raw| decompressor.push(raw)).collect();
            prop_assert_eq!(pieces.unwrap().concat(), &plain[..]);
            prop_assert!(decompressor.at_boundary());
            prop_assert_eq!(decompress(compression, &packed, plain.len()).unwrap(), plain);
        }
    }

    /// Any bytes at all are refused or read, never worse.
    #[test]
    fn any_bytes_are_safe(bytes in vec(any::<u8>(), 0..400)) {
        for compression in Compression::ALL {
            let _ = decompress(compression, &bytes, 1000);
        }
        let _ = read_frames(&bytes, read_request);
        let _ = read_frames(&bytes, read_reply);
        let _ = read_frames(&bytes, tlv::read_request);
    }
}
