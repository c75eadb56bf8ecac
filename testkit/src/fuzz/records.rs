//! Fuzz target `records`: the records of the framed wire over any bytes, in any pieces, and back and forth.

use bytes::BytesMut;
use fastrpc::wire::framed::codec::RecordCodec;
use fastrpc::wire::framed::record::{Accepts, MOST_PLAIN, RecordDecoder, RecordEncoder};

/// Log2 of the window: contexts are small, and made quickly.
const WINDOW_LOG: u8 = 17;
/// The same for the encoder, and the most batches that it is given: more takes time and finds nothing else.
const ENCODER_WINDOW_LOG: u8 = 12;
const MOST_BATCHES: usize = 40;
/// What a decoder may hold: both contexts, zstd's with more than its window.
const MOST_MEMORY: usize = (1 << WINDOW_LOG) + (478 << 10) + (128 << 10);

/// Decodes what follows the first two bytes, which choose pieces and codec: the same batches come out, and the same end, as
/// when all arrives at once, and nothing is larger than it may be. Then the same bytes, as batches, go there and back.
///
/// # Panics
///
/// A fault was found.
pub fn records(input: &[u8]) {
    let [piece, choice, stream @ ..] = input else { return };
    let piece = usize::from(*piece) + 1;
    let whole = decode(stream, stream.len().max(1));
    assert!(whole == decode(stream, piece), "the pieces matter");
    round_trip(*choice, stream, piece);
}

/// The batches of a stream, and what is wrong with it.
fn decode(stream: &[u8], piece: usize) -> (Vec<BytesMut>, Option<String>) {
    let mut decoder = RecordDecoder::new(Accepts { window_log: WINDOW_LOG, ..Accepts::default() });
    let (mut input, mut batches) = (BytesMut::new(), Vec::new());
    for piece in stream.chunks(piece) {
        input.extend_from_slice(piece);
        loop {
            let (before, missing) = (input.len(), RecordDecoder::missing(&input));
            let mut plain = BytesMut::new();
            let decoded = decoder.decode(&mut input, &mut plain);
            assert!(decoder.memory() <= MOST_MEMORY, "{} bytes are held", decoder.memory());
            match decoded {
                Err(error) => return (batches, Some(error.to_string())),
                Ok(None) => {
                    assert!(missing > 0 && input.len() == before && plain.is_empty(), "a whole record is not taken");
                    break;
                }
                Ok(Some(length)) => {
                    assert!(missing == 0 && input.len() < before && plain.len() == length && length <= MOST_PLAIN);
                    batches.push(plain);
                }
            }
        }
    }
    (batches, None)
}

/// Sends `plain` in batches with a change, an end or a raw batch between them here and there.
fn round_trip(choice: u8, plain: &[u8], piece: usize) {
    let plain = &plain[..plain.len().min(MOST_BATCHES * piece)];
    let codec = |choice: u8| RecordCodec::ALL[usize::from(choice) % RecordCodec::ALL.len()];
    let encoder = RecordEncoder::new(codec(choice), ENCODER_WINDOW_LOG);
    let mut encoder = if choice & 128 == 0 { encoder } else { encoder.each_alone() };
    let mut wire = Vec::new();
    for batch in plain.chunks(piece) {
        match batch[0] {
            0 => encoder.encode_raw(batch, &mut wire),
            1 => {
                encoder.end_context(&mut wire);
                encoder.encode(batch, &mut wire);
            }
            other => {
                if other == 2 {
                    encoder.change(codec(batch.last().map_or(choice, |last| last ^ choice)), &mut wire);
                }
                encoder.encode(batch, &mut wire);
            }
        }
    }
    let (batches, fault) = decode(&wire, piece);
    assert_eq!(fault, None, "an encoder's records are refused");
    assert!(batches.concat() == plain, "what went in does not come out");
}
