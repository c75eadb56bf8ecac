//! How long contexts live, and what they take.

use super::*;

#[test]
fn a_context_ends_and_is_born_again() {
    for codec in [RecordCodec::Zstd, RecordCodec::ZstdSmall, RecordCodec::ZstdMax] {
        let mut pair = Pair::new(codec);
        assert_eq!((pair.encoder.memory(), pair.decoder.memory()), (0, 0), "memory comes with the first record");
        assert!(pair.end().is_empty(), "nothing has begun");
        let plain = noise(1, 1_000);
        for _ in 0..3 {
            assert!(pair.send(&plain).len() > 1_000, "{codec}: the context before is remembered");
            assert!(pair.send(&plain).len() < 60, "{codec}");
            assert_eq!(pair.end(), hex("02 0000 0300 010000"));
            assert_eq!((pair.encoder.memory(), pair.decoder.memory()), (0, 0), "{codec}");
            assert!(pair.end().is_empty(), "it has ended");
        }
    }
}

#[test]
fn a_change_begins_a_new_frame_and_lz4_goes_on_where_it_was() {
    let (mut pair, plain) = (Pair::new(RecordCodec::Lz4), noise(1, 5_000));
    let change = |pair: &mut Pair, codec| {
        let mut wire = Vec::new();
        pair.encoder.change(codec, &mut wire);
        assert_eq!(decode(&mut pair.decoder, &wire), b"");
        assert_eq!(pair.encoder.codec(), codec);
        wire.len()
    };
    pair.send(&plain);
    for codec in [RecordCodec::Zstd, RecordCodec::ZstdMax, RecordCodec::ZstdSmall] {
        change(&mut pair, codec);
        assert_eq!(change(&mut pair, codec), 0, "nothing changes");
        let wire = pair.send(&plain);
        assert_eq!((wire[0], &wire[HEADER..HEADER + 4], wire.len() > 5_000), (2, &hex("28b52ffd")[..], true));
        assert!(pair.send(&plain).len() < 60);
    }
    assert_eq!(change(&mut pair, RecordCodec::None), 8);
    assert_eq!(pair.send(&plain)[0], 0);
    assert_eq!(change(&mut pair, RecordCodec::Lz4), 0);
    let wire = pair.send(&plain);
    assert!(wire[0] == 1 && wire.len() < 100, "{} bytes", wire.len());
}

#[test]
fn after_a_change_records_are_those_of_the_new_setting() {
    let batches = [text(1, 20_000), text(2, 20_000)];
    let [small, normal, max] = [RecordCodec::ZstdSmall, RecordCodec::Zstd, RecordCodec::ZstdMax].map(|codec| {
        let mut changed = Pair::new(RecordCodec::Zstd);
        changed.send(b"at first another");
        changed.encoder.change(RecordCodec::None, &mut Vec::new());
        changed.encoder.change(codec, &mut Vec::new());
        let mut fresh = Pair::new(codec);
        batches.each_ref().map(|batch| {
            let (record, mut wire) = (fresh.send(batch), Vec::new());
            changed.encoder.encode(batch, &mut wire);
            assert!(record == wire, "{codec}");
            record
        })
    });
    assert!(small != normal && normal != max && max != small);
}

#[test]
fn alone_each_record_can_be_decoded_without_the_others() {
    for codec in RecordCodec::ALL {
        let mut encoder = RecordEncoder::new(codec, 22).each_alone();
        let mut receiver = RecordDecoder::new(Accepts::default());
        let mut last = Vec::new();
        for length in [10_000, 1, 10_000, MOST_PLAIN, 10_000] {
            let (plain, mut wire) = (text(1, length), Vec::new());
            encoder.encode(&plain, &mut wire);
            assert!(decode(&mut RecordDecoder::new(Accepts::default()), &wire) == plain, "{codec}");
            assert!(decode(&mut receiver, &wire) == plain, "{codec}");
            if length == 10_000 {
                assert!(last.is_empty() || last == wire, "{codec}: what went before shows");
                assert_eq!(wire.len() < 8_000, codec.zstd(), "{codec}");
                last = wire;
            }
            assert!(receiver.memory() <= 256 << 10, "{codec}: {} bytes", receiver.memory());
        }
        let mut wire = Vec::new();
        encoder.end_context(&mut wire);
        assert_eq!((encoder.memory(), wire.len()), (0, 0), "{codec}");
    }
}

/// A test's short way to ask for one of the three.
trait IsZstd {
    fn zstd(self) -> bool;
}

impl IsZstd for RecordCodec {
    fn zstd(self) -> bool {
        self.wire_byte() == 2
    }
}

/// The documented figures, which budgets are made of, are those of the linked libraries.
#[cfg(target_pointer_width = "64")]
#[test]
fn contexts_take_the_memory_that_they_say() {
    for codec in RecordCodec::ALL {
        let mut pair = Pair::new(codec);
        for seed in 0..100 {
            pair.send(&text(seed, MOST_PLAIN));
        }
        for (what, held, told) in [
            ("encode", pair.encoder.memory(), codec.encode_memory()),
            ("decode", pair.decoder.memory(), codec.decode_memory()),
        ] {
            assert!(held <= told && told - held < 1024, "{codec} to {what}: {held} bytes are held, {told} are told");
        }
    }
}
