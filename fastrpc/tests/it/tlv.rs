use bytes::{Bytes, BytesMut};
use fastrpc::{
    codec::{
        Codec, Decoded, Failure,
        tlv::{MAX_LEN, Reply, Request, Tlv},
    },
    wire::compress::{Compression, Decoder, Encoder, Progress},
};
use proptest::{collection::vec, prelude::*};

use super::{hex, pieces, seeded};

fn request(codec: &Tlv, input: &mut BytesMut) -> Option<Request> {
    match codec.decode_request(&mut (), input).unwrap()? {
        Decoded::Message(request) => Some(request),
        Decoded::Refused(reply) => panic!("refused with {reply:?}"),
    }
}

fn reply(codec: &Tlv, input: &mut BytesMut) -> Option<Reply> {
    match codec.decode_reply(&mut (), input).unwrap()? {
        Decoded::Message(reply) => Some(reply),
        Decoded::Refused(error) => panic!("refused with {error}"),
    }
}

#[test]
fn bytes_on_the_wire() {
    let (codec, mut out) = (Tlv::new(), b"before".to_vec());
    codec.encode_request(&Request::new("get", "k\0y"), &mut out).unwrap();
    codec.encode_reply(&"value".into(), &mut out).unwrap();
    assert_eq!(out, [b"before".to_vec(), hex("03000000 676574 03000000 6b0079 05000000 76616c7565")].concat());

    let mut input = BytesMut::from(&out[6..]);
    assert_eq!(request(&codec, &mut input), Some(Request::new("get", "k\0y")));
    assert_eq!(reply(&codec, &mut input), Some(Reply::new("value")));
    assert!(input.is_empty());
}

#[test]
fn an_unfinished_message_stays_in_the_input() {
    let (codec, mut wire) = (Tlv::new(), Vec::new());
    codec.encode_request(&Request::new("name", "value"), &mut wire).unwrap();
    for end in 0..wire.len() {
        let mut input = BytesMut::from(&wire[..end]);
        assert_eq!(request(&codec, &mut input), None, "{end} bytes");
        assert_eq!(input.len(), end);
    }
    for end in 0..9 {
        let mut input = BytesMut::from(&hex("05000000 76616c7565")[..end]);
        assert_eq!(reply(&codec, &mut input), None, "{end} bytes");
        assert_eq!(input.len(), end);
    }
}

#[test]
fn nothing_is_copied() {
    let (codec, mut wire) = (Tlv::new(), BytesMut::from(&hex("02000000 6162 03000000 636465 04000000 66676869")[..]));
    let at = wire.as_ptr() as usize;
    let request = request(&codec, &mut wire).unwrap();
    let reply = reply(&codec, &mut wire).unwrap();
    let found = [&request.name, &request.value, &reply.value].map(|part| part.as_ptr() as usize - at);
    assert_eq!(found, [4, 10, 17]);
}

#[test]
fn empty_parts_do_not_hold_the_chunk() {
    let (codec, mut input) = (Tlv::new(), BytesMut::from(&hex("00000000 00000000 00000000")[..]));
    assert_eq!(request(&codec, &mut input), Some(Request::default()));
    assert_eq!(reply(&codec, &mut input), Some(Reply::default()));
    // A name alone holds it once, a value alone too.
    for bytes in ["01000000 6e 00000000", "00000000 01000000 76"] {
        let mut input = BytesMut::from(&hex(bytes)[..]);
        let Request { name, value } = request(&codec, &mut input).unwrap();
        drop(input);
        let (empty, part) = if name.is_empty() { (name, value) } else { (value, name) };
        assert!(part.is_unique(), "{bytes}: the empty part holds the chunk too");
        drop(empty);
    }
}

#[test]
fn lengths_over_the_limit_are_errors_at_once() {
    let over = u32::try_from(MAX_LEN + 1).unwrap().to_le_bytes();
    let codec = Tlv::new().max_len(usize::MAX);
    let told =
        |result: Result<(), _>| result.map_err(|error: Box<dyn std::error::Error + Send + Sync>| error.to_string());

    let mut input = BytesMut::from(&over[..]);
    let error = told(codec.decode_request(&mut (), &mut input).map(drop)).unwrap_err();
    assert_eq!(error, "tlv name of 1048577 bytes: at most 1048576 are allowed, send it in parts");
    assert!(codec.decode_reply(&mut (), &mut input).is_err());
    let mut input = BytesMut::from(&[&[0; 4], &over[..]].concat()[..]);
    assert!(told(codec.decode_request(&mut (), &mut input).map(drop)).unwrap_err().starts_with("tlv value of 1048577"));
    let mut input = BytesMut::from(&[0xFF; 8][..]);
    assert!(codec.decode_request(&mut (), &mut input).is_err());

    let mut out = vec![1];
    let long = Bytes::from(vec![0; MAX_LEN + 1]);
    assert!(codec.encode_request(&Request::new(long.clone(), ""), &mut out).is_err());
    assert!(codec.encode_request(&Request::new("", long.clone()), &mut out).is_err());
    assert!(codec.encode_reply(&Reply::new(long), &mut out).is_err());
    assert_eq!(out, [1], "nothing is left behind");
}

#[test]
fn the_longest_parts_pass_and_limits_only_go_down() {
    let (codec, longest) = (Tlv::new(), Bytes::from(vec![b'x'; MAX_LEN]));
    let mut out = Vec::new();
    codec.encode_request(&Request::new(longest.clone(), longest.clone()), &mut out).unwrap();
    assert_eq!(request(&codec, &mut BytesMut::from(&out[..])), Some(Request::new(longest.clone(), longest)));

    let small = Tlv::new().max_len(3);
    assert!(small.encode_reply(&Reply::new("abc"), &mut out).is_ok());
    assert!(small.encode_reply(&Reply::new("abcd"), &mut out).is_err());
    assert!(small.decode_reply(&mut (), &mut BytesMut::from(&hex("04000000")[..])).is_err());
}

#[test]
fn failures_are_empty_unless_told_otherwise() {
    assert_eq!(Tlv::new().failure(Failure::Panicked), Reply::default());
    let codec = Tlv::new().on_failure(|failure| match failure {
        Failure::Overloaded { limit } => Reply::new(format!("over {limit}")),
        other => Reply::new(format!("{other:?}")),
    });
    assert_eq!(codec.clone().failure(Failure::Overloaded { limit: 5 }), Reply::new("over 5"));
    assert_eq!(codec.failure(Failure::Panicked), Reply::new("Panicked"));
}

fn part() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        Just(Bytes::new()),
        vec(any::<u8>(), 0..100).prop_map(Bytes::from),
        (any::<u8>(), 0..100_000usize).prop_map(|(byte, len)| vec![byte; len].into()),
    ]
}

proptest! {
    #![proptest_config(seeded(60))]

    #[test]
    fn messages_survive_batches_compression_and_cuts(
        messages in vec((part(), part(), any::<bool>()), 0..20),
        lengths in vec(1..5_000usize, 1..6),
        room in 1..50_000usize,
    ) {
        let codec = Tlv::new();
        let sent: Vec<Request> = messages.iter().map(|(name, value, _)| Request::new(name.clone(), value.clone())).collect();
        for c in [Compression::None, Compression::Flate, Compression::Snappy] {
            let (mut encoder, mut plain, mut wire) = (Encoder::new(c), Vec::new(), Vec::new());
            for (request, (.., flush)) in sent.iter().zip(&messages) {
                codec.encode_request(request, &mut plain).unwrap();
                if *flush {
                    encoder.encode(&mut plain, &mut wire);
                }
            }
            encoder.encode(&mut plain, &mut wire);

            let (mut decoder, mut input, mut received) = (Decoder::new(c), BytesMut::new(), Vec::new());
            for mut piece in pieces(&wire, &lengths) {
                while decoder.decode(&mut piece, &mut input, room).unwrap() == Progress::Full {
                    received.extend(std::iter::from_fn(|| request(&codec, &mut input)));
                }
                received.extend(std::iter::from_fn(|| request(&codec, &mut input)));
            }
            prop_assert!(received == sent, "{c}: {} of {} messages", received.len(), sent.len());
            prop_assert!(input.is_empty());
        }
    }

    #[test]
    fn any_bytes_end_in_an_answer(bytes in vec(any::<u8>(), 0..200), small in vec(0..4u8, 0..200)) {
        for bytes in [bytes, small] {
            let codec = Tlv::new();
            let mut input = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = codec.decode_request(&mut (), &mut input) {}
            let mut input = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = codec.decode_reply(&mut (), &mut input) {}
        }
    }
}
