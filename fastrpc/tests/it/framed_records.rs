//! Records of the framed wire: what goes in comes out, and nothing else does.

use bytes::BytesMut;
use fastrpc::wire::framed::codec::{RecordCodec, looks_incompressible};
use fastrpc::wire::framed::record::{Accepts, HEADER, MOST_PLAIN, RecordDecoder, RecordEncoder};
use proptest::{collection::vec, prelude::*};

use super::{hex, pieces, seeded};

mod contexts;
mod hostile;

/// Bytes without any pattern to compress, other ones for each seed.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    std::iter::repeat_with(|| random.u8(..)).take(len).collect()
}

/// Text that repeats itself, near and far.
fn text(seed: u64, len: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut text = Vec::new();
    while text.len() < len {
        text.extend_from_slice(format!("/items/{}?user={} ", random.u16(..), random.u8(..)).as_bytes());
    }
    text.truncate(len);
    text
}

fn batch() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 1..300),
        (any::<u8>(), 1..=MOST_PLAIN).prop_map(|(byte, len)| vec![byte; len]),
        (0..9u64, 1..=MOST_PLAIN).prop_map(|(seed, len)| noise(seed, len)),
        (0..9u64, 1..=MOST_PLAIN).prop_map(|(seed, len)| text(seed, len)),
    ]
}

fn any_codec() -> impl Strategy<Value = RecordCodec> {
    prop::sample::select(&RecordCodec::ALL)
}

/// What a sender does between and with its batches.
#[derive(Clone, Debug)]
enum Step {
    Batch(Vec<u8>),
    Raw(Vec<u8>),
    End,
    Change(RecordCodec),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => batch().prop_map(Step::Batch),
        2 => batch().prop_map(Step::Raw),
        1 => Just(Step::End),
        1 => any_codec().prop_map(Step::Change),
    ]
}

/// Both ends of one direction.
struct Pair {
    encoder: RecordEncoder,
    decoder: RecordDecoder,
}

impl Pair {
    fn new(codec: RecordCodec) -> Self {
        Self { encoder: RecordEncoder::new(codec, 22), decoder: RecordDecoder::new(Accepts::default()) }
    }

    /// Sends a batch; its record.
    fn send(&mut self, plain: &[u8]) -> Vec<u8> {
        let mut wire = Vec::new();
        self.encoder.encode(plain, &mut wire);
        assert_eq!(decode(&mut self.decoder, &wire), plain);
        wire
    }

    /// Ends the context; the record that does, if one is needed.
    fn end(&mut self) -> Vec<u8> {
        let mut wire = Vec::new();
        self.encoder.end_context(&mut wire);
        assert_eq!(decode(&mut self.decoder, &wire), b"");
        wire
    }
}

/// The plain bytes of whole records.
fn decode(decoder: &mut RecordDecoder, wire: &[u8]) -> Vec<u8> {
    let (mut input, mut out) = (BytesMut::from(wire), Vec::new());
    let mut plain = BytesMut::new();
    while let Some(length) = decoder.decode(&mut input, &mut plain).unwrap() {
        assert_eq!(plain.len(), length);
        out.extend_from_slice(&plain);
        plain.clear();
    }
    assert!(input.is_empty(), "{} bytes left", input.len());
    out
}

proptest! {
    #![proptest_config(seeded(100))]

    #[test]
    fn what_goes_in_comes_out_however_it_is_cut(
        codec in any_codec(),
        alone in any::<bool>(),
        window_log in 10..=27u8,
        steps in vec(step(), 0..12),
        lengths in vec(1..90_000usize, 1..6),
    ) {
        let encoder = RecordEncoder::new(codec, window_log);
        let mut encoder = if alone { encoder.each_alone() } else { encoder };
        let mut decoder = RecordDecoder::new(Accepts { window_log, ..Accepts::default() });
        let (mut wire, mut batches) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Batch(plain) => {
                    encoder.encode(&plain, &mut wire);
                    batches.push(plain);
                }
                Step::Raw(plain) => {
                    encoder.encode_raw(&plain, &mut wire);
                    batches.push(plain);
                }
                Step::End => encoder.end_context(&mut wire),
                Step::Change(codec) => encoder.change(codec, &mut wire),
            }
        }

        let (mut input, mut batches) = (BytesMut::new(), batches.into_iter());
        for piece in pieces(&wire, &lengths) {
            input.extend_from_slice(piece);
            loop {
                let (missing, before) = (RecordDecoder::missing(&input), input.len());
                let mut plain = BytesMut::from(&b"before"[..]);
                let decoded = decoder.decode(&mut input, &mut plain).unwrap();
                prop_assert_eq!(decoded.is_none(), missing > 0);
                match decoded {
                    None => {
                        prop_assert_eq!((input.len(), plain.len()), (before, 6));
                        break;
                    }
                    Some(0) => prop_assert_eq!(&plain[..], b"before"),
                    Some(length) => {
                        let batch = batches.next().unwrap();
                        prop_assert!(length == batch.len() && plain[..6] == b"before"[..] && plain[6..] == batch[..]);
                    }
                }
            }
        }
        prop_assert_eq!((input.len(), batches.next()), (0, None));
    }
}

#[test]
fn every_codec_takes_batches_of_every_length() {
    for codec in RecordCodec::ALL {
        let mut pair = Pair::new(codec);
        for length in [1, 2, 255, 256, 1_023, 1_024, 4_096, 16_384, 32_768, MOST_PLAIN - 1, MOST_PLAIN] {
            for plain in [noise(1, length), text(2, length), vec![b'z'; length]] {
                let wire = pair.send(&plain);
                assert_eq!(wire[0], codec.wire_byte(), "{codec}");
                assert!(wire.len() <= HEADER + length + 30, "{codec}: {} bytes for {length}", wire.len());
            }
        }
    }
}

/// No window is as small as what a peer may allow, and noise as long as it may be has to fit a record all the same.
#[test]
fn the_smallest_window_is_kept_to() {
    for codec in RecordCodec::ALL {
        let mut encoder = RecordEncoder::new(codec, 10);
        let mut decoder = RecordDecoder::new(Accepts { window_log: 10, ..Accepts::default() });
        for seed in 0..5 {
            let (plain, mut wire) = (noise(seed, MOST_PLAIN), Vec::new());
            encoder.encode(&plain, &mut wire);
            assert!(decode(&mut decoder, &wire) == plain, "{codec}");
        }
        assert!(decoder.memory() < 200_000, "{codec}: {} bytes", decoder.memory());
    }
}

#[test]
#[should_panic(expected = "a record takes 1 to 61440 bytes, not 61441")]
fn a_batch_that_is_too_long_is_a_defect_of_the_caller() {
    RecordEncoder::new(RecordCodec::Zstd, 22).encode(&[0; MOST_PLAIN + 1], &mut Vec::new());
}

#[test]
#[should_panic(expected = "a record takes 1 to 61440 bytes, not 0")]
fn so_is_an_empty_one() {
    RecordEncoder::new(RecordCodec::None, 22).encode(&[], &mut Vec::new());
}

#[test]
fn a_context_spans_records_and_raw_ones_pass_by_it() {
    for codec in [RecordCodec::Lz4, RecordCodec::Zstd, RecordCodec::ZstdSmall, RecordCodec::ZstdMax] {
        let mut pair = Pair::new(codec);
        let (known, other) = (noise(1, 20_000), noise(2, MOST_PLAIN));
        pair.send(&known);
        // 256 KiB of raw bytes: had they passed through, lz4's window would have forgotten.
        for _ in 0..5 {
            let mut wire = Vec::new();
            pair.encoder.encode_raw(&other, &mut wire);
            assert_eq!((wire[0], wire.len()), (0, HEADER + MOST_PLAIN));
            assert!(decode(&mut pair.decoder, &wire) == other);
        }
        assert!(pair.send(&known).len() < 200, "{codec}");
        assert!(pair.send(&other).len() > MOST_PLAIN, "{codec}: the context knows what went raw");
    }
}

/// What the default is for: a message from three million bytes ago is remembered.
#[test]
fn windows_are_as_long_as_they_say() {
    for (codec, remembered) in [
        (RecordCodec::Lz4, 50_000),
        (RecordCodec::ZstdSmall, 900_000),
        (RecordCodec::Zstd, 4_000_000),
        (RecordCodec::ZstdMax, 4_000_000),
    ] {
        for (since, expected) in [(remembered, true), (remembered * 3 / 2, false)] {
            let mut pair = Pair::new(codec);
            let known = noise(0, 1_000);
            pair.send(&known);
            (0..since / 10_000).for_each(|seed| drop(pair.send(&noise(seed + 1, 10_000))));
            let wire = pair.send(&known);
            assert_eq!(wire.len() < 100, expected, "{codec}: {} bytes after {since}", wire.len());
        }
    }
}

/// Level 1 with other lengths takes more CPU or more bytes.
#[test]
fn zstd_looks_for_matches_of_seven_bytes() {
    for codec in [RecordCodec::Zstd, RecordCodec::ZstdSmall] {
        for (length, found) in [(6, false), (8, true)] {
            let mut pair = Pair::new(codec);
            let words = noise(1, length * 1_000);
            pair.send(&words);
            let backwards: Vec<u8> = words.rchunks(length).flatten().copied().collect();
            let wire = pair.send(&backwards);
            assert_eq!(wire.len() < backwards.len(), found, "{codec}: {} bytes", wire.len());
        }
    }
}

/// Its decoder drops what no match can reach, now and then, and no more than that.
#[test]
fn lz4_remembers_64_kib_at_any_time() {
    let mut pair = Pair::new(RecordCodec::Lz4);
    let batches: Vec<_> = (0..40).map(|seed| noise(seed, 10_000)).collect();
    for (at, batch) in batches.iter().enumerate() {
        pair.send(batch);
        if let Some(old) = at.checked_sub(5) {
            let wire = pair.send(&batches[old][..500]);
            assert!(wire.len() < 50, "{} bytes for what was sent 62,500 bytes ago", wire.len());
        }
    }
}

#[test]
fn a_raw_record_is_not_copied() {
    let (plain, mut wire) = (noise(1, 50_000), Vec::new());
    RecordEncoder::new(RecordCodec::None, 22).encode(&plain, &mut wire);
    let mut input = BytesMut::from(&wire[..]);
    let (place, mut out) = (input[HEADER..].as_ptr(), BytesMut::new());
    RecordDecoder::new(Accepts::default()).decode(&mut input, &mut out).unwrap();
    assert!(out == plain && out.as_ptr() == place);
}

#[test]
fn a_whole_record_is_told_byte_by_byte() {
    let mut wire = Vec::new();
    RecordEncoder::new(RecordCodec::Zstd, 22).encode(&text(1, 500), &mut wire);
    for end in 0..wire.len() {
        let missing = if end < HEADER { HEADER - end } else { wire.len() - end };
        assert_eq!(RecordDecoder::missing(&wire[..end]), missing);
    }
    assert_eq!(RecordDecoder::missing(&[&wire[..], b"more"].concat()), 0);
}

#[test]
fn what_looks_incompressible_is() {
    assert!((0..100).all(|seed| looks_incompressible(&noise(seed, 5_000))));
    assert!((0..100).all(|seed| !looks_incompressible(&text(seed, 5_000))));
    assert!(!looks_incompressible(include_bytes!("../../../docs/wire.md")));
}
