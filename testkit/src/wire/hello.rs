//! The first bytes of each direction: sniff header, version, compression, TLS flag.

use super::{Compression, Error, bad, take};

/// A hello, with its three bytes as they are on the wire, legal or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The bytes both sides must agree on; `httpteleport` for HTTP.
    pub sniff: Vec<u8>,
    /// The protocol version byte; 0 for HTTP.
    pub version: u8,
    /// How the sender compresses: 0 flate, 1 none, 2 snappy.
    pub compression: u8,
    /// 0 for plain, anything else for TLS right after both hellos.
    pub tls: u8,
}

impl Hello {
    /// The hello of an HTTP peer without TLS.
    pub fn http(compression: Compression) -> Self {
        Self::new(b"httpteleport", 0, compression)
    }

    /// A hello without TLS.
    pub fn new(sniff: &[u8], version: u8, compression: Compression) -> Self {
        Self { sniff: sniff.to_vec(), version, compression: compression.byte(), tls: 0 }
    }

    /// The same with the TLS flag set.
    pub fn with_tls(self) -> Self {
        Self { tls: 1, ..self }
    }

    /// How the sender compresses.
    ///
    /// # Errors
    ///
    /// The byte is none of the three the classic wire knows.
    pub fn compression(&self) -> Result<Compression, Error> {
        Compression::from_byte(self.compression)
    }

    /// The bytes to send.
    pub fn bytes(&self) -> Vec<u8> {
        [&self.sniff[..], &[self.version, self.compression, self.tls]].concat()
    }

    /// Reads a hello that starts with `sniff`; the second value is what follows it.
    ///
    /// # Errors
    ///
    /// Another sniff header, or too few bytes.
    pub fn read<'a>(sniff: &[u8], mut bytes: &'a [u8]) -> Result<(Self, &'a [u8]), Error> {
        let common = sniff.len().min(bytes.len());
        if bytes[..common] != sniff[..common] {
            return Err(bad(format!(
                "the hello starts with {:?}, not with {:?}",
                bytes[..common].escape_ascii().to_string(),
                sniff.escape_ascii().to_string()
            )));
        }
        take(&mut bytes, sniff.len(), "hello")?;
        let rest = take(&mut bytes, 3, "hello")?;
        let hello = Self { sniff: sniff.to_vec(), version: rest[0], compression: rest[1], tls: rest[2] };
        Ok((hello, bytes))
    }
}
