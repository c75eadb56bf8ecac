//! Compression by itself: one batch after another through a context that lives as long as its connection.

use std::fmt;
use std::hint::black_box;

use bytes::BytesMut;
use fastrand::Rng;
use fastrpc::Compression;
use fastrpc::codec::Codec as _;
use fastrpc::wire::compress::{Decoder, Encoder, Progress};
use http::header::HeaderValue;

use crate::messages::{Http, Message, Sample as _};

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Plain to wire.
    Compress,
    /// Wire to plain.
    Decompress,
}

impl Way {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Compress, Self::Decompress];
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Compress => "compress",
            Self::Decompress => "decompress",
        })
    }
}

/// Requests in a batch.
const MESSAGES: usize = 16;
/// Different batches. They come round again when the first has long left flate's window of 32 KiB.
pub const ROUND: u64 = 8;
/// More than any batch.
const ROOM: usize = 1 << 20;

/// Compresses or decompresses `batches` batches, after a whole round of them.
///
/// # Panics
///
/// When what was compressed does not decompress.
pub fn run(compression: Compression, way: Way, batches: u64) {
    let round = round();
    let mut encoder = Encoder::new(compression);
    let first = compressed(&mut encoder, &round);
    match way {
        Way::Compress => compress(&mut encoder, &round, batches),
        Way::Decompress => {
            // Each round after the first has the same bytes before it, so the second one may be decoded over and over.
            let second = compressed(&mut encoder, &round);
            let mut decoder = Decoder::new(compression);
            decompress(&mut decoder, &first, ROUND);
            decompress(&mut decoder, &second, batches);
        }
    }
}

fn compressed(encoder: &mut Encoder, round: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let each = |batch: &Vec<u8>| {
        let mut wire = Vec::new();
        encoder.encode(&mut batch.clone(), &mut wire);
        wire
    };
    round.iter().map(each).collect()
}

#[inline(never)]
fn compress(encoder: &mut Encoder, round: &[Vec<u8>], batches: u64) {
    let (mut plain, mut wire) = (Vec::new(), Vec::new());
    for (batch, _) in round.iter().cycle().zip(0..batches) {
        plain.extend_from_slice(batch);
        wire.clear();
        encoder.encode(&mut plain, &mut wire);
        black_box(wire.as_slice());
    }
}

#[inline(never)]
fn decompress(decoder: &mut Decoder, round: &[Vec<u8>], batches: u64) {
    let mut plain = BytesMut::new();
    for (batch, _) in round.iter().cycle().zip(0..batches) {
        plain.clear();
        let progress = decoder.decode(&mut batch.as_slice(), &mut plain, ROOM);
        assert_eq!(progress.expect("it was compressed here"), Progress::NeedInput);
        black_box(&plain[..]);
    }
}

/// Requests as they follow each other on a link: the fields repeat, what identifies a request does not.
fn round() -> Vec<Vec<u8>> {
    let codec = Http::codec();
    let mut random = Rng::with_seed(1);
    let mut batch = || {
        let mut plain = Vec::new();
        for _ in 0..MESSAGES {
            codec.encode_request(&varied(&mut random), &mut plain).expect("a sample is encoded");
        }
        plain
    };
    (0..ROUND).map(|_| batch()).collect()
}

fn varied(random: &mut Rng) -> http::Request<httpteleport::Body> {
    let mut request = Http::request(Message::Real);
    for (name, digits) in [("x-request-id", 32), ("traceparent", 48), ("authorization", 64)] {
        let value: String = (0..digits).map(|_| random.digit(16)).collect();
        request.headers_mut().insert(name, HeaderValue::try_from(value).expect("digits"));
    }
    request
}
