//! Frames of HTTP/2 as bytes (RFC 9113), for clients that do what no library does.

use crate::client::Client;

/// What a client begins with, before its settings.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const WINDOW_UPDATE: u8 = 8;

pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// The windows of streams, as a client sets them.
const INITIAL_WINDOW_SIZE: [u8; 2] = [0, 4];
const LARGEST: u32 = (1 << 31) - 1;
/// What a connection's window is at first.
const FIRST_WINDOW: u32 = 65_535;

/// One frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// What a client begins with.
pub(crate) fn hello() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, b"")].concat()
}

/// The same for one that takes all that there is.
pub(crate) fn hello_of_one_with_large_windows() -> Vec<u8> {
    let settings = [&INITIAL_WINDOW_SIZE[..], &LARGEST.to_be_bytes()].concat();
    let more = (LARGEST - FIRST_WINDOW).to_be_bytes();
    [PREFACE, &frame(SETTINGS, 0, 0, &settings), &frame(WINDOW_UPDATE, 0, 0, &more)].concat()
}

/// The head of a whole request: fields whose names and values are written out.
pub(crate) fn headers(stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).expect("short")], text.as_bytes()].concat();
    let block: Vec<u8> = fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect();
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block)
}

/// A frame that came.
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The next one.
    pub(crate) async fn next(client: &mut Client) -> Frame {
        let head = client.exactly(9).await;
        let [_, high, middle, low, kind, flags, ..] = [&[0], &head[..]].concat()[..] else {
            unreachable!("nine bytes")
        };
        let length = u32::from_be_bytes([0, high, middle, low]);
        Frame { kind, flags, payload: client.exactly(length as usize).await }
    }
}
