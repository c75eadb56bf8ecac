use ::serde::{Deserialize, Serialize};
use bytes::BytesMut;
use fastrpc::codec::{BoxError, Codec, Decoded, Failure};
use proptest::{collection::vec, prelude::*};

use super::{pieces, seeded};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Ask {
    Ping,
    Add(u64, i128),
    Text { text: String, more: Vec<Option<f64>> },
    Blob(Vec<u8>),
}

fn ask() -> impl Strategy<Value = Ask> {
    prop_oneof![
        Just(Ask::Ping),
        any::<(u64, i128)>().prop_map(|(a, b)| Ask::Add(a, b)),
        (".{0,40}", vec(any::<Option<i32>>(), 0..20))
            .prop_map(|(text, more)| Ask::Text { text, more: more.into_iter().map(|n| n.map(f64::from)).collect() }),
        (any::<u8>(), 0..200_000usize).prop_map(|(byte, len)| Ask::Blob(vec![byte; len])),
    ]
}

/// One serde codec under the tests that hold for all of them.
macro_rules! suite {
    ($module:ident, $codec:ident) => {
        mod $module {
            use fastrpc::codec::$module::{FailureKind, Partial, RemoteFailure, $codec};

            use super::*;

            fn codec() -> $codec<Ask, String> {
                $codec::new()
            }

            fn frame(len: usize, body: &[u8]) -> Vec<u8> {
                [&u32::try_from(len).unwrap().to_le_bytes()[..], body].concat()
            }

            fn request(wire: &[u8]) -> Result<Option<Decoded<Ask, Result<String, RemoteFailure>>>, BoxError> {
                codec().decode_request(&mut Partial::default(), &mut BytesMut::from(wire))
            }

            fn reply(wire: &[u8]) -> Decoded<Result<String, RemoteFailure>, BoxError> {
                codec().decode_reply(&mut Partial::default(), &mut BytesMut::from(wire)).unwrap().unwrap()
            }

            proptest! {
                #![proptest_config(seeded(60))]

                #[test]
                fn messages_survive_any_cuts(asks in vec(ask(), 0..8), lengths in vec(1..50_000usize, 1..6)) {
                    let mut wire = Vec::new();
                    for ask in &asks {
                        codec().encode_request(ask, &mut wire).unwrap();
                    }
                    let (mut input, mut partial, mut received) = (BytesMut::new(), Partial::default(), Vec::new());
                    for piece in pieces(&wire, &lengths) {
                        input.extend_from_slice(piece);
                        while let Some(decoded) = codec().decode_request(&mut partial, &mut input).unwrap() {
                            let Decoded::Message(ask) = decoded else { panic!("{decoded:?}") };
                            received.push(ask);
                            partial = Partial::default();
                        }
                        prop_assert!(input.len() < 70_000, "{} bytes left lying", input.len());
                    }
                    prop_assert!(received == asks);
                    prop_assert!(input.is_empty());
                }

                #[test]
                fn any_body_is_a_message_or_refused(body in vec(any::<u8>(), 0..300)) {
                    let wire = frame(body.len(), &body);
                    prop_assert!(request(&wire).unwrap().is_some());
                    reply(&wire);
                }
            }

            #[test]
            fn replies_and_failures() {
                for sent in [
                    Ok("fine".to_owned()),
                    Err(RemoteFailure::new(FailureKind::Handler, "no such user")),
                    Err(RemoteFailure::new(FailureKind::Other(77), "")),
                    codec().failure(Failure::Overloaded { limit: 9 }),
                    codec().failure(Failure::Panicked),
                    codec().failure(Failure::Unencodable(&"too long".into())),
                ] {
                    let mut wire = Vec::new();
                    codec().encode_reply(&sent, &mut wire).unwrap();
                    let Decoded::Message(received) = reply(&wire) else { panic!("{sent:?} was refused") };
                    assert_eq!(received, sent);
                }
                let failure = codec().failure(Failure::Overloaded { limit: 9 }).unwrap_err();
                assert_eq!(failure.kind(), FailureKind::Overloaded);
                assert_eq!(failure.text(), "all 9 handlers are busy: try again later");
            }

            #[test]
            fn the_bytes_of_a_failure() {
                let mut wire = Vec::new();
                codec().encode_reply(&Err(RemoteFailure::new(FailureKind::Panicked, "oh")), &mut wire).unwrap();
                assert_eq!(wire, [3, 0, 0, 0, 2, b'o', b'h']);
                wire.clear();
                codec().encode_reply(&Ok("hi".into()), &mut wire).unwrap();
                assert_eq!(wire, [4, 0, 0, 0, 0, 2, b'h', b'i']);
                // A failure never passes for a reply.
                wire.clear();
                codec().encode_reply(&Err(RemoteFailure::new(FailureKind::Other(0), "")), &mut wire).unwrap();
                assert_eq!(wire, [1, 0, 0, 0, 5]);
            }

            #[test]
            fn a_failure_fits_whatever_the_cap_and_its_text_is_cut_between_characters() {
                let mut wire = Vec::new();
                let text = format!("x{}", "ä".repeat(5000));
                codec()
                    .max_len(0)
                    .encode_reply(&Err(RemoteFailure::new(FailureKind::Handler, text)), &mut wire)
                    .unwrap();
                let Decoded::Message(Err(failure)) = reply(&wire) else { panic!("no failure") };
                assert_eq!(failure.text(), format!("x{}", "ä".repeat(511)));
            }

            #[test]
            fn a_message_over_the_cap_costs_its_call_alone() {
                let (codec, blob) = (codec().max_len(1000), Ask::Blob(vec![7; 300_000]));
                let mut wire = Vec::new();
                let error = codec.encode_request(&blob, &mut wire).unwrap_err().to_string();
                assert!(error.contains("longer than the 1000 bytes"), "{error}");
                assert!(wire.len() <= 1004, "serializing went on for {} bytes", wire.len());

                wire.clear();
                $codec::<Ask, String>::new().encode_request(&blob, &mut wire).unwrap();
                codec.encode_request(&Ask::Ping, &mut wire).unwrap();
                for length in [1, 3, 70_000, wire.len()] {
                    let (mut input, mut partial, mut got) = (BytesMut::new(), Partial::default(), Vec::new());
                    for piece in wire.chunks(length) {
                        input.extend_from_slice(piece);
                        while let Some(decoded) = codec.decode_request(&mut partial, &mut input).unwrap() {
                            got.push(decoded);
                            partial = Partial::default();
                        }
                        assert!(input.len() < 1004, "what is skipped must not pile up");
                    }
                    let [Decoded::Refused(Err(refused)), Decoded::Message(Ask::Ping)] = &got[..] else {
                        panic!("{got:?}")
                    };
                    assert_eq!(refused.kind(), FailureKind::BadRequest);
                    assert!(refused.text().contains("at most 1000"), "{refused}");
                }
            }

            #[test]
            fn a_frame_beyond_all_bounds_ends_the_connection() {
                assert!(matches!(request(&frame(64 << 20, &[])), Ok(None)));
                assert!(request(&frame((64 << 20) + 1, &[])).is_err());
                assert!(request(&[0xFF; 4]).is_err());
            }

            #[test]
            fn what_cannot_be_read_is_refused() {
                for body in [&[][..], &[9], &[0, 0]] {
                    let Ok(Some(Decoded::Refused(Err(refused)))) = request(&frame(body.len(), body)) else {
                        panic!("{body:?} was taken")
                    };
                    assert_eq!(refused.kind(), FailureKind::BadRequest, "{body:?}");
                }
                for body in [&[][..], &[0], &[0, 5, b'x'], &[0, 1, b'x', b'y']] {
                    assert!(matches!(reply(&frame(body.len(), body)), Decoded::Refused(_)), "{body:?} was taken");
                }
            }

            #[test]
            fn a_claimed_length_is_not_allocated() {
                // A blob and a text that claim 2^62 bytes, in the integers of postcard and of bincode.
                for claim in
                    [&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x40][..], &[253, 0, 0, 0, 0, 0, 0, 0, 0x40]]
                {
                    for variant in [2, 3] {
                        let body = [&[variant], claim, b"ab"].concat();
                        assert!(matches!(request(&frame(body.len(), &body)), Ok(Some(Decoded::Refused(_)))));
                    }
                }
            }
        }
    };
}

#[cfg(feature = "postcard")]
suite!(postcard, Postcard);
#[cfg(feature = "bincode")]
suite!(bincode, Bincode);
