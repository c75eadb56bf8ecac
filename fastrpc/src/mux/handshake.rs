//! The opening exchange over a real stream: hello both ways, then TLS where it was asked for.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, ServerConfig};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::last_words::LastWords;
use super::link::{Meter, Peer};
use super::metered::Metered;
use crate::error::{Error, ErrorKind, human};
use crate::io::BoxIo;
use crate::wire::compress::Compression;
use crate::wire::hello::{Hello, Protocol};

pub mod framed;

/// What a client needs to open TLS.
#[derive(Clone)]
pub struct ClientTls {
    /// Ready-made.
    pub config: Arc<ClientConfig>,
    /// Whom the certificate has to name.
    pub name: ServerName<'static>,
}

impl ClientTls {
    /// The same, which names `protocol` in ALPN.
    #[must_use]
    pub(crate) fn with_alpn(mut self, protocol: Vec<u8>) -> Self {
        Arc::make_mut(&mut self.config).alpn_protocols = vec![protocol];
        self
    }
}

/// A stream ready for messages, and how the peer compresses.
pub struct Opened {
    pub(crate) io: BoxIo,
    pub(crate) theirs: Compression,
    /// Inside TLS: what the stream below it has written.
    pub(crate) meter: Option<Meter>,
    /// What ALPN agreed on.
    pub(crate) alpn: Option<Vec<u8>>,
}

/// Opens as the client: hello, the server's hello, TLS.
///
/// # Errors
///
/// The peer cannot be understood, or took longer than `limit`.
pub async fn client(
    io: BoxIo,
    protocol: &Protocol,
    ours: Compression,
    tls: Option<&ClientTls>,
    limit: Duration,
    peer: &Peer,
) -> Result<Opened, Error> {
    within(limit, client_steps(io, protocol, ours, tls)).await.map_err(|error| error.with_peer(peer.clone()))
}

async fn client_steps(
    mut io: BoxIo,
    protocol: &Protocol,
    ours: Compression,
    tls: Option<&ClientTls>,
) -> Result<Opened, Error> {
    write_hello(&mut io, protocol, Hello::new(ours, tls.is_some()), &[]).await?;
    let hello = read_hello(&mut io, protocol).await?;
    if hello.is_framed() {
        return Err(failed(match tls {
            None => "the server speaks the framed wire alone: set wire to auto or framed",
            Some(_) => {
                "the server speaks the framed wire alone, and TLS around it from the first byte if at all: dial without TLS, or set \
                 wire to auto or framed"
            }
        }));
    }
    let theirs = hello.compression().ok_or_else(|| unknown_compression(hello))?;
    let Some(tls) = tls else { return Ok(Opened { io, theirs, meter: None, alpn: None }) };
    if !hello.tls() {
        return Err(failed("the server does not speak TLS here: give it a certificate, or dial without TLS"));
    }
    let (io, meter) = Metered::new(io);
    let stream = TlsConnector::from(tls.config.clone())
        .connect(tls.name.clone(), io)
        .await
        .map_err(|error| failed("TLS failed").with_source(error))?;
    let alpn = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
    Ok(Opened { io: Box::new(LastWords::new(stream)), theirs, meter: Some(meter), alpn })
}

/// Opens as the server: the client's hello, our own, TLS. With `tls` set, a client that wants clear text is refused.
pub(crate) async fn server(
    io: BoxIo,
    protocol: &Protocol,
    ours: Compression,
    tls: Option<Arc<ServerConfig>>,
    limit: Duration,
) -> Result<Opened, Error> {
    within(limit, server_steps(io, protocol, ours, tls)).await
}

async fn server_steps(
    mut io: BoxIo,
    protocol: &Protocol,
    ours: Compression,
    tls: Option<Arc<ServerConfig>>,
) -> Result<Opened, Error> {
    let hello = read_hello(&mut io, protocol).await?;
    answer_classic(io, protocol, ours, tls, hello).await
}

/// Goes on after the client's hello.
async fn answer_classic(
    mut io: BoxIo,
    protocol: &Protocol,
    ours: Compression,
    tls: Option<Arc<ServerConfig>>,
    hello: Hello,
) -> Result<Opened, Error> {
    if tls.is_some() && !hello.tls() {
        return Err(failed("the client wants clear text on a port that requires TLS"));
    }
    // An unknown compression is answered before the connection is closed, so that a peer can tell this from a wrong
    // protocol and offer less.
    write_hello(&mut io, protocol, Hello::new(ours, tls.is_some()), &[]).await?;
    let theirs = hello.compression().ok_or_else(|| unknown_compression(hello))?;
    if !hello.tls() {
        return Ok(Opened { io, theirs, meter: None, alpn: None });
    }
    let Some(config) = tls else {
        return Err(failed("the client wants TLS and this port has no certificate"));
    };
    let (io, meter) = Metered::new(io);
    let stream = TlsAcceptor::from(config).accept(io).await.map_err(|error| failed("TLS failed").with_source(error))?;
    let alpn = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
    Ok(Opened { io: Box::new(stream), theirs, meter: Some(meter), alpn })
}

/// Writes a hello, and the settings behind it.
async fn write_hello(io: &mut BoxIo, protocol: &Protocol, hello: Hello, settings: &[u8]) -> Result<(), Error> {
    let mut bytes = Vec::with_capacity(protocol.hello_len() + settings.len());
    hello.encode(protocol, &mut bytes);
    bytes.extend_from_slice(settings);
    let written = async {
        io.write_all(&bytes).await?;
        io.flush().await
    };
    written.await.map_err(|error| failed("the hello could not be written").with_source(error))
}

/// Reads the hello and not a byte more: TLS may begin right behind it.
async fn read_hello(io: &mut BoxIo, protocol: &Protocol) -> Result<Hello, Error> {
    let mut bytes = vec![0; protocol.hello_len()];
    let mut have = 0;
    loop {
        let read = io.read(&mut bytes[have..]).await.map_err(no_hello)?;
        if read == 0 {
            return Err(failed(
                "the peer closed before its hello was whole: is it a node of this kind, and does it want TLS?",
            )
            .with_source(io_end()));
        }
        have += read;
        let hello = Hello::decode(protocol, &bytes[..have]);
        if let Some(hello) = hello.map_err(|error| failed("the peer's hello is wrong").with_source(error))? {
            return Ok(hello);
        }
    }
}

/// What reading a hello has come to. Where the cause says why, as an alert of TLS does, there is nothing to guess.
fn no_hello(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
            failed(&format!("{error}, so no hello came")).with_source(error)
        }
        _ => failed("no hello came: is a node of this kind there, and does it want TLS?").with_source(error),
    }
}

async fn within<T>(limit: Duration, steps: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    timeout(limit, steps)
        .await
        .unwrap_or_else(|_| Err(failed(&format!("the opening exchange took longer than {}", human(limit)))))
}

fn unknown_compression(hello: Hello) -> Error {
    if hello.is_framed() {
        return failed("the peer asks for the framed wire, and this side speaks the classic one alone");
    }
    failed(&format!("the peer compresses in a way unknown here (byte {})", hello.compression))
}

fn failed(message: &str) -> Error {
    Error::new(ErrorKind::Handshake, message).with_retry(true)
}

fn io_end() -> io::Error {
    io::ErrorKind::UnexpectedEof.into()
}
