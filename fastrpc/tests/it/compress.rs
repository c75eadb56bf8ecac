use bytes::BytesMut;
use fastrpc::wire::compress::{Compression, DecodeError, Decoder, Encoder, Progress};
use proptest::{collection::vec, prelude::*};

use super::{hex, pieces, seeded};

const ALL: [Compression; 3] = [Compression::None, Compression::Flate, Compression::Snappy];
/// What a snappy chunk may add to the room.
const CHUNK: usize = 65_535;

/// Decodes all of `wire`, giving `room` at a time and checking that it is kept.
fn drain(decoder: &mut Decoder, mut wire: &[u8], room: usize, out: &mut Vec<u8>) -> Result<Progress, DecodeError> {
    loop {
        let (mut plain, before) = (BytesMut::new(), wire.len());
        let progress = decoder.decode(&mut wire, &mut plain, room);
        assert!(plain.len() < room + CHUNK + 1, "{} bytes for a room of {room}", plain.len());
        if !format!("{decoder:?}").contains("snappy") {
            assert!(plain.len() <= room, "{} bytes for a room of {room}", plain.len());
        }
        out.extend_from_slice(&plain);
        match progress? {
            Progress::Full => assert!(!plain.is_empty() || wire.len() < before, "no progress"),
            Progress::NeedInput => {
                assert!(wire.is_empty(), "{} bytes left", wire.len());
                return Ok(Progress::NeedInput);
            }
            Progress::End => return Ok(Progress::End),
        }
    }
}

fn decoded(c: Compression, wire: &[u8]) -> Result<Vec<u8>, DecodeError> {
    let mut out = Vec::new();
    drain(&mut Decoder::new(c), wire, 1 << 20, &mut out).map(|_| out)
}

fn encoded(c: Compression, plain: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    Encoder::new(c).encode(&mut plain.to_vec(), &mut wire);
    wire
}

/// Bytes without any pattern to compress.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 88_172_645_463_325_252u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn batch() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..300),
        (any::<u8>(), 0..200_000usize).prop_map(|(byte, len)| vec![byte; len]),
        (vec(any::<u8>(), 1..50), 1..500usize).prop_map(|(word, times)| word.repeat(times)),
        (0..100_000usize).prop_map(noise),
    ]
}

proptest! {
    #![proptest_config(seeded(60))]

    #[test]
    fn what_goes_in_comes_out_batch_by_batch(
        batches in vec(batch(), 0..6),
        lengths in vec(1..9_000usize, 1..6),
        room in 1..100_000usize,
    ) {
        for c in ALL {
            let (mut encoder, mut decoder) = (Encoder::new(c), Decoder::new(c));
            for batch in &batches {
                let (mut plain, mut wire) = (batch.clone(), Vec::new());
                encoder.encode(&mut plain, &mut wire);
                prop_assert!(plain.is_empty());
                let mut out = Vec::new();
                for piece in pieces(&wire, &lengths) {
                    prop_assert_eq!(drain(&mut decoder, piece, room, &mut out).unwrap(), Progress::NeedInput);
                }
                prop_assert!(out == *batch, "{c}: {} bytes came out of {}", out.len(), batch.len());
            }
        }
    }

    #[test]
    fn any_bytes_end_in_an_answer(
        bytes in vec(any::<u8>(), 0..2_000),
        lengths in vec(1..500usize, 1..4),
        room in 1..5_000usize,
        identified in any::<bool>(),
    ) {
        for c in ALL {
            let mut wire = if identified && c == Compression::Snappy { hex("ff060000734e61507059") } else { Vec::new() };
            wire.extend_from_slice(&bytes);
            feed(c, &wire, &lengths, room);
        }
    }

    #[test]
    fn damaged_streams_end_in_an_answer(
        batch in batch(),
        damage in vec((any::<prop::sample::Index>(), 1..=255u8), 1..4),
        lengths in vec(1..9_000usize, 1..4),
        room in 1..100_000usize,
    ) {
        prop_assume!(!batch.is_empty());
        for c in ALL {
            let mut wire = encoded(c, &batch);
            for (at, flip) in &damage {
                let at = at.index(wire.len());
                wire[at] ^= flip;
            }
            feed(c, &wire, &lengths, room);
        }
    }
}

/// Decodes until the first error, under the checks of [`drain`].
fn feed(c: Compression, wire: &[u8], lengths: &[usize], room: usize) {
    let (mut decoder, mut out) = (Decoder::new(c), Vec::new());
    for piece in pieces(wire, lengths) {
        if drain(&mut decoder, piece, room, &mut out).is_err() {
            return;
        }
        out.clear();
    }
}

#[test]
fn sizes_around_every_boundary() {
    let mut sizes = vec![1, 2, 100_000, 200_000];
    for edge in [1 << 14, 1 << 15, 1 << 16, 1 << 17] {
        sizes.extend([edge - 1, edge, edge + 1]);
    }
    for c in ALL {
        for &size in &sizes {
            for plain in [noise(size), vec![b'z'; size]] {
                let wire = encoded(c, &plain);
                assert!(decoded(c, &wire).unwrap() == plain, "{c}, {size} bytes");
                // A room that is met exactly is full, and the next turn finds nothing more.
                let (mut decoder, mut rest, mut out) = (Decoder::new(c), &wire[..], BytesMut::new());
                assert_eq!(decoder.decode(&mut rest, &mut out, size).unwrap(), Progress::Full, "{c}, {size} bytes");
                assert_eq!(decoder.decode(&mut rest, &mut out, 1).unwrap(), Progress::NeedInput, "{c}, {size} bytes");
                assert_eq!(out.len(), size);
            }
        }
    }
}

#[test]
fn an_empty_batch_leaves_no_trace() {
    for c in ALL {
        let (mut encoder, mut wire) = (Encoder::new(c), vec![7]);
        encoder.encode(&mut Vec::new(), &mut wire);
        assert_eq!(wire, [7], "{c}");
        assert_eq!(Decoder::new(c).decode(&mut &[][..], &mut BytesMut::new(), 10).unwrap(), Progress::NeedInput);
    }
}

#[test]
fn encoding_appends_and_keeps_the_capacity_of_its_input() {
    for c in ALL {
        let mut plain = Vec::with_capacity(1000);
        plain.extend_from_slice(b"one batch");
        let mut wire = b"before".to_vec();
        Encoder::new(c).encode(&mut plain, &mut wire);
        assert_eq!((plain.len(), plain.capacity()), (0, 1000), "{c}");
        assert_eq!(&wire[..6], b"before", "{c}");
        assert_eq!(decoded(c, &wire[6..]).unwrap(), b"one batch", "{c}");
    }
}

#[test]
fn without_compression_the_buffers_change_places() {
    let (mut plain, mut wire) = (b"as it is".to_vec(), Vec::with_capacity(64));
    let (plain_at, wire_at) = (plain.as_ptr(), wire.as_ptr());
    Encoder::new(Compression::None).encode(&mut plain, &mut wire);
    assert_eq!((wire.as_ptr(), plain.as_ptr()), (plain_at, wire_at));
    assert_eq!((wire.as_slice(), plain.len()), (&b"as it is"[..], 0));
}

#[test]
fn a_bomb_comes_out_in_steps() {
    const STEPS: usize = 64;
    const ROOM: usize = 10_000;
    for c in [Compression::Flate, Compression::Snappy] {
        let (mut encoder, mut wire) = (Encoder::new(c), Vec::new());
        for _ in 0..STEPS {
            encoder.encode(&mut vec![0; 1 << 18], &mut wire);
        }
        let (mut decoder, mut rest, mut total) = (Decoder::new(c), &wire[..], 0);
        let mut plain = BytesMut::new();
        while decoder.decode(&mut rest, &mut plain, ROOM).unwrap() == Progress::Full {
            assert!(plain.len() <= ROOM + CHUNK);
            assert!(plain.capacity() <= 2 * (ROOM + CHUNK), "{c} took {} bytes", plain.capacity());
            total += plain.len();
            plain.clear();
        }
        assert_eq!(total + plain.len(), STEPS << 18, "{c}");
        assert!(wire.len() < total / 20, "{c}: no bomb at {} bytes", wire.len());
    }
}

#[test]
fn flate_keeps_its_window_and_ends_each_batch_in_a_sync_flush() {
    let (mut encoder, mut wire) = (Encoder::new(Compression::Flate), Vec::new());
    encoder.encode(&mut noise(5_000), &mut wire);
    assert_eq!(wire[wire.len() - 4..], [0x00, 0x00, 0xFF, 0xFF]);
    let first = wire.len();
    encoder.encode(&mut noise(5_000), &mut wire);
    assert_eq!(wire[wire.len() - 4..], [0x00, 0x00, 0xFF, 0xFF]);
    assert!(wire.len() - first < 100, "{} bytes for what the peer has seen before", wire.len() - first);
}

#[test]
fn flate_vectors() {
    // Made by zlib: two batches, each with a sync flush.
    let wire = hex("ca48cdc9c957c8409000000000ffff 021300000000ffff");
    assert_eq!(decoded(Compression::Flate, &wire).unwrap(), b"hello hello hellohello");
    // The first batch comes out before the second is there.
    assert_eq!(decoded(Compression::Flate, &wire[..15]).unwrap(), b"hello hello hello");
    // A stored block, as a sender at level 0 writes it.
    assert_eq!(decoded(Compression::Flate, &hex("00 0200 fdff 6869 000000ffff")).unwrap(), b"hi");
}

#[test]
fn a_final_block_ends_the_stream() {
    let wire = hex("021300000000ffff 0300 ffee");
    let wire = [&hex("ca48cdc9c957c8409000000000ffff")[..], &wire].concat();
    let (mut decoder, mut plain, mut rest) = (Decoder::new(Compression::Flate), BytesMut::new(), &wire[..]);
    assert_eq!(decoder.decode(&mut rest, &mut plain, 1000).unwrap(), Progress::End);
    assert_eq!((&plain[..], rest), (&b"hello hello hellohello"[..], &[0xFF, 0xEE][..]));
    assert_eq!(decoder.decode(&mut rest, &mut plain, 1000).unwrap(), Progress::End);
    assert_eq!((plain.len(), rest.len()), (22, 2));
}

#[test]
fn flate_errors_are_told() {
    // Block type 3 does not exist; a distance of more than there is behind; a stored length that does not check.
    for wire in ["07", "4b040600", "00 0200 0000"] {
        let error = decoded(Compression::Flate, &hex(wire)).unwrap_err().to_string();
        assert!(error.starts_with("flate stream: "), "{error}");
    }
}

/// The snappy stream identifier.
const IDENTIFIER: &str = "ff060000 734e61507059";

fn snappy(chunks: &str) -> Result<Vec<u8>, DecodeError> {
    decoded(Compression::Snappy, &hex(chunks))
}

#[test]
fn snappy_vectors() {
    let plain = format!("{IDENTIFIER} 01090000 bb1f1c19 68656c6c6f");
    assert_eq!(encoded(Compression::Snappy, b"hello"), hex(&plain));
    assert_eq!(snappy(&plain).unwrap(), b"hello");
    let block = format!("{IDENTIFIER} 000a0000 03c19591 28 0061 9a0100");
    assert_eq!(snappy(&block).unwrap(), [b'a'; 40]);
    assert_eq!(encoded(Compression::Snappy, &[b'a'; 40])[10], 0x00, "a gain of more than an eighth goes compressed");
}

#[test]
fn snappy_identifies_itself_once() {
    let (mut encoder, mut wire) = (Encoder::new(Compression::Snappy), Vec::new());
    encoder.encode(&mut b"hello".to_vec(), &mut wire);
    encoder.encode(&mut b"hello".to_vec(), &mut wire);
    assert_eq!(wire, hex(&format!("{IDENTIFIER} 01090000 bb1f1c19 68656c6c6f 01090000 bb1f1c19 68656c6c6f")));
}

#[test]
fn snappy_chunks_hold_65536_bytes() {
    let wire = encoded(Compression::Snappy, &noise(65_537));
    assert_eq!(wire[10..14], [0x01, 0x04, 0x00, 0x01]);
    assert_eq!(wire[10 + 8 + 65_536..][..4], [0x01, 0x05, 0x00, 0x00]);
}

#[test]
fn snappy_chunk_rules() {
    let hello = "01090000 bb1f1c19 68656c6c6f";
    for (chunks, want) in [
        (format!("{IDENTIFIER} {IDENTIFIER} {hello} {IDENTIFIER} {hello}"), Ok("hellohello")),
        (format!("{IDENTIFIER} fe030000 aabbcc {hello} 80000000 fd010000 00 {hello}"), Ok("hellohello")),
        (hello.to_owned(), Err("instead of its identifier")),
        (format!("fe000000 {IDENTIFIER}"), Err("instead of its identifier")),
        ("ff060000 734e61507058".to_owned(), Err("not \"sNaPpY\"")),
        ("ff070000".to_owned(), Err("cannot be 7 bytes long")),
        (format!("{IDENTIFIER} 02000000"), Err("0x02 is unknown")),
        (format!("{IDENTIFIER} 7f000000"), Err("0x7f is unknown")),
        (format!("{IDENTIFIER} fecf2a01"), Err("cannot be 76495 bytes long")),
        (format!("{IDENTIFIER} 00cf2a01"), Err("cannot be 76495 bytes long")),
        (format!("{IDENTIFIER} 01050001"), Err("cannot be 65541 bytes long")),
        (format!("{IDENTIFIER} 01030000"), Err("cannot be 3 bytes long")),
        (format!("{IDENTIFIER} 00090000 00000000 818004 0061"), Err("")),
        (format!("{IDENTIFIER} 00070000 00000000 818004"), Err("claims 65537 plain bytes")),
        (format!("{IDENTIFIER} 00060000 03c19591 28 00"), Err("corrupt block")),
    ] {
        match (snappy(&chunks), want) {
            (Ok(plain), Ok(want)) => assert_eq!(plain, want.as_bytes()),
            (Err(error), Err(want)) => {
                let error = error.to_string();
                assert!(error.starts_with("snappy stream: ") && error.contains(want), "{chunks}: {error}");
            }
            (got, want) => panic!("{chunks}: {got:?} instead of {want:?}"),
        }
    }
}

#[test]
fn the_longest_padding_passes_in_pieces() {
    let mut wire = hex(&format!("{IDENTIFIER} fece2a01"));
    wire.resize(wire.len() + 76_494, 0xAA);
    wire.extend_from_slice(&hex("01090000 bb1f1c19 68656c6c6f"));
    for length in [1, 7, 4096, wire.len()] {
        let (mut decoder, mut out) = (Decoder::new(Compression::Snappy), Vec::new());
        for piece in wire.chunks(length) {
            drain(&mut decoder, piece, 100, &mut out).unwrap();
        }
        assert_eq!(out, b"hello", "pieces of {length}");
    }
}

#[test]
fn snappy_notices_every_flipped_bit_of_a_chunk() {
    for plain in [noise(50), b"abc".repeat(50)] {
        let wire = encoded(Compression::Snappy, &plain);
        for bit in 14 * 8..wire.len() * 8 {
            let mut wire = wire.clone();
            wire[bit / 8] ^= 1 << (bit % 8);
            assert!(decoded(Compression::Snappy, &wire).is_err(), "bit {bit}");
        }
    }
    let wrong = snappy(&format!("{IDENTIFIER} 01090000 bb1f1c18 68656c6c6f")).unwrap_err();
    assert_eq!(wrong.to_string(), "snappy stream: checksum 0x191c1fbb where the chunk says 0x181c1fbb");
}

#[test]
fn names() {
    for c in ALL {
        assert_eq!(c.to_string().parse(), Ok(c));
        assert_eq!(Compression::from_wire_byte(c.wire_byte()), Some(c));
        assert_eq!(Decoder::new(c).is_identity(), c == Compression::None);
    }
    assert_eq!(
        [0, 1, 2].map(Compression::from_wire_byte),
        [Some(Compression::Flate), Some(Compression::None), Some(Compression::Snappy)]
    );
    assert!((3..=255).all(|byte| Compression::from_wire_byte(byte).is_none()));
    assert_eq!(Compression::default(), Compression::Flate);
    let error = "zstd".parse::<Compression>().unwrap_err().to_string();
    assert_eq!(error, "unknown compression \"zstd\": choose none, flate or snappy");
}
