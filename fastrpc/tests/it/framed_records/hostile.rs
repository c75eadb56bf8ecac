//! Records of a peer that is broken, or worse.

use super::*;

/// A record, told as it is to be told.
fn record(codec: u8, plain: usize, wire: &[u8]) -> Vec<u8> {
    let length = |length: usize| u16::try_from(length).unwrap().to_le_bytes();
    [&[codec][..], &length(plain), &length(wire.len()), wire].concat()
}

/// What a new decoder says to the last of `records`, having taken the others.
fn refusal(records: &[Vec<u8>]) -> String {
    let mut decoder = RecordDecoder::new(Accepts::default());
    refusal_by(&mut decoder, records)
}

fn refusal_by(decoder: &mut RecordDecoder, records: &[Vec<u8>]) -> String {
    let (last, first) = records.split_last().unwrap();
    first.iter().for_each(|record| drop(decode(decoder, record)));
    let mut plain = BytesMut::from(&b"before"[..]);
    let error = decoder.decode(&mut BytesMut::from(&last[..]), &mut plain).unwrap_err();
    assert_eq!(&plain[..], b"before", "a refused record leaves something behind");
    let lost = decoder.decode(&mut BytesMut::from(&record(0, 1, b"x")[..]), &mut plain).unwrap_err();
    assert_eq!(lost.to_string(), "record: one before it could not be decoded; close the connection");
    error.to_string()
}

/// The wire bytes of the records of `batches`.
fn encoded(codec: RecordCodec, batches: &[&[u8]]) -> Vec<Vec<u8>> {
    let mut encoder = RecordEncoder::new(codec, 22);
    let encode = |batch: &&[u8]| {
        let mut wire = Vec::new();
        encoder.encode(batch, &mut wire);
        wire.split_off(HEADER)
    };
    batches.iter().map(encode).collect()
}

#[test]
fn a_plain_length_has_to_be_true() {
    let (compressed, stored) = (text(1, 5_000), noise(1, 5_000));
    for codec in [RecordCodec::Lz4, RecordCodec::Zstd] {
        for batch in [&compressed, &stored] {
            let [first, second] = &encoded(codec, &[batch, batch])[..] else { panic!() };
            let (byte, whole) = (codec.wire_byte(), record(codec.wire_byte(), 5_000, first));
            for (length, error) in [
                (5_001, "it holds 5000 bytes, less than its plain length"),
                (61_440, "it holds 5000 bytes, less than its plain length"),
                (4_999, "it holds more than its plain length"),
                (1, "it holds more than its plain length"),
            ] {
                assert_eq!(refusal(&[record(byte, length, first)]), format!("{codec} record: {error}"));
                assert_eq!(refusal(&[whole.clone(), record(byte, length, second)]), format!("{codec} record: {error}"));
            }
        }
    }
}

#[test]
fn a_wire_length_has_to_be_true() {
    let batch = text(1, 5_000);
    for codec in [RecordCodec::Lz4, RecordCodec::Zstd] {
        let [first, second] = &encoded(codec, &[&batch, &batch])[..] else { panic!() };
        let (byte, whole) = (codec.wire_byte(), record(codec.wire_byte(), 5_000, first));
        for cut in 0..first.len() {
            if cut > 0 {
                refusal(&[record(byte, 5_000, &first[..cut])]);
            }
            refusal(&[record(byte, 5_000, &[first, &first[..cut + 1]].concat())]);
        }
        for cut in 1..second.len() {
            refusal(&[whole.clone(), record(byte, 5_000, &second[..cut])]);
            // What a context could keep for the next record is refused as well.
            refusal(&[whole.clone(), record(byte, 0, &second[..cut])]);
            refusal(&[whole.clone(), record(byte, 5_000, &[second, &second[..cut]].concat())]);
        }
    }
}

#[test]
fn the_rest_of_a_block_does_not_wait_for_the_next_record() {
    let batch = text(1, 5_000);
    let [first, second] = &encoded(RecordCodec::Zstd, &[&batch, &batch])[..] else { panic!() };
    let first = record(2, 5_000, first);
    for trailing in [&[0][..], &[0, 0], &[0x44, 0, 0], &[0x44, 0, 0, 1, 2]] {
        let error = refusal(&[first.clone(), record(2, 5_000, &[second, trailing].concat())]);
        assert_eq!(error, "zstd record: it stops inside a block");
    }
}

#[test]
fn a_header_is_refused_before_its_bytes_are_there() {
    let none = Accepts { lz4: false, zstd: false, ..Accepts::default() };
    for (header, error) in [
        ("00 01f0 01f0", "record: a plain length of 61441 bytes, 61440 are allowed; the peer has to cut its batches"),
        ("02 ffff 0100", "record: a plain length of 65535 bytes, 61440 are allowed; the peer has to cut its batches"),
        ("00 0000 0000", "raw record: it is empty, which it may not be"),
        ("00 0100 0200", "raw record: its lengths are 1 and 2; they have to be equal"),
        ("01 0000 0100", "lz4 record: it is empty, which it may not be"),
        ("02 0000 0000", "zstd record: it is empty, which it may not be"),
        ("02 0000 0300", "zstd record: without plain bytes it has to end the frame of those before it, and does not"),
        ("03 0100 0100", "record: codec 3 is unknown; close the connection"),
    ] {
        assert_eq!(refusal(&[hex(header)]), error);
    }
    for (header, name) in [("01 0100 0c00", "lz4"), ("02 0100 0c00", "zstd")] {
        let error = refusal_by(&mut RecordDecoder::new(none), &[hex(header)]);
        assert_eq!(error, format!("{name} record: our settings do not name this codec; the peer has to send raw"));
    }
}

#[test]
fn a_window_that_is_too_large_takes_no_memory() {
    let mut small = RecordDecoder::new(Accepts { window_log: 20, ..Accepts::default() });
    let [wire] = &encoded(RecordCodec::Zstd, &[b"a window of 2^22 bytes"])[..] else { panic!() };
    let error = refusal_by(&mut small, &[record(2, 22, wire)]);
    assert_eq!(error, "zstd record: its frame has a window of more than the 2^20 bytes that our settings allow");
    assert!(small.memory() < 100_000, "{} bytes", small.memory());

    // 2^22 and an eighth; 2^41; a content of 4 GiB, which is the window then.
    for header in ["00 61", "00 f8", "a0 ffffffff", "e0 ffffffff00000000"] {
        let wire = [hex("28b52ffd"), hex(header), hex("010000")].concat();
        let mut decoder = RecordDecoder::new(Accepts::default());
        let error = refusal_by(&mut decoder, &[record(2, 1, &wire)]);
        assert!(error.contains("window"), "{header}: {error}");
        assert!(decoder.memory() < 100_000, "{} bytes", decoder.memory());
    }
}

#[test]
fn a_bomb_is_stopped_at_the_plain_length() {
    // Blocks that repeat one byte 2^17 times; 10 of them.
    let wire = [hex("28b52ffd 00 60"), hex("02001000").repeat(10)].concat();
    let mut decoder = RecordDecoder::new(Accepts::default());
    let mut plain = BytesMut::new();
    decoder.decode(&mut BytesMut::from(&record(2, 100, &wire)[..]), &mut plain).unwrap_err();
    assert!(plain.capacity() < 1_000, "{} bytes", plain.capacity());
}

#[test]
fn frames_that_are_none_of_this_wire() {
    let frame = hex("28b52ffd 00 60 090000 78");
    assert_eq!(decode(&mut RecordDecoder::new(Accepts::default()), &record(2, 1, &frame)), b"x");
    for (wire, error) in [
        // A frame to be skipped, alone and in front; nothing like a frame; less than its magic.
        (hex("502a4d18 00000000"), "zstd record: no zstd frame begins where one has to"),
        ([hex("502a4d18 01000000 aa"), frame.clone()].concat(), "zstd record: no zstd frame begins where one has to"),
        (b"plain text".to_vec(), "zstd record: no zstd frame begins where one has to"),
        (hex("28b52f"), "zstd record: no zstd frame begins where one has to"),
        // Bytes behind the end, another frame among them.
        (frame.repeat(2), "zstd record: 10 bytes follow the end of its frame"),
        ([&frame[..], &[0]].concat(), "zstd record: 1 bytes follow the end of its frame"),
        // A dictionary; a reserved block; a checksum that does not check.
        (hex("28b52ffd 01 60 07 090000 78"), "zstd record: corrupt stream: Dictionary mismatch"),
        (hex("28b52ffd 00 60 0f0000 78"), "zstd record: corrupt stream: Data corruption detected"),
        (hex("28b52ffd 04 60 090000 78 00000000"), "zstd record: corrupt stream: Restored data doesn't match checksum"),
    ] {
        assert_eq!(refusal(&[record(2, 1, &wire)]), error);
    }
    // Empty records end a frame, or are refused: an empty block, and an empty frame where none is open.
    let open = record(2, 1, &hex("28b52ffd 00 60 080000 78"));
    let ends_nothing = "zstd record: without plain bytes it has to end the frame of those before it, and does not";
    assert_eq!(refusal(&[open.clone(), record(2, 0, &hex("000000"))]), ends_nothing);
    assert_eq!(refusal(&[open, record(2, 0, &hex("010000")), record(2, 0, &hex("010000"))]), ends_nothing);
    assert_eq!(refusal(&[record(2, 0, &hex("28b52ffd 00 60 010000"))]), ends_nothing);
    assert_eq!(refusal(&[record(2, 1, &frame), record(2, 0, &hex("28b52ffd 00 60 010000"))]), ends_nothing);
}

#[test]
fn lz4_streams_that_are_none_of_this_wire() {
    let header = hex("04224d18 4040c0");
    let with = |blocks: &str| [&header[..], &hex(blocks)].concat();
    assert_eq!(decode(&mut RecordDecoder::new(Accepts::default()), &record(1, 1, &with("01000080 78"))), b"x");
    let no_header = "lz4 record: the stream does not begin with the header of linked blocks of up to 64 KiB";
    for (wire, error) in [
        // Blocks of 256 KiB, blocks on their own, with checksums, the old format, a frame to be skipped, less than a header.
        (hex("04224d18 405005 01000080 78"), no_header),
        (hex("04224d18 604082 01000080 78"), no_header),
        (hex("04224d18 504085 01000080 78 00000000"), no_header),
        (hex("02214c18 01000000 78"), no_header),
        (hex("502a4d18 00000000"), no_header),
        (hex("04224d18"), no_header),
        (with(""), "lz4 record: it is too short for a block"),
        (with("010000"), "lz4 record: it is too short for a block"),
        (with("00000000"), "lz4 record: the frame ends, which it may not"),
        (with("01000080 78 00000000"), "lz4 record: its block claims 1 bytes, the record has 5"),
        (with("01000080 78 01000080 78"), "lz4 record: its block claims 1 bytes, the record has 6"),
        (with("ffffffff 78"), "lz4 record: its block claims 2147483647 bytes, the record has 1"),
        (with("ffffff7f 78"), "lz4 record: its block claims 2147483647 bytes, the record has 1"),
        (with("02000080 7878"), "lz4 record: it holds more than its plain length"),
        // A match that makes more than a record.
        (with("0b000000 1f 78 0100 ffffffffffff00"), "lz4 record: it holds more than its plain length"),
    ] {
        assert_eq!(refusal(&[record(1, 1, &wire)]), error);
    }
    // A match that reaches back to the first byte, and one that reaches further.
    let reaching = |back: &str| record(1, 5, &with(&format!("05000000 10 78 {back} 00")));
    assert_eq!(decode(&mut RecordDecoder::new(Accepts::default()), &reaching("0100")), b"xxxxx");
    let error = refusal(&[reaching("0200")]);
    assert!(error.starts_with("lz4 record: corrupt block: "), "{error}");
    // The header comes once.
    let first = record(1, 1, &with("01000080 78"));
    let error = refusal(&[first, record(1, 1, &with("01000080 78"))]);
    assert!(error.starts_with("lz4 record: its block claims"), "{error}");
}

/// Decodes until the first error or the end, and sees to it that nothing grows beyond its limits.
fn survive(wire: &[u8], lengths: &[usize], window_log: u8) {
    let mut decoder = RecordDecoder::new(Accepts { window_log, ..Accepts::default() });
    let mut input = BytesMut::new();
    for piece in pieces(wire, lengths) {
        input.extend_from_slice(piece);
        loop {
            let mut plain = BytesMut::new();
            let decoded = decoder.decode(&mut input, &mut plain);
            assert!(plain.len() <= MOST_PLAIN && plain.capacity() <= 2 * MOST_PLAIN.max(wire.len()));
            assert!(decoder.memory() <= (128 << 10) + (1 << window_log) + (478 << 10), "{} bytes", decoder.memory());
            match decoded {
                Err(_) => return,
                Ok(None) => break,
                Ok(Some(length)) => assert_eq!(length, plain.len()),
            }
        }
    }
}

proptest! {
    #![proptest_config(seeded(300))]

    #[test]
    fn damaged_records_end_in_an_answer(
        codec in any_codec(),
        batches in vec(batch(), 1..4),
        damage in vec((any::<prop::sample::Index>(), 1..=255u8), 1..4),
        lengths in vec(1..90_000usize, 1..4),
    ) {
        let (mut encoder, mut wire) = (RecordEncoder::new(codec, 17), Vec::new());
        batches.iter().for_each(|batch| encoder.encode(batch, &mut wire));
        encoder.end_context(&mut wire);
        for (at, flip) in damage {
            let at = at.index(wire.len());
            wire[at] ^= flip;
        }
        survive(&wire, &lengths, 17);
    }

    #[test]
    fn any_bytes_end_in_an_answer(
        codec in 0..3u8,
        plain in 0..=MOST_PLAIN,
        bytes in vec(any::<u8>(), 0..500),
        more in vec(any::<u8>(), 0..500),
        lengths in vec(1..500usize, 1..4),
    ) {
        let begin = [hex(""), hex("04224d18 4040c0"), hex("28b52ffd 00 38")][usize::from(codec)].clone();
        survive(&[record(codec, plain, &[&begin[..], &bytes].concat()), more].concat(), &lengths, 17);
        survive(&bytes, &lengths, 17);
    }
}
