//! Fuzz target `framed_heads`: the heads of the framed wire from any bytes.

use std::fmt::Debug;

use bytes::Bytes;
use http::{HeaderMap, Method};
use httpteleport::codec::framed::{
    Protocol, decode_interim, decode_reply, decode_request, decode_trailers, encode_interim, encode_reply,
    encode_request, encode_trailers,
};
use httpteleport::{CodecError, Limits, MessageKind};

use crate::wire::http::read_request;

/// Fields of a head at most, small, so that a fuzzer reaches it.
const MOST_FIELDS: usize = 20;
/// Bytes of a head at most, as text.
const MOST_TEXT: usize = 2048;

/// Decodes a head, of which the first byte of `input` tells what it is.
///
/// # Panics
///
/// A fault was found: what was decoded is over a limit, does not survive being encoded and decoded again, or says
/// something else as HTTP/1.1 text.
pub fn framed_heads(input: &[u8]) {
    let Some((kind, head)) = input.split_first() else { return };
    let limits = Limits::default().with_max_head(MOST_TEXT).with_max_headers(MOST_FIELDS).with_peer_max_head(MOST_TEXT);
    let head = Bytes::copy_from_slice(head);
    match kind % 5 {
        0 => request(&head, &limits),
        1 => {
            survives(&head, &limits, decode_reply, encode_reply, |parts| (parts.status, parts.headers.clone()));
            decode_reply(&head, &limits).iter().for_each(|parts| is_text(&parts.headers));
        }
        2 => {
            survives(&head, &limits, decode_interim, encode_interim, |parts| (parts.status, parts.headers.clone()));
            if let Ok(parts) = decode_interim(&head, &limits) {
                assert!(parts.status.is_informational() && parts.status != 101, "{}", parts.status);
            }
        }
        kind => {
            let of = if kind == 3 { MessageKind::Request } else { MessageKind::Reply };
            let decode = |head: &Bytes, limits: &Limits| decode_trailers(of, head, limits);
            let encode = |map: &HeaderMap, limits: &Limits, out: &mut Vec<u8>| encode_trailers(of, map, limits, out);
            survives(&head, &limits, decode, encode, HeaderMap::clone);
            decode(&head, &limits).iter().for_each(is_text);
        }
    }
}

fn request(head: &Bytes, limits: &Limits) {
    let protocol = |parts: &http::request::Parts| parts.extensions.get::<Protocol>().cloned();
    survives(head, limits, decode_request, encode_request, |parts| {
        (parts.method.clone(), parts.uri.clone(), parts.headers.clone(), protocol(parts))
    });
    let Ok(parts) = decode_request(head, limits) else { return };
    assert_eq!(parts.headers.get_all("host").iter().count(), 1, "one host");
    if parts.method == Method::CONNECT && protocol(&parts).is_none() {
        assert_eq!(parts.uri.authority().expect("an authority").as_str(), parts.headers["host"]);
        return;
    }
    let target = parts.uri.path_and_query().expect("a path").as_str();
    is_text_behind(&format!("{} {target} HTTP/1.1\r\n", parts.method), &parts.headers);
}

/// What is decoded is within the limits, and comes back the same.
fn survives<T, S: PartialEq + Debug>(
    head: &Bytes,
    limits: &Limits,
    decode: impl Fn(&Bytes, &Limits) -> Result<T, CodecError>,
    encode: impl Fn(&T, &Limits, &mut Vec<u8>) -> Result<(), CodecError>,
    said: impl Fn(&T) -> S,
) {
    let decoded = match decode(head, limits) {
        Ok(decoded) => decoded,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let mut out = b"before".to_vec();
    encode(&decoded, limits, &mut out).expect("what came in may go out");
    let again = decode(&Bytes::from(out.split_off(6)), limits).expect("what goes out may come in");
    assert_eq!((out, said(&again)), (b"before".to_vec(), said(&decoded)));
}

/// A strict reader of text finds these fields and nothing else.
fn is_text(fields: &HeaderMap) {
    is_text_behind("GET / HTTP/1.1\r\n", fields);
}

fn is_text_behind(start: &str, fields: &HeaderMap) {
    assert!(fields.len() <= MOST_FIELDS + 1, "a tunnel's host comes from its target");
    let mut text = start.as_bytes().to_vec();
    // It tells of a body that is not there.
    let fields: Vec<_> = fields.iter().filter(|(name, _)| *name != "content-length").collect();
    for (name, value) in &fields {
        text.extend([name.as_str().as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
    }
    text.extend(b"\r\n");
    // A start line that stands for another, or for none, is not what the limit counted.
    assert!(text.len() <= MOST_TEXT + start.len() + 2, "{} bytes of text", text.len());
    let (read, length) = read_request(&text).expect("a strict reader takes it");
    assert_eq!(length, text.len());
    let latin1 = |value: &[u8]| value.iter().map(|byte| char::from(*byte)).collect::<String>();
    let expected: Vec<_> =
        fields.iter().map(|(name, value)| (name.as_str().to_owned(), latin1(value.as_bytes()))).collect();
    assert_eq!(read.headers, expected);
    assert_eq!(format!("{} {} {}\r\n", read.method, read.target, read.version), latin1(start.as_bytes()));
}
