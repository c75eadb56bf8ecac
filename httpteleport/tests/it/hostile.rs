//! Any bytes at all: no panic, no endless loop, nothing held beyond the limits, and the same outcome however they are cut.

use bytes::BytesMut;
use fastrpc::codec::{Codec, Decoded};
use httpteleport::{ClassicCodec, Limits};
use proptest::prelude::*;

use crate::support::fault;

type Partial = <ClassicCodec as Codec>::Partial;

const MAX_HEAD: usize = 600;
const MAX_BODY: usize = 50;

fn codec() -> ClassicCodec {
    let limits = Limits::default().with_max_head(MAX_HEAD).with_max_headers(4).with_max_body(MAX_BODY);
    ClassicCodec::new(limits.with_max_skip(2000))
}

/// Pieces of messages in any order: far likelier to reach every corner than random bytes.
fn wire() -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&'static [u8]> = vec![
        b"GET / HTTP/1.1\r\n",
        b"POST /x HTTP/1.0\n",
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 304 \r\n",
        b"x 100\n",
        b"Host: h\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: 60\r\n",
        b"Content-Length: 18446744073709551615\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: x, close\r\n",
        b"Teleport-Method: HEAD\r\n",
        b"X: y\r\n",
        b"X: ",
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b"5\r\nhello\r\n",
        b"ffffffffffffffff\r\n",
        b"0\r\n\r\n",
        b"3;a=b\r\n",
        b"hello",
        b":",
        b" ",
    ];
    let piece = prop_oneof![
        12 => prop::sample::select(words).prop_map(<[u8]>::to_vec),
        1 => prop::collection::vec(any::<u8>(), 0..20),
        1 => (any::<u8>(), 0..900usize).prop_map(|(byte, count)| vec![byte; count]),
    ];
    prop::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(0xbad),
        ..ProptestConfig::default()
    }
}

/// What becomes of `wire`, message by message, as text.
fn outcome<M: std::fmt::Debug, R: std::fmt::Debug>(
    wire: &[u8],
    step: usize,
    decode: impl Fn(&mut Partial, &mut BytesMut) -> Result<Option<Decoded<M, R>>, fastrpc::codec::BoxError>,
    body_of: impl Fn(&M) -> usize,
) -> Vec<String> {
    let (mut input, mut partial, mut outcome) = (BytesMut::new(), Partial::default(), Vec::new());
    for piece in wire.chunks(step) {
        input.extend_from_slice(piece);
        loop {
            match decode(&mut partial, &mut input) {
                Ok(Some(decoded)) => {
                    if let Decoded::Message(message) = &decoded {
                        assert!(body_of(message) <= MAX_BODY);
                    }
                    partial = Partial::default();
                    outcome.push(format!("{decoded:?}"));
                }
                Ok(None) => break,
                Err(error) => {
                    outcome.push(format!("{:?}", fault(&error)));
                    return outcome;
                }
            }
        }
        // What is undecoded is part of a head or of a chunk's line.
        assert!(input.len() <= MAX_HEAD + 18, "{} bytes are left lying", input.len());
    }
    outcome
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn as_requests(wire in wire()) {
        let of = |step| outcome(
            &wire,
            step,
            |partial, input| codec().decode_request(partial, input),
            |request| request.body().len(),
        );
        let whole = of(wire.len().max(1));
        prop_assert_eq!(&whole, &of(1));
        prop_assert_eq!(&whole, &of(13));
    }

    #[test]
    fn as_replies(wire in wire()) {
        let of = |step| outcome(
            &wire,
            step,
            |partial, input| codec().decode_reply(partial, input),
            |reply| reply.response().body().len(),
        );
        let whole = of(wire.len().max(1));
        prop_assert_eq!(&whole, &of(1));
        prop_assert_eq!(&whole, &of(13));
    }
}
