//! Recorded conversations between the Go programs: every message decodes to what its sidecar says.

use std::collections::HashMap;

use bytes::{Buf, BytesMut};
use fastrpc::codec::{Codec, Decoded};
use fastrpc::wire::compress::{Decoder, Progress};
use fastrpc::wire::hello::Hello;
use fastrpc::{Compression, Protocol};
use http::{HeaderMap, Request};
use httpteleport::{Body, ClassicCodec, Reply};
use testkit::golden::{self, Messages, Recording, Transcript};

type Partial = <ClassicCodec as Codec>::Partial;

/// How a stream is cut before it is decoded: in one piece, byte by byte, in packets, and at random.
fn cuts(stream: &[u8]) -> Vec<Vec<&[u8]>> {
    let mut random = Vec::new();
    let (mut rest, mut state) = (stream, 0x2545_f491_4f6c_dd1d_u64);
    while !rest.is_empty() {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let (piece, after) = rest.split_at(rest.len().min(1 + usize::try_from(state % 700).unwrap()));
        random.push(piece);
        rest = after;
    }
    vec![vec![stream], stream.chunks(1).collect(), stream.chunks(1460).collect(), random]
}

/// Decodes a recorded direction, hello first, that arrives in these pieces.
fn decode_all<M>(
    compression: Compression,
    pieces: &[&[u8]],
    partial: impl Fn(u32) -> Partial,
    decode: impl Fn(&mut Partial, &mut BytesMut) -> Option<M>,
) -> Vec<(u32, M)> {
    let mut decoder = Decoder::new(compression);
    let (mut input, mut pending, mut found) = (BytesMut::new(), None, Vec::new());
    for piece in pieces {
        let mut wire = *piece;
        while decoder.decode(&mut wire, &mut input, 4096).expect("a stream") == Progress::Full || !wire.is_empty() {}
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

/// The recording's compression, from its hello.
fn opened(recording: &Recording) -> Compression {
    let protocol = Protocol::new("httpteleport", 0).unwrap();
    let hello = Hello::decode(&protocol, recording.hello_bytes()).expect("a hello").expect("a whole one");
    assert!(!hello.tls());
    hello.compression().expect("a known one")
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

fn check(transcript: &Transcript) {
    let name = &transcript.name;
    let Messages::Http { requests, replies } = &transcript.messages else { return };
    let methods: HashMap<u32, &str> = requests.iter().map(|r| (r.id, r.method.as_str())).collect();
    let partial_of = |id| match methods[&id] {
        "HEAD" if !transcript.head_reply_has_body => Partial::for_head_without_body(),
        _ => Partial::default(),
    };
    for pieces in cuts(transcript.client.stream()) {
        let got = decode_all(opened(&transcript.client), &pieces, |_| Partial::default(), request);
        assert_eq!(got.len(), requests.len());
        for ((id, got), expected) in got.iter().zip(requests) {
            assert_eq!(*id, expected.id, "{name}");
            assert_eq!((got.method().as_str(), got.uri().to_string()), (&*expected.method, expected.uri.clone()));
            assert_eq!(headers(got.headers()), expected_headers(&expected.headers), "{name}, request {id}");
            assert_eq!(golden::sha256_16(got.body().as_bytes()), expected.body_sha256_16, "{name}, request {id}");
        }
    }
    for pieces in cuts(transcript.server.stream()) {
        let got = decode_all(opened(&transcript.server), &pieces, partial_of, reply);
        assert_eq!(got.len(), replies.len());
        for ((id, got), expected) in got.iter().zip(replies) {
            let got = got.response();
            assert_eq!((*id, got.status().as_u16()), (expected.id, expected.status), "{name}");
            assert_eq!(headers(got.headers()), expected_headers(&expected.headers), "{name}, reply {id}");
            assert_eq!(golden::sha256_16(got.body().as_bytes()), expected.body_sha256_16, "{name}, reply {id}");
        }
    }
}

#[test]
fn every_http_transcript_decodes_to_its_sidecar_however_it_is_cut() {
    let all = golden::all();
    let http: Vec<_> = all.iter().filter(|one| matches!(one.messages, Messages::Http { .. })).collect();
    assert_eq!(http.len(), 10);
    http.into_iter().for_each(check);
}
