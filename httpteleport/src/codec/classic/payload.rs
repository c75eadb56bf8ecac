//! Bodies as they arrive: kept up to a cap, past it only counted.

use bytes::{Buf, Bytes, BytesMut};

use super::chunked::Chunked;
use super::decode::Whole;
use super::framing::Extent;
use crate::Limits;
use crate::codec::error::Fault;

/// Reads one body to its end.
#[derive(Debug)]
pub(super) struct Payload {
    rest: Rest,
    sink: Sink,
}

#[derive(Debug)]
enum Rest {
    /// So many bytes are still to come.
    Length(u64),
    Chunked(Chunked),
}

impl Payload {
    /// Reads a body of this extent. With `keep` off it is only skipped.
    pub(super) fn new(extent: Extent, keep: bool, limits: &Limits) -> Result<Self, Fault> {
        let mut sink = Sink::new(keep, limits);
        let rest = match extent {
            Extent::Length(length) => {
                sink.expect(length)?;
                Rest::Length(length)
            }
            Extent::Chunked => Rest::Chunked(Chunked::new(limits.max_head())),
        };
        Ok(Self { rest, sink })
    }

    /// Takes what is there of the body out of `input`; gives the body, or why it is refused, once all of it has come.
    pub(super) fn read(&mut self, input: &mut BytesMut) -> Result<Option<Whole<Bytes>>, Fault> {
        let whole = match &mut self.rest {
            Rest::Length(rest) => {
                let most = *rest;
                self.sink.fill(input, rest, most);
                *rest == 0
            }
            Rest::Chunked(chunked) => chunked.read(input, &mut self.sink)?,
        };
        Ok(whole.then(|| self.sink.finish()))
    }

    /// How much memory the body takes so far.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.sink.kept.capacity()
    }
}

/// Where the bytes of a body go.
#[derive(Debug)]
pub(super) struct Sink {
    kept: Vec<u8>,
    /// Bytes announced so far, by lengths or chunk sizes: bounded before any of them is kept.
    announced: u64,
    state: Keep,
    max_body: usize,
    max_skip: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keep {
    All,
    /// The message is refused anyway.
    Nothing,
    OverLimit,
}

impl Sink {
    fn new(keep: bool, limits: &Limits) -> Self {
        let state = if keep { Keep::All } else { Keep::Nothing };
        Self { kept: Vec::new(), announced: 0, state, max_body: limits.max_body(), max_skip: limits.max_skip() }
    }

    /// Makes ready for `length` more bytes. Allocates nothing.
    pub(super) fn expect(&mut self, length: u64) -> Result<(), Fault> {
        self.announced = self.announced.saturating_add(length);
        if self.state == Keep::All && self.announced > self.max_body as u64 {
            self.kept = Vec::new();
            self.state = Keep::OverLimit;
        }
        if self.state != Keep::All && self.announced > self.max_skip {
            return Err(Fault::SkipLimit { limit: self.max_skip });
        }
        Ok(())
    }

    /// Moves up to `rest` bytes from `input`, and counts `rest` down. No more than `most` bytes can follow in this body.
    pub(super) fn fill(&mut self, input: &mut BytesMut, rest: &mut u64, most: u64) {
        let count = usize::try_from(*rest).map_or(input.len(), |rest| rest.min(input.len()));
        if self.state == Keep::All && count > 0 {
            if self.kept.capacity() - self.kept.len() < count {
                // Doubling, so that the cost stays linear; but never past the end of the body.
                let most = usize::try_from(most).unwrap_or(usize::MAX);
                self.kept.reserve_exact(count.max(self.kept.len().min(most)));
            }
            self.kept.extend_from_slice(&input[..count]);
        }
        input.advance(count);
        *rest -= count as u64;
    }

    /// How many bytes the body may still grow by.
    pub(super) fn room(&self) -> u64 {
        (self.max_body - self.kept.len()) as u64
    }

    fn finish(&mut self) -> Whole<Bytes> {
        if self.state == Keep::OverLimit {
            return Err(Fault::BodyTooLarge { limit: self.max_body });
        }
        Ok(std::mem::take(&mut self.kept).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_follows_what_came_and_not_what_was_announced() {
        let limits = Limits::default();
        let mut payload = Payload::new(Extent::Length(10 << 20), true, &limits).unwrap();
        assert_eq!(payload.read(&mut BytesMut::from(&[7; 1000][..])), Ok(None));
        assert!(payload.held() <= 2000, "{}", payload.held());
    }

    #[test]
    fn a_body_of_known_length_fits_its_memory() {
        let mut payload = Payload::new(Extent::Length(1000), true, &Limits::default()).unwrap();
        for _ in 0..99 {
            assert_eq!(payload.read(&mut BytesMut::from(&[7; 10][..])), Ok(None));
        }
        assert!(payload.held() <= 1000, "{}", payload.held());
        assert!(matches!(payload.read(&mut BytesMut::from(&[7; 99][..])), Ok(Some(Ok(body))) if body.len() == 1000));
    }

    #[test]
    fn many_small_chunks_stay_within_the_cap_and_past_it_nothing_is_held() {
        let limits = Limits::default().with_max_body(100);
        let mut payload = Payload::new(Extent::Chunked, true, &limits).unwrap();
        for _ in 0..100 {
            assert_eq!(payload.read(&mut BytesMut::from("1\r\nx\r\n")), Ok(None));
            assert!(payload.held() <= 100, "{}", payload.held());
        }
        assert_eq!(payload.read(&mut BytesMut::from("1\r\nx\r\n")), Ok(None));
        assert_eq!(payload.held(), 0);
        assert_eq!(payload.read(&mut BytesMut::from("0\r\n\r\n")), Ok(Some(Err(Fault::BodyTooLarge { limit: 100 }))));
    }

    #[test]
    fn a_refused_body_is_not_kept() {
        let mut payload = Payload::new(Extent::Length(5), false, &Limits::default()).unwrap();
        assert_eq!(payload.read(&mut BytesMut::from("hello")), Ok(Some(Ok(Bytes::new()))));
    }
}
