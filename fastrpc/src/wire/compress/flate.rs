//! Raw DEFLATE with a sync flush after each batch.
//!
//! The peer hands bytes on when it meets the empty stored block of a sync flush (`00 00 FF FF`), and takes a final block
//! for the end of the connection: so each batch ends with the former, and the latter is never written.

use bytes::BytesMut;
use flate2::{Compress, Decompress, FlushCompress, FlushDecompress, Status};

use super::{DecodeError, Fault, Progress};

/// The usual middle between size and speed.
const LEVEL: u32 = 6;
/// Most output space taken at a time, for encoding as for decoding.
const STEP: usize = 16 * 1024;

/// Encodes; its 0.3 MB come with the first batch.
#[derive(Default)]
pub(super) struct FlateEncoder {
    deflate: Option<Compress>,
}

impl FlateEncoder {
    pub(super) fn encode(&mut self, plain: &[u8], wire: &mut Vec<u8>) {
        let deflate = self.deflate.get_or_insert_with(|| Compress::new(flate2::Compression::new(LEVEL), false));
        deflate_all(deflate, plain, wire, STEP);
    }
}

/// Compresses all of `plain` with a sync flush behind it, taking output space `step` bytes at a time.
///
/// `step` must be more than 6, the length of a flush, or the flush would be written again and again.
fn deflate_all(deflate: &mut Compress, mut plain: &[u8], wire: &mut Vec<u8>, step: usize) {
    loop {
        wire.reserve(step);
        let before = deflate.total_in();
        // Fails for a stream used wrongly, never for what it is given to compress.
        deflate.compress_vec(plain, wire, FlushCompress::Sync).expect("deflate takes any bytes");
        plain = &plain[grown(before, deflate.total_in())..];
        // Space left over is the only sign that the flush is complete. An output that is exactly full may hold it all,
        // and then the next turn writes one more empty block, which does no harm.
        if plain.is_empty() && wire.len() < wire.capacity() {
            return;
        }
    }
}

/// Decodes; its memory comes with the first byte.
#[derive(Default)]
pub(super) struct FlateDecoder {
    state: Option<State>,
}

struct State {
    inflate: Decompress,
    /// Where a step's output lands: the decoder wants a slice of known size, `plain` has only spare capacity.
    scratch: Box<[u8]>,
}

impl State {
    fn new() -> Self {
        Self { inflate: Decompress::new(false), scratch: vec![0; STEP].into_boxed_slice() }
    }
}

impl FlateDecoder {
    pub(super) fn decode(
        &mut self,
        wire: &mut &[u8],
        plain: &mut BytesMut,
        room: usize,
    ) -> Result<Progress, DecodeError> {
        if self.state.is_none() && wire.is_empty() {
            return Ok(Progress::NeedInput);
        }
        let State { inflate, scratch } = self.state.get_or_insert_with(State::new);

        let mut left = room;
        while left > 0 {
            let space = left.min(STEP);
            let (read, written) = (inflate.total_in(), inflate.total_out());
            let status = inflate
                .decompress(wire, &mut scratch[..space], FlushDecompress::Sync)
                .map_err(|fault| DecodeError(Fault::Flate(fault)))?;
            let made = grown(written, inflate.total_out());
            *wire = &wire[grown(read, inflate.total_in())..];
            plain.extend_from_slice(&scratch[..made]);
            left -= made;

            if status == Status::StreamEnd {
                return Ok(Progress::End);
            }
            // Space left over means that the input was too short for more; a full scratch may hide some.
            if made < space {
                return Ok(Progress::NeedInput);
            }
        }
        Ok(Progress::Full)
    }
}

/// How far a running total went; a step's share always fits.
fn grown(before: u64, after: u64) -> usize {
    usize::try_from(after - before).expect("a step moves no more than its slices hold")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_filled_exactly_by_the_flush_loses_nothing() {
        let noise: Vec<u8> = (0..600u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        let mut exact = 0;
        for len in 1..noise.len() {
            let mut deflate = Compress::new(flate2::Compression::new(LEVEL), false);
            let mut wire = Vec::new();
            deflate_all(&mut deflate, &noise[..len], &mut wire, 8);
            // One more flush than needed tells that the corner was met.
            exact += usize::from(wire.ends_with(&[0, 0, 255, 255, 0, 0, 0, 255, 255]));
            assert!(wire.ends_with(&[0, 0, 255, 255]), "length {len}");

            let mut plain = BytesMut::new();
            let progress = FlateDecoder::default().decode(&mut &wire[..], &mut plain, 1000).unwrap();
            assert_eq!(progress, Progress::NeedInput, "length {len}");
            assert_eq!(plain, noise[..len], "length {len}");
        }
        assert!(exact > 0, "no length met the corner this test is for");
    }
}
