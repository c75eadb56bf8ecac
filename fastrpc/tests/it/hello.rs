use fastrpc::wire::{
    compress::Compression,
    hello::{Hello, HelloError, Protocol},
};

use super::hex;

fn teleport() -> Protocol {
    Protocol::new("httpteleport", 0).unwrap()
}

#[test]
fn bytes_on_the_wire() {
    for (c, tls, bytes) in [
        (Compression::Flate, false, "68747470 74656c65 706f7274 00 00 00"),
        (Compression::None, false, "68747470 74656c65 706f7274 00 01 00"),
        (Compression::Snappy, true, "68747470 74656c65 706f7274 00 02 01"),
    ] {
        let hello = Hello::new(c, tls);
        let mut out = Vec::new();
        hello.encode(&teleport(), &mut out);
        assert_eq!(out, hex(bytes));
        assert_eq!(out.len(), teleport().hello_len());

        let back = Hello::decode(&teleport(), &out).unwrap().unwrap();
        assert_eq!((back, back.compression(), back.tls()), (hello, Some(c), tls));
    }
    let mut out = Vec::new();
    Hello::new(Compression::Snappy, false).encode(&Protocol::new("tlvgold", 7).unwrap(), &mut out);
    assert_eq!(out, hex("746c76676f6c64 07 02 00"));
}

#[test]
fn a_prefix_waits_for_more_and_a_longer_input_is_not_looked_at() {
    let mut wire = Vec::new();
    Hello::new(Compression::None, false).encode(&teleport(), &mut wire);
    for end in 0..wire.len() {
        assert_eq!(Hello::decode(&teleport(), &wire[..end]), Ok(None), "{end} bytes");
    }
    wire.extend_from_slice(b"the first request");
    assert_eq!(Hello::decode(&teleport(), &wire), Ok(Some(Hello::new(Compression::None, false))));
}

#[test]
fn the_first_wrong_byte_is_enough() {
    for wrong in 0..12 {
        let mut wire = b"httpteleport".to_vec();
        wire[wrong] ^= 0x20;
        assert_eq!(Hello::decode(&teleport(), &wire[..wrong]), Ok(None));
        let want = b"httpteleport".to_vec();
        let got = wire[..=wrong].to_vec();
        assert_eq!(Hello::decode(&teleport(), &wire[..=wrong]), Err(HelloError::WrongSniff { got, want }));
    }
    let version = Hello::decode(&teleport(), b"httpteleport\x01");
    assert_eq!(version, Err(HelloError::WrongVersion { got: 1, want: 0 }));
}

#[test]
fn an_unknown_compression_is_kept_for_the_answer() {
    let hello = Hello::decode(&teleport(), b"httpteleport\x00\x83\x07").unwrap().unwrap();
    assert_eq!(hello, Hello { compression: 0x83, tls: 7 });
    assert_eq!(hello.compression(), None);
    assert!(hello.tls(), "anything but 0 means TLS");
}

#[test]
fn errors_say_what_came_and_what_to_do() {
    let message = |input: &[u8]| Hello::decode(&teleport(), input).unwrap_err().to_string();
    assert_eq!(
        message(b"GET / HTTP/1.1\r\n"),
        r#"the peer begins with "GET / HTTP/1" instead of "httpteleport" (it looks like HTTP): check the address and port"#
    );
    assert!(message(b"\x16\x03\x01\x02\x00").contains("looks like TLS"));
    assert!(message(b"rubbish").contains("same sniff bytes"));
    assert!(message(b"httpteleport\x05").contains("version 5"));
}

#[test]
fn a_sniff_has_1_to_255_bytes() {
    assert!(Protocol::new("", 0).unwrap_err().to_string().contains("1 to 255"));
    assert!(Protocol::new(vec![7; 256], 0).is_err());
    let longest = Protocol::new(vec![7; 255], 9).unwrap();
    assert_eq!((longest.hello_len(), longest.sniff().len(), longest.version()), (258, 255, 9));
    assert_eq!(format!("{:?}", teleport()), r#"Protocol("httpteleport" version 0)"#);
}
