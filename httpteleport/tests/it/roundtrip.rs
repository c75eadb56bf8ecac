//! Any sequence of messages survives encoding and decoding, however the bytes are cut.

use bytes::BytesMut;
use fastrpc::codec::{Codec, Decoded};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use httpteleport::{Body, ClassicCodec, Limits, Reply};
use proptest::prelude::*;

type Partial = <ClassicCodec as Codec>::Partial;

fn codec() -> ClassicCodec {
    ClassicCodec::new(Limits::default().with_peer_max_head(64 << 10))
}

fn config() -> ProptestConfig {
    // A fixed seed: what fails once, fails every time.
    ProptestConfig {
        cases: 128,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(0x7e1e),
        ..ProptestConfig::default()
    }
}

fn header_name() -> impl Strategy<Value = HeaderName> {
    let odd = "[a-z0-9!#$%&'*+.^_`|~-]{1,80}".prop_map(|name| format!("x{name}"));
    let usual = prop::sample::select(vec!["accept", "cookie", "set-cookie", "content-type", "date", "etag", "via"]);
    prop_oneof![odd, usual.prop_map(str::to_owned)].prop_map(|name| HeaderName::try_from(name).unwrap())
}

fn header_value() -> impl Strategy<Value = HeaderValue> {
    let inner = prop_oneof![Just(b'\t'), 0x20..=0x7eu8, 0x80..=0xffu8];
    prop::collection::vec(inner, 0..60)
        .prop_map(|bytes| HeaderValue::from_bytes(bytes.as_slice().trim_ascii()).unwrap())
}

fn headers() -> impl Strategy<Value = HeaderMap> {
    prop::collection::vec((header_name(), header_value()), 0..12).prop_map(HeaderMap::from_iter)
}

fn body() -> impl Strategy<Value = Body> {
    let bytes = prop_oneof![Just(0..0), Just(0..200), Just(0..5000)];
    bytes.prop_flat_map(|size| prop::collection::vec(any::<u8>(), size.start..size.end.max(1))).prop_map(Body::from)
}

fn request() -> impl Strategy<Value = Request<Body>> {
    let method = prop_oneof![
        prop::sample::select(vec!["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
            .prop_map(str::to_owned),
        "[A-Za-z!#$%&'*+.^_`|~0-9-]{1,20}",
    ];
    let target = "/[a-zA-Z0-9%/;:@&=+$,._~!*'()-]{0,60}(\\?[a-zA-Z0-9%/?&=+.-]{0,40})?";
    (method, target, headers(), body()).prop_filter_map("http refuses it", |(method, target, headers, body)| {
        let method = Method::from_bytes(method.as_bytes()).ok().filter(|method| method != Method::CONNECT)?;
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = target.try_into().ok()?;
        *request.headers_mut() = headers;
        request.headers_mut().insert("host", HeaderValue::from_static("h"));
        Some(request)
    })
}

/// A response, and the method it answers.
fn response() -> impl Strategy<Value = (Method, Response<Body>)> {
    let method = prop::sample::select(vec![Method::GET, Method::HEAD]);
    (method, 200..=999u16, headers(), body()).prop_map(|(method, status, headers, body)| {
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        *response.headers_mut() = headers;
        (method, response)
    })
}

/// The messages in `wire`, which arrives in pieces of the sizes in `cuts`, again and again.
fn decode_all<M>(wire: &[u8], cuts: &[usize], decode: impl Fn(&mut Partial, &mut BytesMut) -> Option<M>) -> Vec<M> {
    let (mut rest, mut input, mut partial, mut found) = (wire, BytesMut::new(), Partial::default(), Vec::new());
    let mut cuts = cuts.iter().cycle();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
        rest = after;
        input.extend_from_slice(piece);
        while let Some(message) = decode(&mut partial, &mut input) {
            partial = Partial::default();
            found.push(message);
        }
    }
    assert!(input.is_empty());
    found
}

/// One piece, byte by byte, or anything between.
fn cuts() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![Just(vec![usize::MAX]), Just(vec![1]), prop::collection::vec(1..3000usize, 1..10)]
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn requests(requests in prop::collection::vec(request(), 1..6), cuts in cuts()) {
        let mut wire = Vec::new();
        for request in &requests {
            codec().encode_request(request, &mut wire).unwrap();
        }
        let found = decode_all(&wire, &cuts, |partial, input| {
            match codec().decode_request(partial, input).unwrap()? {
                Decoded::Message(request) => Some(request),
                Decoded::Refused(reply) => panic!("{reply:?}"),
            }
        });
        prop_assert_eq!(found.len(), requests.len());
        for (found, sent) in found.iter().zip(&requests) {
            prop_assert_eq!(found.method(), sent.method());
            prop_assert_eq!(found.uri(), sent.uri());
            prop_assert_eq!(found.headers(), sent.headers());
            prop_assert_eq!(found.body(), sent.body());
        }
    }

    #[test]
    fn replies(responses in prop::collection::vec(response(), 1..6), cuts in cuts()) {
        let mut wire = Vec::new();
        for (method, response) in &responses {
            codec().encode_reply(&Reply::answering(method, response.clone()), &mut wire).unwrap();
        }
        let found = decode_all(&wire, &cuts, |partial, input| {
            match codec().decode_reply(partial, input).unwrap()? {
                Decoded::Message(reply) => Some(reply),
                Decoded::Refused(error) => panic!("{error}"),
            }
        });
        prop_assert_eq!(found.len(), responses.len());
        for (found, (method, sent)) in found.into_iter().zip(&responses) {
            let found = found.into_response(method);
            let bodiless = [204, 304].contains(&sent.status().as_u16());
            let is_head = method == Method::HEAD;
            let mut headers = sent.headers().clone();
            if is_head && !bodiless && !sent.body().is_empty() {
                headers.insert("content-length", HeaderValue::from(sent.body().len()));
            }
            prop_assert_eq!(found.status(), sent.status());
            prop_assert_eq!(found.headers(), &headers);
            let empty = Body::empty();
            prop_assert_eq!(found.body(), if is_head || bodiless { &empty } else { sent.body() });
        }
    }
}
