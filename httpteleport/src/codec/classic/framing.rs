//! Where a message's body ends, by its header fields.

use crate::codec::error::Fault;
use crate::message::Role;

/// What the fields seen so far say about the body.
#[derive(Debug, Default)]
pub(super) struct Framing {
    length: Option<u64>,
    coding: Option<Coding>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coding {
    /// No coding at all: an old way to say nothing.
    Identity,
    Chunked,
}

/// How a body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// So many bytes.
    Length(u64),
    /// Chunks up to an empty one.
    Chunked,
}

impl Framing {
    /// Takes note of one field. A reader that guessed at an unclear one could be talked into seeing a message that was
    /// never sent, so an unclear field is an error.
    pub(super) fn note(&mut self, role: Role, value: &[u8]) -> Result<(), Fault> {
        match role {
            Role::ContentLength => {
                let length = length(value).ok_or(Fault::Malformed("Content-Length is not a number"))?;
                if self.length.replace(length).is_some() {
                    return Err(Fault::Malformed("Content-Length is repeated"));
                }
            }
            Role::TransferEncoding => {
                let coding = if value.eq_ignore_ascii_case(b"chunked") {
                    Coding::Chunked
                } else if value.eq_ignore_ascii_case(b"identity") {
                    Coding::Identity
                } else {
                    return Err(Fault::Malformed("Transfer-Encoding is neither chunked nor identity"));
                };
                if self.coding.replace(coding).is_some() {
                    return Err(Fault::Malformed("Transfer-Encoding is repeated"));
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// The extent of a request's body: without a word about it there is none, for every method.
    ///
    /// `http_1_0`: it says that it is HTTP/1.0, which has no `Transfer-Encoding`. Who wrote it did not know what the field
    /// means, and may have ended the body elsewhere (RFC 9112, 6.1).
    pub(super) fn of_request(&self, http_1_0: bool) -> Result<Extent, Fault> {
        if http_1_0 && self.coding.is_some() {
            return Err(Fault::Malformed("it has Transfer-Encoding without being known as HTTP/1.1"));
        }
        Ok(self.extent().unwrap_or(Extent::Length(0)))
    }

    /// The extent of a reply's body: without a word about it, it would end with the connection, which carries other calls.
    pub(super) fn of_reply(&self, no_body: bool) -> Result<Extent, Fault> {
        if no_body {
            return Ok(Extent::Length(0));
        }
        self.extent().ok_or(Fault::Malformed("it has neither Content-Length nor Transfer-Encoding: chunked"))
    }

    fn extent(&self) -> Option<Extent> {
        match self.coding {
            Some(Coding::Chunked) => Some(Extent::Chunked),
            Some(Coding::Identity) | None => self.length.map(Extent::Length),
        }
    }
}

/// A `Content-Length`: digits and nothing else.
pub(crate) fn length(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0u64, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| byte - b'0')?;
        sum.checked_mul(10)?.checked_add(u64::from(digit))
    })
}
