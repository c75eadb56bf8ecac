//! Appending frames to what is going to be a record.

use std::{error::Error, fmt};

use super::{
    CALL, CLOSE, CREDIT, CloseCode, DATA, DRAIN, END, INTERIM, MAX_FRAME, MAX_TEXT, ONE_WAY, PING, PONG, REPLY, RESET,
    ResetCode, TRAILERS,
};
use crate::wire::framed::varint;

/// Bytes before a call's head, at most: kind, id, length, time left, head length.
const ROOM: usize = 1 + 4 * varint::MAX_LEN;

/// Appends a call. `encode` appends its head to what it is given; then come `body` and END if they fit the frame, which is
/// told. A head is at most `most` bytes.
///
/// # Errors
///
/// [`TooLong`] as `E`, or what `encode` said. Nothing is appended then. It is up to the caller to take back what a panic
/// in `encode` leaves behind.
pub fn put_call<E: From<TooLong>>(
    out: &mut Vec<u8>,
    time_left: u32,
    one_way: bool,
    most: usize,
    encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    body: &[u8],
    end: bool,
) -> Result<bool, E> {
    let kind = CALL | flag(one_way, ONE_WAY);
    put_with_head(out, Head { kind, id: 0, time_left: Some(time_left), most, encode }, body, end)
}

/// Appends a reply, in the way of [`put_call`].
///
/// # Errors
///
/// As those of [`put_call`].
pub fn put_reply<E: From<TooLong>>(
    out: &mut Vec<u8>,
    id: u32,
    most: usize,
    encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    body: &[u8],
    end: bool,
) -> Result<bool, E> {
    put_with_head(out, Head { kind: REPLY, id, time_left: None, most, encode }, body, end)
}

struct Head<F> {
    kind: u8,
    id: u32,
    time_left: Option<u32>,
    most: usize,
    encode: F,
}

/// The head's length is known when it is there: it is written behind room for the longest beginning, and moved to its place.
fn put_with_head<E: From<TooLong>>(
    out: &mut Vec<u8>,
    head: Head<impl FnOnce(&mut Vec<u8>) -> Result<(), E>>,
    body: &[u8],
    end: bool,
) -> Result<bool, E> {
    let start = out.len();
    out.extend_from_slice(&[0; ROOM]);
    let encoded = (head.encode)(out).and_then(|()| {
        let length = out.len() - start - ROOM;
        let limit = head.most.min(MAX_FRAME - ROOM);
        if length <= limit { Ok(length) } else { Err(TooLong { length, limit }.into()) }
    });
    let length = encoded.inspect_err(|_| out.truncate(start))?;
    let fits = length + body.len() <= MAX_FRAME - ROOM;
    let body = if fits { body } else { &[] };
    let short = |length: usize| u32::try_from(length).expect("a frame fits a record");
    let before = head.time_left.map_or(0, varint::len) + varint::len(short(length));
    let mut beginning = Beginning::default();
    beginning.byte(head.kind | flag(end && fits, END));
    beginning.varint(head.id);
    beginning.varint(short(before + length + body.len()));
    if let Some(time_left) = head.time_left {
        beginning.varint(time_left);
    }
    beginning.varint(short(length));
    // Of a fixed length: what is behind the beginning is overwritten by the head.
    out[start..start + ROOM].copy_from_slice(&beginning.bytes);
    out.copy_within(start + ROOM.., start + beginning.length);
    out.truncate(start + beginning.length + length);
    out.extend_from_slice(body);
    Ok(fits)
}

/// Appends an interim head.
///
/// # Errors
///
/// It does not fit a record.
pub fn put_interim(out: &mut Vec<u8>, id: u32, head: &[u8]) -> Result<(), TooLong> {
    put(out, INTERIM, id, [head].into_iter())
}

/// Appends a piece of a body, given in parts.
///
/// # Errors
///
/// It does not fit a record.
pub fn put_data<'a>(
    out: &mut Vec<u8>,
    id: u32,
    parts: impl Iterator<Item = &'a [u8]> + Clone,
    end: bool,
) -> Result<(), TooLong> {
    put(out, DATA | flag(end, END), id, parts)
}

/// Appends trailers, which end the stream's direction.
///
/// # Errors
///
/// They do not fit a record.
pub fn put_trailers(out: &mut Vec<u8>, id: u32, trailers: &[u8]) -> Result<(), TooLong> {
    put(out, TRAILERS | END, id, [trailers].into_iter())
}

/// Appends a reset, its text cut to [`MAX_TEXT`] bytes.
pub fn put_reset(out: &mut Vec<u8>, id: u32, code: ResetCode, text: &str) {
    put_short(out, RESET, id, &[&[code.byte()], cut(text)]);
}

/// Appends credit for a stream, or for the connection as id 0.
pub fn put_credit(out: &mut Vec<u8>, id: u32, bytes: u32) {
    let mut amount = Beginning::default();
    amount.varint(bytes);
    put_short(out, CREDIT, id, &[amount.bytes()]);
}

/// Appends a ping.
pub fn put_ping(out: &mut Vec<u8>, bytes: [u8; 8]) {
    put_short(out, PING, 0, &[&bytes]);
}

/// Appends the answer to a ping.
pub fn put_pong(out: &mut Vec<u8>, bytes: [u8; 8]) {
    put_short(out, PONG, 0, &[&bytes]);
}

/// Appends a drain.
pub fn put_drain(out: &mut Vec<u8>) {
    put_short(out, DRAIN, 0, &[]);
}

/// Appends a close, its text cut to [`MAX_TEXT`] bytes.
pub fn put_close(out: &mut Vec<u8>, code: CloseCode, last: u32, text: &str) {
    let mut id = Beginning::default();
    id.varint(last);
    put_short(out, CLOSE, 0, &[&[code.byte()], id.bytes(), cut(text)]);
}

fn put_short(out: &mut Vec<u8>, kind: u8, id: u32, parts: &[&[u8]]) {
    put(out, kind, id, parts.iter().copied()).expect("a few hundred bytes fit a record");
}

fn put<'a>(out: &mut Vec<u8>, kind: u8, id: u32, parts: impl Iterator<Item = &'a [u8]> + Clone) -> Result<(), TooLong> {
    let length = parts.clone().map(<[u8]>::len).sum();
    let limit = MAX_FRAME - ROOM;
    let fitting = u32::try_from(length).ok().filter(|_| length <= limit);
    let fitting = fitting.ok_or(TooLong { length, limit })?;
    out.push(kind);
    varint::put(id, out);
    varint::put(fitting, out);
    parts.for_each(|part| out.extend_from_slice(part));
    Ok(())
}

fn flag(set: bool, flag: u8) -> u8 {
    if set { flag } else { 0 }
}

/// At most [`MAX_TEXT`] bytes, whole characters.
fn cut(text: &str) -> &[u8] {
    let end = (0..=MAX_TEXT.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text.as_bytes()[..end]
}

/// The first bytes of a frame, or a number of its payload, outside the buffer.
#[derive(Default)]
struct Beginning {
    bytes: [u8; ROOM],
    length: usize,
}

impl Beginning {
    #[inline]
    fn byte(&mut self, byte: u8) {
        self.bytes[self.length] = byte;
        self.length += 1;
    }

    #[inline]
    fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.byte(varint::low_bits(value) | 0x80);
            value >>= 7;
        }
        self.byte(varint::low_bits(value));
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// A head, or what else a frame holds, that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// Its bytes.
    pub length: usize,
    /// How many there may be.
    pub limit: usize,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes in one frame are over the limit of {}", self.length, self.limit)
    }
}

impl Error for TooLong {}
