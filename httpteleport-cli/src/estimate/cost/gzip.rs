//! Bodies gzipped one by one, as HTTP/1.1 and HTTP/2 have it (`Content-Encoding: gzip`).

use anyhow::{Context, bail};
use bytes::Bytes;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue};

/// The level of gzip and nginx modules that people keep, and of our own flate.
const LEVEL: u32 = 6;
/// Window of 32 KiB, as a power of two.
const WINDOW_BITS: u8 = 15;
/// Bodies below this are left alone, as servers are told to.
const LEAST_BODY: usize = 128;
/// What the additional line costs in HTTP/1.1. A body that does not gain as much is sent as it is.
const FIELD: usize = "content-encoding: gzip\r\n".len();
/// Types that are compressed already.
const PACKED: [&str; 7] = ["image/", "video/", "audio/", "font/", "application/zip", "application/gzip", "protobuf"];

/// Compressor and decompressor of one end. They are kept from body to body, which the fastest servers do too.
#[derive(Debug)]
pub(super) struct Gzip {
    compress: Compress,
    decompress: Decompress,
}

impl Default for Gzip {
    fn default() -> Self {
        Self {
            compress: Compress::new_gzip(Compression::new(LEVEL), WINDOW_BITS),
            decompress: Decompress::new_gzip(WINDOW_BITS),
        }
    }
}

impl Gzip {
    /// Tells that replies may be gzipped, unless the request says already what it takes.
    pub(super) fn accept(headers: &mut HeaderMap) {
        headers.entry(ACCEPT_ENCODING).or_insert(HeaderValue::from_static("gzip"));
    }

    /// The body to send, its header fields put right; the same body when gzip does not help it.
    ///
    /// # Errors
    ///
    /// The compressor failed.
    pub(super) fn pack(&mut self, headers: &mut HeaderMap, body: Bytes) -> anyhow::Result<Bytes> {
        if body.len() < LEAST_BODY || headers.contains_key(CONTENT_ENCODING) || is_packed(headers) {
            return Ok(body);
        }
        self.compress.reset();
        // Deflate adds 5 bytes a block at the most, gzip 18.
        let mut packed = Vec::with_capacity(body.len() + body.len() / 1000 + 64);
        let status = self.compress.compress_vec(&body, &mut packed, FlushCompress::Finish).context("gzip")?;
        if status != Status::StreamEnd {
            bail!("gzip: a body of {} bytes needs more room than gzip's bound", body.len());
        }
        if packed.len() + FIELD >= body.len() {
            return Ok(body);
        }
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(packed.len()));
        Ok(packed.into())
    }

    /// The body as it was before [`Gzip::pack`].
    ///
    /// # Errors
    ///
    /// It is no gzip, or ends early.
    pub(super) fn unpack(&mut self, body: &Bytes) -> anyhow::Result<Bytes> {
        self.decompress.reset(true);
        let mut plain = Vec::with_capacity(body.len() * 4);
        loop {
            let read = usize::try_from(self.decompress.total_in())?;
            let status = self.decompress.decompress_vec(&body[read..], &mut plain, FlushDecompress::Finish);
            match status.context("a body that is to be gzip is not")? {
                Status::StreamEnd => return Ok(plain.into()),
                _ if plain.len() == plain.capacity() => plain.reserve(plain.len().max(1024)),
                _ => bail!("a gzipped body of {} bytes ends early", body.len()),
            }
        }
    }
}

fn is_packed(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let kind = String::from_utf8_lossy(kind);
    PACKED.iter().any(|packed| kind.contains(packed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(gzip: &mut Gzip, kind: &'static str, body: &Bytes) -> (HeaderMap, Bytes) {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        let packed = gzip.pack(&mut headers, body.clone()).expect("gzip");
        (headers, packed)
    }

    #[test]
    fn bodies_come_back_one_after_another() {
        let mut gzip = Gzip::default();
        for repeat in [20, 2000, 100_000] {
            let body = Bytes::from("teleported ".repeat(repeat));
            let (headers, packed) = pack(&mut gzip, "application/json", &body);
            assert!(packed.len() * 4 < body.len());
            assert_eq!(headers[CONTENT_LENGTH], packed.len().to_string());
            assert_eq!(packed[..2], [0x1f, 0x8b]);
            assert_eq!(gzip.unpack(&packed).expect("whole"), body);
            assert!(gzip.unpack(&packed.slice(..packed.len() - 9)).is_err());
        }
    }

    #[test]
    fn what_would_not_gain_is_left_alone() {
        let mut gzip = Gzip::default();
        let text = Bytes::from("teleported ".repeat(100));
        assert_eq!(pack(&mut gzip, "image/webp", &text).1, text);
        let short = Bytes::from_static(br#"{"jsonrpc":"2.0","id":1,"result":"0x1"}"#);
        assert_eq!(pack(&mut gzip, "application/json", &short).1, short);
        let mut dice = fastrand::Rng::with_seed(1);
        let random: Bytes = std::iter::repeat_with(|| dice.u8(..)).take(600).collect();
        let (headers, packed) = pack(&mut gzip, "application/json", &random);
        assert_eq!((packed, headers.len()), (random, 1));
    }
}
