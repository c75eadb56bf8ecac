//! The bytes that `docs/wire.md` shows are the bytes that travel.

use bytes::BytesMut;
use fastrpc::codec::tlv::{Reply, Request, Tlv};
use fastrpc::internals::append_message;
use fastrpc::wire::compress::Encoder;
use fastrpc::wire::framed::codec::RecordCodec;
use fastrpc::wire::framed::frame::{self, Frame, ResetCode, TooLong};
use fastrpc::wire::framed::record::{Accepts, RecordDecoder, RecordEncoder};
use fastrpc::wire::framed::settings::Settings;
use fastrpc::wire::hello::Hello;
use fastrpc::{Codec, Compression, Decoded, Protocol};

use crate::hex;

/// The bytes of the table row that begins with `| name |`.
fn row(name: &str) -> Vec<u8> {
    let text = include_str!("../../../docs/wire.md");
    let start = format!("| {name} |");
    let line = text.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("no row {name}"));
    hex(&line[start.len()..].replace(['`', '|'], ""))
}

#[test]
fn hellos() {
    let protocol = Protocol::new("httpteleport", 0).unwrap();
    for (name, compression, tls) in [
        ("httpteleport, flate, clear text", Compression::Flate, false),
        ("httpteleport, none, TLS", Compression::None, true),
    ] {
        let hello = Hello::new(compression, tls);
        let mut bytes = Vec::new();
        hello.encode(&protocol, &mut bytes);
        assert_eq!(bytes, row(name), "{name}");
        assert_eq!(Hello::decode(&protocol, &bytes).unwrap(), Some(hello));
    }
}

#[test]
fn tlv_frames() {
    let mut out = Vec::new();
    append_message(&mut out, 1, |out| Tlv::new().encode_request(&Request::new("", "foobar"), out)).unwrap();
    assert_eq!(out, row("request"));
    let mut input = BytesMut::from(&row("reply")[4..]);
    let Some(Decoded::Message(reply)) = Tlv::new().decode_reply(&mut Default::default(), &mut input).unwrap() else {
        panic!("whole");
    };
    assert_eq!(reply, Reply::new("ok"));
}

#[test]
fn stream_marks() {
    for (compression, at_start, mark) in [
        (Compression::Flate, false, hex("00 00 ff ff")),
        (Compression::Snappy, true, hex("ff 06 00 00 73 4e 61 50 70 59")),
    ] {
        let mut wire = Vec::new();
        Encoder::new(compression).encode(&mut b"some text".to_vec(), &mut wire);
        assert!(if at_start { wire.starts_with(&mark) } else { wire.ends_with(&mark) }, "{compression}: {wire:x?}");
    }
}

#[test]
fn varints() {
    for number in [0, 127, 128, 300, u32::MAX] {
        let mut credit = Vec::new();
        frame::put_credit(&mut credit, 0, number);
        assert_eq!(credit[3..], row(&format!("varint {number}")), "{number}");
    }
}

#[test]
fn framed_hellos() {
    let protocol = Protocol::new("httpteleport", 0).unwrap();
    let some = Settings { codecs: vec![2, 1], head: 4096, ..Settings::default() };
    let server = Settings { codecs: vec![2, 1], calls: 10_000, ..Settings::default() };
    for (name, settings) in [
        ("framed, no settings", Settings::default()),
        ("framed, a server's: zstd, lz4, 10,000 calls", server),
        ("framed, zstd and lz4", some),
    ] {
        let mut bytes = Vec::new();
        Hello::framed().encode(&protocol, &mut bytes);
        settings.encode(&mut bytes);
        assert_eq!(bytes, row(name), "{name}");
        assert!(Hello::decode(&protocol, &bytes).unwrap().unwrap().is_framed());
        let behind = &bytes[protocol.hello_len()..];
        assert_eq!(Settings::decode(behind).unwrap(), Some((settings, behind.len())));
    }
}

#[test]
fn frames() {
    let head = |out: &mut Vec<u8>| -> Result<(), TooLong> {
        out.push(b'H');
        Ok(())
    };
    let mut out = Vec::new();
    frame::put_call(&mut out, 1000, false, 1, head, b"hi", true).unwrap();
    assert_eq!(out, row("a call, head \"H\", body \"hi\", 1 s left"));
    let reply = row("its reply, empty head, body \"ok\"");
    assert_eq!(Frame::take(&mut &reply[..]), Ok(Frame::Reply { id: 1, head: b"", body: b"ok", end: true }));
    let reset = row("a reset: cancelled");
    assert_eq!(Frame::take(&mut &reset[..]), Ok(Frame::Reset { id: 1, code: ResetCode::Cancelled, text: b"" }));
    out.clear();
    frame::put_credit(&mut out, 0, 65_536);
    assert_eq!(out, row("credit for the connection"));
}

#[test]
fn records() {
    let record = row("raw, a ping");
    let mut wire = Vec::new();
    RecordEncoder::new(RecordCodec::Zstd, 22).encode_raw(&record[5..], &mut wire);
    assert_eq!(wire, record);
    let mut plain = BytesMut::new();
    let decoded = RecordDecoder::new(Accepts::default()).decode(&mut BytesMut::from(&record[..]), &mut plain).unwrap();
    assert_eq!((decoded, &plain[..]), (Some(11), &record[5..]));

    wire.clear();
    RecordEncoder::new(RecordCodec::Lz4, 22).encode(b"x", &mut wire);
    assert_eq!(wire, row("lz4, the first record: \"x\""));

    let mut zstd = RecordEncoder::new(RecordCodec::Zstd, 22);
    zstd.encode(b"x", &mut Vec::new());
    wire.clear();
    zstd.end_context(&mut wire);
    assert_eq!(wire, row("zstd, the end of a frame"));
}
