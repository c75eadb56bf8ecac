//! The opening exchange: each side says what it speaks before anything else.
//!
//! ```text
//! | sniff (1..=255 bytes) | version (1) | compression (1) | tls (1) |
//! ```
//!
//! The client writes first, the server answers in the same shape. The sniff bytes and the version must be those of the
//! other side; compression tells how the *sender* will compress, so that each direction has its own; tls is 0 for
//! clear text, anything else asks for (client) or grants (server) a TLS handshake right after both hellos.

use std::{error::Error, fmt, sync::Arc};

use super::compress::Compression;

/// Bytes of a hello after the sniff: version, compression, tls.
const TAIL: usize = 3;
/// In the compression byte: the sender speaks the framed wire, and settings follow.
const FRAMED: u8 = 0x80;

/// What both sides of a connection must agree on beforehand.
///
/// Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Protocol {
    sniff: Arc<[u8]>,
    version: u8,
}

impl Protocol {
    /// A protocol known by its `sniff` bytes, 1 to 255 of them, and its `version`.
    ///
    /// # Errors
    ///
    /// There are no sniff bytes, or more than 255.
    pub fn new(sniff: impl Into<Vec<u8>>, version: u8) -> Result<Self, InvalidSniff> {
        let sniff = sniff.into();
        if sniff.is_empty() || sniff.len() > 255 {
            return Err(InvalidSniff { len: sniff.len() });
        }
        Ok(Self { sniff: sniff.into(), version })
    }

    /// The bytes that a hello begins with.
    pub fn sniff(&self) -> &[u8] {
        &self.sniff
    }

    /// The version byte that follows them.
    pub fn version(&self) -> u8 {
        self.version
    }

    /// How many bytes a hello of this protocol has.
    pub fn hello_len(&self) -> usize {
        self.sniff.len() + TAIL
    }
}

impl fmt::Debug for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Protocol({} version {})", quoted(&self.sniff), self.version)
    }
}

/// Sniff bytes that a [`Protocol`] cannot have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSniff {
    len: usize,
}

impl fmt::Display for InvalidSniff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sniff of {} bytes: give 1 to 255, the same ones on both sides", self.len)
    }
}

impl Error for InvalidSniff {}

/// What one side says of itself, as it is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Hello {
    /// How the sender compresses; see [`Compression::wire_byte`].
    ///
    /// Kept raw, because an unknown value does not spoil the exchange: a server still answers with its own hello and
    /// closes only then, so that the client learns what it may say. Bit 7 announces the framed wire.
    pub compression: u8,
    /// Whether TLS follows: 0 no, anything else yes.
    pub tls: u8,
}

impl Hello {
    /// A hello that announces compression `c`, and TLS if `tls`.
    pub fn new(c: Compression, tls: bool) -> Self {
        Self { compression: c.wire_byte(), tls: u8::from(tls) }
    }

    /// A hello of the framed wire; [`Settings`](super::framed::settings::Settings) follow it.
    pub fn framed() -> Self {
        Self { compression: FRAMED, tls: 0 }
    }

    /// Whether the sender speaks the framed wire.
    pub fn is_framed(&self) -> bool {
        self.compression & FRAMED != 0
    }

    /// How the sender compresses, or `None` if this side does not know that way.
    pub fn compression(&self) -> Option<Compression> {
        Compression::from_wire_byte(self.compression)
    }

    /// Whether TLS follows the hellos.
    pub fn tls(&self) -> bool {
        self.tls != 0
    }

    /// Appends the hello to `out`: [`Protocol::hello_len`] bytes.
    pub fn encode(&self, protocol: &Protocol, out: &mut Vec<u8>) {
        out.extend_from_slice(&protocol.sniff);
        out.extend_from_slice(&[protocol.version, self.compression, self.tls]);
    }

    /// Reads a hello from the front of `input`, or `None` while it has not arrived whole.
    ///
    /// It is the first [`Protocol::hello_len`] bytes of `input`; what follows is left alone, for it belongs to the
    /// compressed stream or to TLS.
    ///
    /// # Errors
    ///
    /// The peer speaks something else. Told at the first wrong byte, without waiting for the rest.
    pub fn decode(protocol: &Protocol, input: &[u8]) -> Result<Option<Self>, HelloError> {
        let sniff = protocol.sniff();
        let (head, tail) = input.split_at(input.len().min(sniff.len()));
        if !sniff.starts_with(head) {
            return Err(HelloError::WrongSniff { got: head.to_vec(), want: sniff.to_vec() });
        }
        match *tail {
            [version, ..] if version != protocol.version => {
                Err(HelloError::WrongVersion { got: version, want: protocol.version })
            }
            [_, compression, tls, ..] => Ok(Some(Self { compression, tls })),
            _ => Ok(None),
        }
    }
}

/// Why the peer's first bytes are no hello of this protocol.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HelloError {
    /// The first bytes belong to another protocol.
    WrongSniff {
        /// What has arrived, at most as many bytes as are wanted.
        got: Vec<u8>,
        /// The sniff bytes of this side.
        want: Vec<u8>,
    },
    /// The right protocol in another version.
    WrongVersion {
        /// The peer's version.
        got: u8,
        /// The version of this side.
        want: u8,
    },
}

impl fmt::Display for HelloError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WrongSniff { got, want } => {
                write!(f, "the peer begins with {} instead of {}", quoted(got), quoted(want))?;
                match guess(got) {
                    Some(other) => write!(f, " ({other}): check the address and port"),
                    None => write!(f, ": check the address, and that both sides use the same sniff bytes"),
                }
            }
            Self::WrongVersion { got, want } => {
                write!(
                    f,
                    "the peer speaks version {got} of the protocol, this side version {want}: run the same on both"
                )
            }
        }
    }
}

impl Error for HelloError {}

/// What usually begins like this.
fn guess(got: &[u8]) -> Option<&'static str> {
    const TLS_HANDSHAKE: &[u8] = &[0x16, 0x03];
    const HTTP: [&[u8]; 6] = [b"HTTP/", b"GET ", b"POST ", b"HEAD ", b"PUT ", b"PRI * HTTP/2"];

    if got.starts_with(TLS_HANDSHAKE) {
        Some("it looks like TLS")
    } else if HTTP.iter().any(|start| got.starts_with(start)) {
        Some("it looks like HTTP")
    } else {
        None
    }
}

/// `bytes` as a quoted string for people, binary ones escaped.
fn quoted(bytes: &[u8]) -> String {
    format!("\"{}\"", bytes.escape_ascii())
}
