//! Fuzz targets `flate` and `snappy`: the decompressors over any bytes, in any pieces.

use bytes::BytesMut;
use fastrpc::Compression;
use fastrpc::wire::compress::{Decoder, Encoder, Progress};

use crate::wire;

/// Plain bytes after which a stream has proved its point.
const ENOUGH: usize = 1 << 20;
/// What one step of snappy may pass its room by.
const CHUNK: usize = 65_535;

/// The flate decoder over `input`.
///
/// # Panics
///
/// A fault was found.
pub fn flate(input: &[u8]) {
    any(Compression::Flate, input);
}

/// The snappy decoder over `input`.
///
/// # Panics
///
/// A fault was found.
pub fn snappy(input: &[u8]) {
    any(Compression::Snappy, input);
}

/// Decodes what follows the first two bytes, which choose piece and room: the same bytes come out, and the same end, as
/// when all arrives at once. What the second reader accepts must come out alike. Then `input` goes through both ways.
fn any(compression: Compression, input: &[u8]) {
    let [piece, room, stream @ ..] = input else { return };
    let whole = decode(compression, stream, stream.len().max(1), 64 * 1024);
    let cut = decode(compression, stream, usize::from(*piece) + 1, (usize::from(*room) + 1) * 64);
    let common = whole.plain.len().min(cut.plain.len());
    assert!(whole.plain[..common] == cut.plain[..common], "the pieces change what comes out");
    if whole.plain.len() < ENOUGH && cut.plain.len() < ENOUGH {
        assert_eq!(whole.failed, cut.failed, "the pieces change the end");
        // How much comes out before a fault is met depends on the pieces, and does not matter: the connection ends.
        assert!(whole.failed || whole.plain.len() == cut.plain.len(), "the pieces change the length");
        let second = wire::Compression::from_byte(compression.wire_byte()).expect("the same three");
        if let Ok(plain) = wire::decompress(second, stream, ENOUGH) {
            assert!(!whole.failed && whole.plain == plain, "the second reader reads it otherwise");
        }
    }
    let (mut wire, mut plain) = (Vec::new(), input.to_vec());
    Encoder::new(compression).encode(&mut plain, &mut wire);
    let back = decode(compression, &wire, usize::from(*piece) + 1, (usize::from(*room) + 1) * 64);
    assert!(!back.failed && back.plain == input, "what went in does not come out");
}

struct Decoded {
    plain: Vec<u8>,
    failed: bool,
}

fn decode(compression: Compression, stream: &[u8], piece: usize, room: usize) -> Decoded {
    let mut decoder = Decoder::new(compression);
    let mut plain = BytesMut::new();
    for mut piece in stream.chunks(piece) {
        loop {
            let before = (plain.len(), piece.len());
            let progress = decoder.decode(&mut piece, &mut plain, room);
            assert!(plain.len() - before.0 <= room + CHUNK, "more came out than there was room for");
            match progress {
                Err(_) => return Decoded { plain: plain.to_vec(), failed: true },
                Ok(Progress::End) => return Decoded { plain: plain.to_vec(), failed: false },
                Ok(_) if plain.len() >= ENOUGH => return Decoded { plain: plain.to_vec(), failed: false },
                Ok(Progress::NeedInput) => {
                    assert!(piece.is_empty(), "input is left when more is wanted");
                    break;
                }
                Ok(Progress::Full) => assert!(before != (plain.len(), piece.len()), "no step and no end"),
            }
        }
    }
    Decoded { plain: plain.to_vec(), failed: false }
}
