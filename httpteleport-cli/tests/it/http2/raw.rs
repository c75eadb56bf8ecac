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

/// One frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// What a client begins with.
pub(crate) fn hello() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, b"")].concat()
}

/// The head of a whole request: fields whose names and values are written out.
pub(crate) fn headers(stream: u32, fields: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).expect("short")], text.as_bytes()].concat();
    let block: Vec<u8> = fields.iter().flat_map(|(name, value)| [vec![0], text(name), text(value)].concat()).collect();
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block)
}

/// Reads the next frame, and says of which kind it is.
pub(crate) async fn next_kind(client: &mut Client) -> u8 {
    let head = client.exactly(9).await;
    let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
    client.exactly(length as usize).await;
    head[3]
}
