//! HTTP/2 by hand: frames that no well-behaved library would write, and what comes back.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::case::{numbered, text, unnumbered};

/// Names and values, in order.
pub(super) type Fields = &'static [(&'static str, &'static str)];

/// A request as frames.
pub(super) struct Frames<'a> {
    pub(super) head: [Fields; 2],
    /// Each is a `DATA` frame.
    pub(super) body: &'a [&'a str],
    pub(super) trailers: Fields,
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// What has come back on one stream.
#[derive(Default)]
struct Stream {
    status: String,
    body: String,
    over: bool,
}

/// Sends the request, and one more behind it; what each is answered, in words: as [`Case::wanted`](super::case::Case::wanted) has them, or `reset`,
/// or `goaway` for a connection that has ended.
pub(super) async fn converse(address: &str, request: &Frames<'_>, number: usize) -> [String; 2] {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, b""));
    bytes.extend(request.bytes(1, number));
    const AFTER: Fields = &[(":method", "GET"), (":scheme", "http"), (":authority", "h"), (":path", "/after")];
    bytes.extend(Frames { head: [AFTER, &[]], body: &[], trailers: &[] }.bytes(3, number));
    let _ = stream.write_all(&bytes).await;
    let mut streams = [Stream::default(), Stream::default()];
    while streams.iter().any(|stream| !stream.over) {
        let Some((kind, flags, id, payload)) = read_frame(&mut stream).await else { break };
        let Some(stream) = streams.get_mut(id as usize / 2).filter(|_| id > 0) else {
            if kind == GOAWAY {
                break;
            }
            continue;
        };
        match kind {
            HEADERS if stream.status.is_empty() => stream.status = status(&payload),
            DATA => stream.body.push_str(&String::from_utf8_lossy(&payload)),
            RST_STREAM if !stream.over => *stream = Stream { status: "reset".into(), over: true, ..Stream::default() },
            _ => {}
        }
        stream.over |= kind == RST_STREAM || (kind <= HEADERS && flags & END_STREAM != 0);
    }
    streams.map(|stream| match &*stream.status {
        _ if !stream.over => "goaway".to_owned(),
        "200" => unnumbered(&stream.body).1,
        _ => stream.status,
    })
}

impl Frames<'_> {
    fn bytes(&self, id: u32, number: usize) -> Vec<u8> {
        let fields = self.head.concat();
        let end = |last: bool| if last { END_STREAM } else { 0 };
        let trailers = !self.trailers.is_empty();
        let mut bytes =
            frame(HEADERS, END_HEADERS | end(self.body.is_empty() && !trailers), id, &block(&fields, number));
        for (at, piece) in self.body.iter().enumerate() {
            let last = at + 1 == self.body.len() && !trailers;
            bytes.extend(frame(DATA, end(last), id, numbered(piece, number).as_bytes()));
        }
        if trailers {
            bytes.extend(frame(HEADERS, END_HEADERS | END_STREAM, id, &block(self.trailers, number)));
        }
        bytes
    }
}

fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("short").to_be_bytes();
    [&length[1..], &[kind, flags], &id.to_be_bytes(), payload].concat()
}

/// Literal fields, as they stand (RFC 7541, 6.2.2).
fn block(fields: &[(&str, &str)], number: usize) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [(*name).to_owned(), numbered(value, number)] {
            block.push(u8::try_from(text.len()).ok().filter(|length| *length < 127).expect("short"));
            block.extend(text.bytes());
        }
    }
    block
}

async fn read_frame(stream: &mut TcpStream) -> Option<(u8, u8, u32, Vec<u8>)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let [a, b, c, kind, flags, id @ ..] = head;
    let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
    stream.read_exact(&mut payload).await.ok()?;
    Some((kind, flags, u32::from_be_bytes(id), payload))
}

/// The status that a block of fields begins with.
fn status(block: &[u8]) -> String {
    const INDEXED: [&str; 7] = ["200", "204", "206", "304", "400", "404", "500"];
    match block {
        [index @ 0x88..=0x8e, ..] => INDEXED[usize::from(index - 0x88)].to_owned(),
        // A literal whose digits have 5 bits up to 2, else 6 (RFC 7541, appendix B).
        [_, length, rest @ ..] if length & 0x80 != 0 => {
            let bits: String = rest.iter().take(4).map(|byte| format!("{byte:08b}")).collect();
            let mut at = 0;
            let digits = (0..3).map(|_| match u32::from_str_radix(&bits[at..at + 5], 2).expect("bits") {
                digit @ 0..=2 => {
                    at += 5;
                    digit
                }
                _ => {
                    at += 6;
                    u32::from_str_radix(&bits[at - 6..at], 2).expect("bits") - 22
                }
            });
            digits.map(|digit| digit.to_string()).collect()
        }
        [_, _, rest @ ..] => text(&rest.iter().take(3).map(|byte| char::from(*byte)).collect::<String>()),
        _ => String::new(),
    }
}
