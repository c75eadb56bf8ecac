//! Recorded conversations between the Go programs: every message decodes to what its sidecar says.

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;

use bytes::{Buf, BytesMut};
use fastrpc::codec::{Codec, Decoded};
use http::{HeaderMap, Request};
use httpteleport::{Body, ClassicCodec, Reply};
use serde::Deserialize;

type Partial = <ClassicCodec as Codec>::Partial;

/// Sniff header, version, compression, TLS flag.
const HELLO: usize = 15;

#[derive(Deserialize)]
struct Sidecar {
    requests: Vec<Expected>,
    responses: Vec<Expected>,
    /// False where replies to `HEAD` have a length and no body.
    #[serde(default = "yes")]
    head_response_has_body: bool,
}

#[derive(Deserialize)]
struct Expected {
    id: u32,
    #[serde(default)]
    method: String,
    #[serde(default)]
    uri: String,
    #[serde(default)]
    status: u16,
    headers: Vec<(String, String)>,
    body_len: usize,
}

fn yes() -> bool {
    true
}

struct Transcript {
    sidecar: Sidecar,
    requests: Vec<u8>,
    replies: Vec<u8>,
}

fn load(name: &str) -> Transcript {
    let path = |suffix| PathBuf::from(format!("{}/../testkit/golden/{name}.{suffix}", env!("CARGO_MANIFEST_DIR")));
    let read = |suffix| fs::read(path(suffix)).unwrap_or_else(|error| panic!("{}: {error}", path(suffix).display()));
    Transcript {
        sidecar: serde_json::from_slice(&read("json")).expect("a sidecar"),
        requests: read("c2s.bin").split_off(HELLO),
        replies: read("s2c.bin").split_off(HELLO),
    }
}

/// Decodes a stream of ids and messages that arrives in pieces of `step` bytes.
fn decode_all<M>(
    stream: &[u8],
    step: usize,
    partial: impl Fn(u32) -> Partial,
    decode: impl Fn(&mut Partial, &mut BytesMut) -> Option<M>,
) -> Vec<(u32, M)> {
    let (mut input, mut pending, mut found) = (BytesMut::new(), None, Vec::new());
    for piece in stream.chunks(step) {
        input.extend_from_slice(piece);
        loop {
            if pending.is_none() && input.len() >= 4 {
                let id = input.get_u32_le();
                pending = Some((id, partial(id)));
            }
            let Some((id, state)) = &mut pending else { break };
            let Some(message) = decode(state, &mut input) else { break };
            found.push((*id, message));
            pending = None;
        }
    }
    assert!(input.is_empty() && pending.is_none(), "the stream ends within a message");
    found
}

fn request(partial: &mut Partial, input: &mut BytesMut) -> Option<Request<Body>> {
    match ClassicCodec::default().decode_request(partial, input).expect("a request")? {
        Decoded::Message(request) => Some(request),
        Decoded::Refused(reply) => panic!("{reply:?}"),
    }
}

fn reply(partial: &mut Partial, input: &mut BytesMut) -> Option<Reply> {
    match ClassicCodec::default().decode_reply(partial, input).expect("a reply")? {
        Decoded::Message(reply) => Some(reply),
        Decoded::Refused(error) => panic!("{error}"),
    }
}

/// What stays of recorded headers once those of the hop are gone. Sidecars hold bytes as Latin-1.
fn expected_headers(headers: &[(String, String)]) -> Vec<(String, Vec<u8>)> {
    let of_the_hop = ["connection", "keep-alive", "content-length", "transfer-encoding"];
    let headers = headers.iter().map(|(name, value)| {
        let value = value.chars().map(|char| u8::try_from(u32::from(char)).expect("Latin-1")).collect();
        (name.to_lowercase(), value)
    });
    let mut headers: Vec<_> = headers.filter(|(name, _)| !of_the_hop.contains(&name.as_str())).collect();
    headers.sort_by(|a, b| a.0.cmp(&b.0));
    headers
}

fn headers(map: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    let mut headers: Vec<_> = map.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())).collect();
    headers.sort_by(|a, b| a.0.cmp(&b.0));
    headers
}

fn check(name: &str) {
    let transcript = load(name);
    let sidecar = &transcript.sidecar;
    let methods: HashMap<u32, &str> = sidecar.requests.iter().map(|r| (r.id, r.method.as_str())).collect();
    let partial_of = |id| match methods[&id] {
        "HEAD" if !sidecar.head_response_has_body => Partial::for_head_without_body(),
        _ => Partial::default(),
    };
    for step in [usize::MAX, 1, 7, 1460] {
        let requests = decode_all(&transcript.requests, step, |_| Partial::default(), request);
        assert_eq!(requests.len(), sidecar.requests.len());
        for ((id, got), expected) in requests.iter().zip(&sidecar.requests) {
            assert_eq!(*id, expected.id, "{name}");
            assert_eq!((got.method().as_str(), got.uri().to_string()), (&*expected.method, expected.uri.clone()));
            assert_eq!(headers(got.headers()), expected_headers(&expected.headers), "{name}, request {id}");
            assert_eq!(got.body().len(), expected.body_len, "{name}, request {id}");
        }
        let replies = decode_all(&transcript.replies, step, partial_of, reply);
        assert_eq!(replies.len(), sidecar.responses.len());
        for ((id, got), expected) in replies.iter().zip(&sidecar.responses) {
            let got = got.response();
            assert_eq!((*id, got.status().as_u16()), (expected.id, expected.status), "{name}");
            assert_eq!(headers(got.headers()), expected_headers(&expected.headers), "{name}, reply {id}");
            assert_eq!(got.body().len(), expected.body_len, "{name}, reply {id}");
        }
    }
}

#[test]
fn one_get() {
    check("get1_none");
}

#[test]
fn a_hundred_calls_of_all_kinds() {
    check("mixed100_none");
}

#[test]
fn httptp_in_front_of_an_http_server() {
    check("httptp_none");
}
