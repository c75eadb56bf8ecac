//! The chunked coding (RFC 9112, 7.1), read leniently where that cannot move the end of a body.

use bytes::{Buf, BytesMut};

use super::lines::split_line;
use super::payload::Sink;
use crate::codec::error::Fault;

/// Reads the chunks of one body.
#[derive(Debug)]
pub(super) struct Chunked {
    step: Step,
    /// Up to here the line at hand has no end.
    scanned: usize,
    /// How many more bytes of extensions and trailers are read.
    allowance: usize,
}

#[derive(Debug)]
enum Step {
    Size,
    Data(u64),
    DataEnd,
    Trailers,
}

impl Chunked {
    /// Chunk extensions and trailers say nothing to us, but someone has to read them: at most `allowance` bytes of them.
    pub(super) fn new(allowance: usize) -> Self {
        Self { step: Step::Size, scanned: 0, allowance }
    }

    /// Takes what is there out of `input`; true once the last chunk and the trailers are read.
    pub(super) fn read(&mut self, input: &mut BytesMut, sink: &mut Sink) -> Result<bool, Fault> {
        loop {
            match &mut self.step {
                Step::Size => {
                    let Some(end) = self.line(input)? else { return Ok(false) };
                    let size = self.size(&input[..end])?;
                    input.advance(end);
                    sink.expect(size)?;
                    self.step = if size == 0 { Step::Trailers } else { Step::Data(size) };
                }
                Step::Data(rest) => {
                    let most = sink.room();
                    sink.fill(input, rest, most);
                    if *rest > 0 {
                        return Ok(false);
                    }
                    self.step = Step::DataEnd;
                }
                Step::DataEnd => {
                    let end = match input[..] {
                        [b'\n', ..] => 1,
                        [b'\r', b'\n', ..] => 2,
                        [] | [b'\r'] => return Ok(false),
                        _ => return Err(Fault::Malformed("a chunk is longer than its size")),
                    };
                    input.advance(end);
                    self.step = Step::Size;
                }
                Step::Trailers => {
                    let Some(end) = self.line(input)? else { return Ok(false) };
                    let is_blank = split_line(&input[..end]).0.is_empty();
                    input.advance(end);
                    if is_blank {
                        return Ok(true);
                    }
                    self.spend(end)?;
                }
            }
        }
    }

    /// The length of the line at the front of `input` with its end, once that is there.
    fn line(&mut self, input: &BytesMut) -> Result<Option<usize>, Fault> {
        let end = memchr::memchr(b'\n', &input[self.scanned..]).map(|at| self.scanned + at);
        self.scanned = if end.is_some() { 0 } else { input.len() };
        // Room for a size and a line end besides the extension; however the line is cut, the same one is too long.
        if end.unwrap_or(input.len()) > self.allowance.saturating_add(MOST_DIGITS + 1) {
            return Err(TOO_MUCH);
        }
        Ok(end.map(|end| end + 1))
    }

    /// The size that a chunk's first line tells.
    fn size(&mut self, line: &[u8]) -> Result<u64, Fault> {
        let line = split_line(line).0;
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (digits, extension) = line.split_at(digits);
        // A lone CR might end the line for another reader.
        if !matches!(extension, [] | [b';' | b' ' | b'\t', ..]) || extension.contains(&b'\r') {
            return Err(Fault::Malformed("a chunk size is followed by something else than an extension"));
        }
        self.spend(extension.len())?;
        if digits.len() > MOST_DIGITS {
            return Err(Fault::Malformed("a chunk size is too long"));
        }
        let digits = str::from_utf8(digits).unwrap_or_default();
        u64::from_str_radix(digits, 16).map_err(|_| Fault::Malformed("a chunk size is not a hexadecimal number"))
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Fault> {
        self.allowance = self.allowance.checked_sub(bytes).ok_or(TOO_MUCH)?;
        Ok(())
    }
}

/// A 64-bit number in hexadecimal digits.
const MOST_DIGITS: usize = 16;

const TOO_MUCH: Fault = Fault::Malformed("its chunk extensions and trailers are over the limit of a head");
