//! Appending frames to what is going to be a record.

use std::{error::Error, fmt};

use super::{
    CALL, CLOSE, CREDIT, CloseCode, DATA, DRAIN, END, INTERIM, MAX_FRAME, MAX_TEXT, ONE_WAY, PING, PONG, REPLY, RESET,
    ResetCode, TRAILERS,
};
use crate::wire::framed::varint;

/// Bytes before a call's head, at most: kind, id, length, time left, head length.
const ROOM: usize = 1 + 4 * varint::MAX_LEN;

/// Appends a call. `encode` appends its head to what it is given; then comes `body`.
///
/// # Errors
///
/// [`FrameTooLong`] as `E`, or what `encode` said. Nothing is appended then. It is up to the caller to take what is left
/// behind by a panic in `encode` back.
pub fn put_call<E: From<FrameTooLong>>(
    out: &mut Vec<u8>,
    time_left: u32,
    one_way: bool,
    encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    body: &[u8],
    end: bool,
) -> Result<(), E> {
    let kind = CALL | flag(end, END) | flag(one_way, ONE_WAY);
    put_with_head(out, kind, 0, Some(time_left), encode, body)
}

/// Appends a reply. `encode` appends its head to what it is given; then comes `body`.
///
/// # Errors
///
/// As those of [`put_call`].
pub fn put_reply<E: From<FrameTooLong>>(
    out: &mut Vec<u8>,
    id: u32,
    encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    body: &[u8],
    end: bool,
) -> Result<(), E> {
    put_with_head(out, REPLY | flag(end, END), id, None, encode, body)
}

/// The head's length is known when it is there: it is written behind room for the longest beginning, and moved to its place.
fn put_with_head<E: From<FrameTooLong>>(
    out: &mut Vec<u8>,
    kind: u8,
    id: u32,
    time_left: Option<u32>,
    encode: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    body: &[u8],
) -> Result<(), E> {
    let start = out.len();
    out.resize(start + ROOM, 0);
    if let Err(error) = encode(out) {
        out.truncate(start);
        return Err(error);
    }
    let head = out.len() - start - ROOM;
    out.extend_from_slice(body);
    let whole = out.len() - start - ROOM;
    let mut beginning = Beginning::default();
    let fitting = u32::try_from(head).ok().zip(u32::try_from(whole).ok()).filter(|_| whole <= MAX_FRAME - ROOM);
    let Some((head, whole)) = fitting else {
        out.truncate(start);
        return Err(FrameTooLong { length: whole }.into());
    };
    let before = time_left.map_or(0, varint::len) + varint::len(head);
    beginning.byte(kind);
    beginning.varint(id);
    beginning.varint(u32::try_from(before).unwrap_or(0) + whole);
    if let Some(time_left) = time_left {
        beginning.varint(time_left);
    }
    beginning.varint(head);
    let beginning = beginning.bytes();
    out[start..start + beginning.len()].copy_from_slice(beginning);
    out.copy_within(start + ROOM.., start + beginning.len());
    out.truncate(out.len() - (ROOM - beginning.len()));
    Ok(())
}

/// Appends an interim head.
///
/// # Errors
///
/// It does not fit a record.
pub fn put_interim(out: &mut Vec<u8>, id: u32, head: &[u8]) -> Result<(), FrameTooLong> {
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
) -> Result<(), FrameTooLong> {
    put(out, DATA | flag(end, END), id, parts)
}

/// Appends trailers, which end the stream's direction.
///
/// # Errors
///
/// They do not fit a record.
pub fn put_trailers(out: &mut Vec<u8>, id: u32, trailers: &[u8]) -> Result<(), FrameTooLong> {
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

fn put<'a>(
    out: &mut Vec<u8>,
    kind: u8,
    id: u32,
    parts: impl Iterator<Item = &'a [u8]> + Clone,
) -> Result<(), FrameTooLong> {
    let length = parts.clone().map(<[u8]>::len).sum();
    let fitting = u32::try_from(length).ok().filter(|_| length <= MAX_FRAME - ROOM);
    let fitting = fitting.ok_or(FrameTooLong { length })?;
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
    fn byte(&mut self, byte: u8) {
        self.bytes[self.length] = byte;
        self.length += 1;
    }

    fn varint(&mut self, value: u32) {
        let (groups, length) = varint::groups(value);
        self.bytes[self.length..self.length + length].copy_from_slice(&groups[..length]);
        self.length += length;
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// A frame that no record has room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameTooLong {
    /// Bytes of its head and body.
    pub length: usize,
}

impl fmt::Display for FrameTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a frame of {} bytes does not fit a record of {MAX_FRAME}", self.length)
    }
}

impl Error for FrameTooLong {}
