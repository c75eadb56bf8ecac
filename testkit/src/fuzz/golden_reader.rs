//! Fuzz target `golden_reader`: the reader of the recordings over any bytes.

use crate::wire::{Compressor, Hello, decompress, frame, http, read_frames, tlv};

/// Reads `input` as one direction of a connection, hello first. Nothing may panic, and what was read must read the same
/// after it was written again.
///
/// # Panics
///
/// A fault was found.
pub fn golden_reader(input: &[u8]) {
    let Ok((hello, stream)) = Hello::read(b"httpteleport", input) else { return };
    assert!(input.starts_with(&hello.bytes()));
    let Ok(compression) = hello.compression() else { return };
    let Ok(plain) = decompress(compression, stream, 1 << 20) else { return };

    let packed = Compressor::new(compression).flush(&plain);
    assert_eq!(decompress(compression, &packed, 1 << 20).as_ref(), Ok(&plain));

    let _ = read_frames(&plain, http::read_request);
    let _ = read_frames(&plain, http::read_reply);
    let _ = read_frames(&plain, tlv::read_reply);
    if let Ok(frames) = read_frames(&plain, tlv::read_request) {
        let written: Vec<u8> = frames.iter().flat_map(|f| frame(f.id, &f.message.bytes())).collect();
        assert_eq!(written, plain);
    }
}
