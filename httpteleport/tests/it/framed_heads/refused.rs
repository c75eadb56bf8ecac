//! Heads that are refused, and what is said of them.

use bytes::Bytes;
use httpteleport::codec::framed::{decode_interim, decode_reply, decode_request, decode_trailers};
use httpteleport::{Limits, MessageKind};

/// Bytes of a head, piece by piece.
#[derive(Clone, Default)]
struct Bytewise(Vec<u8>);

impl Bytewise {
    fn number(mut self, mut number: usize) -> Self {
        while number > 127 {
            self.0.push(u8::try_from(number % 128).unwrap() | 128);
            number /= 128;
        }
        self.0.push(u8::try_from(number).unwrap());
        self
    }

    fn string(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    fn bytes(self, bytes: &[u8]) -> Self {
        let mut this = self.number(bytes.len());
        this.0.extend_from_slice(bytes);
        this
    }

    /// A field whose name is written out.
    fn field(self, name: &str, value: &str) -> Self {
        let mut this = self.number(64 + name.len());
        this.0.extend_from_slice(name.as_bytes());
        this.string(value)
    }

    fn into_bytes(self) -> Bytes {
        self.0.into()
    }
}

fn start(method: usize, target: &str) -> Bytewise {
    Bytewise::default().number(method).string(target)
}

/// `GET /` of the host `h`.
fn get() -> Bytewise {
    start(0, "/").number(2).string("h")
}

fn literal(method: &str) -> Bytewise {
    let mut head = Bytewise::default().number(16 + method.len());
    head.0.extend_from_slice(method.as_bytes());
    head.string("/").number(2).string("h")
}

const METHOD: &str = "request: its method is not a token";
const TARGET: &str = "request: its target is not a URI; percent-encode what does not belong in one";
const NO_HOST: &str = "request: it names no host; set a Host header or use a URI with an authority";
const TWO_HOSTS: &str = "request: it has more than one Host header; send one";
const HOST: &str = "request: its host holds what no host can; send a name or address, and a port if need be";
const NAME: &str = "request: a header name is not a token; remove it";
const VALUE: &str = "request: a header value holds a control byte or a blank at an end; remove it";
const CUT: &str = "request: its head ends in the middle of a field; send it whole";
const HOP: &str =
    "request: a header of one hop (Connection, Transfer-Encoding, Upgrade, TE and the like) is in it; remove it";
const LENGTH: &str = "request: its Content-Length is not one number that may be there; send one, or none";
const PROTOCOL: &str =
    "request: what it says of protocol or scheme cannot be; name one protocol, in a request, and its scheme";

#[test]
fn requests() {
    for (head, error) in [
        (Bytewise::default(), CUT),
        (Bytewise::default().number(0), CUT),
        (Bytewise::default().number(0).number(5), CUT),
        (Bytewise(vec![0x80, 0x00]), CUT),
        (start(9, "/").number(2).string("h"), METHOD),
        (literal(""), METHOD),
        (literal("GE T"), METHOD),
        (literal("GET\r\n"), METHOD),
        (literal("GET\"").clone(), METHOD),
        (start(0, "/"), NO_HOST),
        (start(0, "").number(2).string("h"), TARGET),
        (start(0, "x").number(2).string("h"), TARGET),
        (start(0, "*").number(2).string("h"), TARGET),
        (start(0, "http://a/").number(2).string("h"), TARGET),
        (start(0, "/a b").number(2).string("h"), TARGET),
        (start(0, "/a\r\nb").number(2).string("h"), TARGET),
        (start(0, "/a\0").number(2).string("h"), TARGET),
        (start(0, "/a\x7f").number(2).string("h"), TARGET),
        (start(0, "/a#b").number(2).string("h"), TARGET),
        (start(5, "/a"), TARGET),
        (start(5, "user@h:1"), TARGET),
        (start(5, ""), TARGET),
        (start(5, "h:1").number(2).string("h:1"), TWO_HOSTS),
        (start(5, "h:1").number(1).string("https"), PROTOCOL),
        (get().number(2).string("h"), TWO_HOSTS),
        (get().field("host", "h"), TWO_HOSTS),
        (start(0, "/").number(2).string(""), HOST),
        (start(0, "/").number(2).string("a b"), HOST),
        (start(0, "/").number(2).string("a,b"), HOST),
        (start(0, "/").number(2).string("a/b"), HOST),
        (start(0, "/").number(2).string("u@b"), HOST),
        (get().field("", "a"), NAME),
        (get().field("Accept", "a"), NAME),
        (get().field("a b", "a"), NAME),
        (get().field("a:", "a"), NAME),
        (get().field(":path", "/"), NAME),
        (get().field("a\r\nb", "a"), NAME),
        (get().field("a\"", "a"), NAME),
        (get().field("ä", "a"), NAME),
        (get().field("a", "b\r\nc: d"), VALUE),
        (get().field("a", "b\nc"), VALUE),
        (get().field("a", "b\0"), VALUE),
        (get().field("a", "\x7f"), VALUE),
        (get().number(5).string(" a"), VALUE),
        (get().number(5).string("a\t"), VALUE),
        (get().number(64 + 1), CUT),
        (get().number(5), CUT),
        (get().number(5).number(1), CUT),
        (get().number(5).number(u32::MAX as usize), CUT),
        (get().number(u32::MAX as usize), CUT),
        (get().field("connection", "close"), HOP),
        (get().field("keep-alive", ""), HOP),
        (get().field("proxy-connection", "close"), HOP),
        (get().field("transfer-encoding", "chunked"), HOP),
        (get().field("upgrade", "websocket"), HOP),
        (get().field("te", "gzip"), HOP),
        (get().field("te", "trailers, gzip"), HOP),
        (get().number(3).string(""), LENGTH),
        (get().number(3).string("+5"), LENGTH),
        (get().number(3).string("5, 5"), LENGTH),
        (get().number(3).string("5").field("content-length", "6"), LENGTH),
        (get().number(3).string("18446744073709551616"), LENGTH),
        (get().number(0).string(""), PROTOCOL),
        (get().number(0).string("a b"), PROTOCOL),
        (get().number(0).string("a").number(0).string("a"), PROTOCOL),
        (get().number(1).string("https"), PROTOCOL),
        (get().number(0).string("a").number(1).string("h t"), PROTOCOL),
        (get().number(0).string("a").number(1).string("http").number(1).string("http"), PROTOCOL),
    ] {
        let bytes = head.into_bytes();
        let told = decode_request(&bytes, &Limits::default()).map(|parts| parts.uri).map_err(|error| error.to_string());
        assert_eq!(told, Err(error.to_owned()), "{bytes:?}");
    }
    let te = decode_request(&get().field("te", "trailers").into_bytes(), &Limits::default());
    assert_eq!(te.unwrap().headers["te"], "trailers");
}

#[test]
fn statuses() {
    for (status, of_reply, of_interim) in [
        (0, Some("its status is not in 100..=999"), Some("its status is not in 100..=999")),
        (99, Some("its status is not in 100..=999"), Some("its status is not in 100..=999")),
        (100, Some("status 100 is interim and answers nothing; send a final status"), None),
        (101, None, Some("status 101 is not one of an interim head; send a status 1xx but 101")),
        (200, None, Some("status 200 is not one of an interim head; send a status 1xx but 101")),
        (999, None, Some("status 999 is not one of an interim head; send a status 1xx but 101")),
        (1000, Some("its status is not in 100..=999"), Some("its status is not in 100..=999")),
    ] {
        let head = Bytes::from(u16::to_le_bytes(status).to_vec());
        let told = |error: httpteleport::CodecError| error.to_string();
        let expected = |text: Option<&str>| text.map(|text| format!("reply: {text}"));
        assert_eq!(decode_reply(&head, &Limits::default()).map_err(told).err(), expected(of_reply));
        assert_eq!(decode_interim(&head, &Limits::default()).map_err(told).err(), expected(of_interim));
    }
    assert!(decode_reply(&Bytes::from_static(b"\xc8"), &Limits::default()).is_err());
}

#[test]
fn fields_of_replies() {
    let reply = |fields: Bytewise| decode_reply(&[&[200, 0][..], &fields.0].concat().into(), &Limits::default());
    for fields in [
        Bytewise::default().field("te", "trailers"),
        Bytewise::default().field("connection", "close"),
        Bytewise::default().number(0).string("websocket"),
        Bytewise::default().number(1).string("http"),
        Bytewise::default().number(51).string("a\r\n"),
    ] {
        assert!(reply(fields.clone()).is_err(), "{:?}", fields.0);
    }
    let interim = Bytewise(vec![103, 0]).number(3).string("5").into_bytes();
    assert!(decode_interim(&interim, &Limits::default()).is_err());
}

#[test]
fn trailers() {
    for name in [
        "host",
        "content-length",
        "content-type",
        "content-encoding",
        "content-range",
        "trailer",
        "authorization",
        "proxy-authorization",
        "proxy-authenticate",
        "www-authenticate",
        "cookie",
        "set-cookie",
        "age",
        "cache-control",
        "expect",
        "location",
        "max-forwards",
        "pragma",
        "range",
        "if-match",
        "if-none-match",
        "if-modified-since",
        "if-unmodified-since",
        "if-range",
    ] {
        let trailers = Bytewise::default().field(name, "5").into_bytes();
        let error = decode_trailers(MessageKind::Request, &trailers, &Limits::default()).unwrap_err().to_string();
        let expected = "request: a trailer frames, routes, authenticates or describes the message; send it as a header";
        assert_eq!(error, expected, "{name}");
    }
    for name in ["te", "connection", "transfer-encoding"] {
        let trailers = Bytewise::default().field(name, "trailers").into_bytes();
        let error = decode_trailers(MessageKind::Reply, &trailers, &Limits::default()).unwrap_err();
        assert_eq!(error.to_string(), HOP.replace("request", "reply"), "{name}");
        assert_eq!(error.status(), 502);
    }
}
