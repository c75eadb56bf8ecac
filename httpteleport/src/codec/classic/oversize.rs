//! Heads over the limit: read line by line to their end, for the sake of the messages behind them.

use bytes::{Buf, BytesMut};

use super::framing::{Extent, Framing};
use super::head::status;
use super::lines::{Field, split_line};
use super::reply::has_no_body;
use crate::Limits;
use crate::codec::error::{Fault, MessageKind};
use crate::message::Role;

/// Drops a head, and remembers of it only where the body ends.
#[derive(Debug)]
pub(super) struct Oversize {
    line: Line,
    /// Up to here the line at hand has no end.
    scanned: usize,
    skipped: u64,
    framing: Framing,
    /// The request is HTTP/1.0, or may be: its start line is too long to tell.
    http_1_0: bool,
    /// By its status, the message ends with its head.
    no_body: bool,
}

/// Which line is at the front of the input.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    Start,
    Header,
    /// The rest of one whose beginning was dropped.
    Tail,
}

impl Oversize {
    /// `bodiless`: the message is known to have no body.
    pub(super) fn new(bodiless: bool) -> Self {
        let framing = Framing::default();
        Self { line: Line::Start, scanned: 0, skipped: 0, framing, http_1_0: true, no_body: bodiless }
    }

    /// Takes what is there of the head out of `input`; gives the extent of the body once the head is read.
    pub(super) fn read(
        &mut self,
        kind: MessageKind,
        input: &mut BytesMut,
        limits: &Limits,
    ) -> Result<Option<Extent>, Fault> {
        let longest = limits.max_head();
        while let Some(at) = memchr::memchr(b'\n', &input[self.scanned..]) {
            let end = self.scanned + at + 1;
            // One rule for long lines, so that it does not matter whether their end is there yet.
            if end - 1 > longest {
                self.begin_tail(kind, &input[..longest])?;
            }
            let line = split_line(&input[..end]).0;
            let is_last = line.is_empty() && self.line == Line::Header;
            if !is_last {
                self.take(kind, line)?;
            }
            self.line = Line::Header;
            self.drop(input, end, limits)?;
            if is_last {
                return self.extent(kind).map(Some);
            }
        }
        self.scanned = input.len();
        if input.len() > longest {
            self.begin_tail(kind, &input[..longest])?;
            self.drop(input, input.len(), limits)?;
        }
        Ok(None)
    }

    fn take(&mut self, kind: MessageKind, line: &[u8]) -> Result<(), Fault> {
        match (&self.line, kind) {
            (Line::Start, MessageKind::Reply) => {
                self.no_body |= status(line)?.is_ok_and(has_no_body);
                Ok(())
            }
            (Line::Start, MessageKind::Request) => {
                self.http_1_0 = line.ends_with(b" HTTP/1.0");
                Ok(())
            }
            (Line::Tail, _) => Ok(()),
            (Line::Header, _) => {
                let field = Field::read(line)?;
                field.name.map_or(Ok(()), |name| self.framing.note(Role::of(name), field.value))
            }
        }
    }

    /// The line at the front is itself over the limit: its beginning has to show that the body does not depend on it.
    fn begin_tail(&mut self, kind: MessageKind, beginning: &[u8]) -> Result<(), Fault> {
        if self.line == Line::Header {
            let role = Field::read(beginning)?.name.map_or(Role::EndToEnd, Role::of);
            if matches!(role, Role::ContentLength | Role::TransferEncoding) {
                return Err(Fault::Malformed("the header that tells its length is itself too long"));
            }
        } else if self.line == Line::Start && kind == MessageKind::Reply {
            self.take(kind, beginning)?;
        }
        self.line = Line::Tail;
        Ok(())
    }

    fn drop(&mut self, input: &mut BytesMut, count: usize, limits: &Limits) -> Result<(), Fault> {
        input.advance(count);
        self.scanned = 0;
        self.skipped += count as u64;
        if self.skipped > limits.max_skip() { Err(Fault::SkipLimit { limit: limits.max_skip() }) } else { Ok(()) }
    }

    fn extent(&self, kind: MessageKind) -> Result<Extent, Fault> {
        match kind {
            MessageKind::Request => self.framing.of_request(self.http_1_0),
            MessageKind::Reply => self.framing.of_reply(self.no_body),
        }
    }
}
