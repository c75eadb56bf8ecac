//! Fuzz targets `http_request` and `http_reply`: the HTTP codec over any bytes, however they are cut.

use bytes::BytesMut;
use fastrpc::codec::{BoxError, Codec, Decoded};
use http::{Method, Request, Response};
use httpteleport::{Body, ClassicCodec, Limits, Reply, lazy};

use crate::wire;

/// Small, so that a fuzzer reaches them.
fn limits() -> Limits {
    Limits::default().with_max_head(2048).with_max_headers(20).with_max_body(4096).with_max_skip(8192)
}

fn codec() -> ClassicCodec {
    ClassicCodec::new(limits())
}

/// The same whose heads stay text.
fn lazy_codec() -> ClassicCodec<lazy::Request, lazy::Response> {
    ClassicCodec::of(limits())
}

/// Most bytes that may stay in the input: a head, and what is read at a time.
const MOST_LEFT: usize = 2048 + 64;

/// Decodes a stream of requests. The first byte of `input` says how it is cut.
///
/// # Panics
///
/// A fault was found: it matters how the bytes were cut, too much is left lying, what was decoded does not survive being
/// encoded and decoded again, or it matters whether heads stay text.
pub fn http_request(input: &[u8]) {
    let Some((cut, stream)) = input.split_first() else { return };
    let codec = codec();
    let step = |partial: &mut _, input: &mut _| codec.decode_request(partial, input);
    let requests = decode_both_ways(stream, *cut, step, describe_request);
    for request in &requests {
        let mut out = Vec::new();
        if codec.encode_request(request, &mut out).is_err() {
            continue;
        }
        let again = codec.decode_request(&mut Default::default(), &mut BytesMut::from(&out[..]));
        let Ok(Some(Decoded::Message(again))) = again else { panic!("encoded {request:?} as {out:?}: {again:?}") };
        assert_eq!((again.method(), again.body()), (request.method(), request.body()));
        assert_eq!(again.uri().path_and_query(), request.uri().path_and_query());
        let (read, length) = wire::http::read_request(&out).expect("a strict reader takes what we send");
        assert_eq!((read.body.as_slice(), length), (&request.body().as_bytes()[..], out.len()));
        assert!(read.value("host").is_some_and(|host| !host.is_empty()) && read.version == "HTTP/1.1");
    }
    lazy_requests(stream, *cut, &requests);
}

/// Heads that stay text say and send the same.
fn lazy_requests(stream: &[u8], cut: u8, expected: &[Request<Body>]) {
    let lazily = lazy_codec();
    let step = |partial: &mut _, input: &mut _| lazily.decode_request(partial, input);
    let requests = decode_both_ways(stream, cut, step, |request| format!("{request:?}"));
    assert_eq!(requests.len(), expected.len(), "it matters whether heads stay text");
    for (lazy, expected) in requests.into_iter().zip(expected) {
        let (mut out, mut expected_out) = (Vec::new(), Vec::new());
        let encoded = lazily.encode_request(&lazy, &mut out);
        if codec().encode_request(expected, &mut expected_out).is_ok() {
            encoded.expect("what its conversion can be sent as");
            assert_eq!(sorted(wire::http::read_request(&out)), sorted(wire::http::read_request(&expected_out)));
        }
        let converted = Request::<Body>::try_from(lazy).expect("it was received");
        assert_eq!(describe_request(&converted), describe_request(expected));
    }
}

/// A request that a strict reader has read, whose header lines are in the order of their names.
fn sorted(read: Result<(wire::http::HttpRequest, usize), wire::Error>) -> wire::http::HttpRequest {
    let mut request = read.expect("a strict reader takes what we send").0;
    request.headers.iter_mut().for_each(|(name, _)| name.make_ascii_lowercase());
    request.headers.sort_by(|(one, _), (other, _)| one.cmp(other));
    request
}

/// Decodes a stream of replies, likewise.
///
/// # Panics
///
/// As [`http_request`].
pub fn http_reply(input: &[u8]) {
    let Some((cut, stream)) = input.split_first() else { return };
    let codec = codec();
    let step = |partial: &mut _, input: &mut _| codec.decode_reply(partial, input);
    let replies = decode_both_ways(stream, *cut, step, describe_reply);
    lazy_replies(stream, *cut, &replies);
    for reply in replies {
        let response = reply.into_response(&Method::GET);
        let expected = (response.status(), response.body().clone());
        let mut out = Vec::new();
        if codec.encode_reply(&Reply::new(response), &mut out).is_err() {
            continue;
        }
        let again = codec.decode_reply(&mut Default::default(), &mut BytesMut::from(&out[..]));
        let Ok(Some(Decoded::Message(again))) = again else { panic!("encoded as {out:?}: {again:?}") };
        let (read, length) = wire::http::read_reply(&out).expect("a strict reader takes what we send");
        assert_eq!((read.status, length), (expected.0.as_u16(), out.len()));
        assert_eq!((again.response().status(), again.response().body().clone()), expected);
    }
}

/// Heads that stay text say and send the same.
fn lazy_replies(stream: &[u8], cut: u8, expected: &[Reply]) {
    let lazily = lazy_codec();
    let step = |partial: &mut _, input: &mut _| lazily.decode_reply(partial, input);
    let replies = decode_both_ways(stream, cut, step, |reply| format!("{reply:?}"));
    assert_eq!(replies.len(), expected.len(), "it matters whether heads stay text");
    for (lazy, expected) in replies.into_iter().zip(expected) {
        let mut out = Vec::new();
        if lazily.encode_reply(&lazy, &mut out).is_ok() {
            let (read, length) = wire::http::read_reply(&out).expect("a strict reader takes what we send");
            assert_eq!((read.status, length), (lazy.status().as_u16(), out.len()));
        }
        let converted = Response::<Body>::try_from(lazy).expect("it was received");
        assert_eq!(format!("{converted:?}"), describe_reply(expected));
    }
}

fn describe_request(request: &Request<Body>) -> String {
    format!("{request:?}")
}

fn describe_reply(reply: &Reply) -> String {
    format!("{:?}", reply.response())
}

/// Decodes `stream` in one piece and in pieces of `cut` bytes, and sees to it that both come to the same.
fn decode_both_ways<P: Default, M, R>(
    stream: &[u8],
    cut: u8,
    step: impl Fn(&mut P, &mut BytesMut) -> Result<Option<Decoded<M, R>>, BoxError>,
    describe: impl Fn(&M) -> String,
) -> Vec<M> {
    let (whole, story) = decode(stream, stream.len().max(1), &step, &describe);
    let (_, cut_story) = decode(stream, usize::from(cut % 32) + 1, &step, &describe);
    assert_eq!(story, cut_story, "the cut matters");
    whole
}

/// The messages decoded, and a line for each that tells what it was.
fn decode<P: Default, M, R>(
    stream: &[u8],
    piece: usize,
    step: &impl Fn(&mut P, &mut BytesMut) -> Result<Option<Decoded<M, R>>, BoxError>,
    describe: &impl Fn(&M) -> String,
) -> (Vec<M>, Vec<String>) {
    let (mut messages, mut story) = (Vec::new(), Vec::new());
    let (mut partial, mut input) = (P::default(), BytesMut::new());
    for piece in stream.chunks(piece) {
        input.extend_from_slice(piece);
        loop {
            match step(&mut partial, &mut input) {
                Ok(None) => break,
                Ok(Some(Decoded::Message(message))) => {
                    story.push(describe(&message));
                    messages.push(message);
                }
                Ok(Some(Decoded::Refused(_))) => story.push("refused".to_owned()),
                Err(_) => {
                    story.push("the end".to_owned());
                    return (messages, story);
                }
            }
            partial = P::default();
        }
        assert!(input.len() <= MOST_LEFT.max(piece.len()), "{} bytes left lying", input.len());
    }
    (messages, story)
}
