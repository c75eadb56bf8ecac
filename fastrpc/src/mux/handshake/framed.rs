//! The framed wire's opening exchange, and how a port that serves both wires tells them apart.

use std::error::Error as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::{ClientTls, Opened, failed, io_end, read_hello, within, write_hello};
use crate::error::Error;
use crate::io::BoxIo;
use crate::mux::metered::Metered;
use crate::mux::prefixed::Prefixed;
use crate::wire::compress::Compression;
use crate::wire::framed::codec::RecordCodec;
use crate::wire::framed::frame::{CloseCode, put_close};
use crate::wire::framed::record::RecordEncoder;
use crate::wire::framed::settings::{Settings, SettingsError};
use crate::wire::hello::{Hello, Protocol};

/// The first byte of every TLS connection: a handshake record.
const TLS_BEGINS: u8 = 0x16;

/// A stream ready for records, and what the peer takes.
pub struct FramedOpened {
    /// The stream, inside TLS if there is any.
    pub io: BoxIo,
    /// What the peer takes.
    pub theirs: Settings,
}

/// What became of a client's attempt.
pub enum Tried {
    /// The peer speaks the framed wire.
    Framed(FramedOpened),
    /// The peer answered with a whole hello of the classic wire: dial again and speak that.
    Classic,
    /// The peer ended the connection before the first byte of TLS. A classic peer does so; whether it is one, only its
    /// classic hello tells.
    NoTls,
}

/// What a server was opened with.
pub enum ServerOpened {
    /// The client speaks the classic wire.
    Classic(Opened),
    /// The client speaks the framed wire.
    Framed(FramedOpened),
}

/// The name of the framed wire in ALPN.
pub(crate) fn alpn(protocol: &Protocol) -> Vec<u8> {
    [protocol.sniff(), b"/1"].concat()
}

/// Opens as the client of a framed connection, inside TLS from the first byte where that is wanted.
///
/// # Errors
///
/// The peer cannot be understood, or took longer than `limit`.
pub async fn client(
    io: BoxIo,
    protocol: &Protocol,
    ours: &Settings,
    tls: Option<&ClientTls>,
    limit: Duration,
) -> Result<Tried, Error> {
    within(limit, client_steps(io, protocol, ours, tls)).await
}

async fn client_steps(
    mut io: BoxIo,
    protocol: &Protocol,
    ours: &Settings,
    tls: Option<&ClientTls>,
) -> Result<Tried, Error> {
    if let Some(tls) = tls {
        let Some(inside) = start_tls(io, protocol, tls).await? else { return Ok(Tried::NoTls) };
        io = inside;
    }
    write_framed_hello(&mut io, protocol, ours).await?;
    let hello = read_hello(&mut io, protocol).await?;
    if !hello.is_framed() {
        return Ok(Tried::Classic);
    }
    let theirs = read_settings(&mut io).await;
    Ok(Tried::Framed(FramedOpened { theirs: understood(&mut io, theirs).await?, io }))
}

/// `None` when the peer ended the connection without a byte.
async fn start_tls(io: BoxIo, protocol: &Protocol, tls: &ClientTls) -> Result<Option<BoxIo>, Error> {
    let tls = tls.clone().with_alpn(alpn(protocol));
    let (io, _) = Metered::new(io);
    let heard = io.heard();
    let connected = TlsConnector::from(tls.config).connect(tls.name, io).await;
    match connected {
        Ok(stream) if stream.get_ref().1.alpn_protocol() == Some(&alpn(protocol)) => Ok(Some(Box::new(stream))),
        Ok(_) => Err(failed("the server speaks TLS, and not this protocol in it: check the address and port")),
        Err(_) if heard.load(Ordering::Relaxed) == 0 => Ok(None),
        Err(error) => Err(failed("TLS failed").with_source(error)),
    }
}

/// Opens as a server that speaks both wires, or the classic one alone where `ours` is `None`, or the framed one alone without
/// a `compression` for the other.
///
/// # Errors
///
/// The peer cannot be understood, wants what this port does not do, or took longer than `limit`.
pub async fn server(
    io: BoxIo,
    protocol: &Protocol,
    compression: impl Into<Option<Compression>>,
    ours: Option<&Settings>,
    tls: Option<Arc<ServerConfig>>,
    limit: Duration,
) -> Result<ServerOpened, Error> {
    within(limit, server_steps(io, protocol, compression.into(), ours, tls)).await
}

async fn server_steps(
    mut io: BoxIo,
    protocol: &Protocol,
    compression: Option<Compression>,
    ours: Option<&Settings>,
    tls: Option<Arc<ServerConfig>>,
) -> Result<ServerOpened, Error> {
    let Some(ours) = ours else {
        let compression = compression.unwrap_or_default();
        return super::server_steps(io, protocol, compression, tls).await.map(ServerOpened::Classic);
    };
    let first = io.read_u8().await.map_err(|_| failed("the peer closed before its hello").with_source(io_end()))?;
    let io = Prefixed::new(vec![first], io);
    match (first, tls) {
        (TLS_BEGINS, Some(config)) => {
            let inside = accept_tls(io, protocol, config).await?;
            serve_framed(inside, protocol, ours).await.map(ServerOpened::Framed)
        }
        (TLS_BEGINS, None) => Err(failed("the client wants TLS and this port has no certificate")),
        (_, Some(config)) => {
            let Some(compression) = compression else { return refuse_classic(Box::new(io), protocol, ours).await };
            // Who speaks classic with TLS and names the framed wire in it was made to believe that we do not speak that.
            let config = with_alpn(&config, protocol);
            let opened = super::server_steps(Box::new(io), protocol, compression, Some(config)).await?;
            refuse_downgrade(opened, protocol).map(ServerOpened::Classic)
        }
        (_, None) => serve_clear(Box::new(io), protocol, compression, ours).await,
    }
}

/// Clear text, of either wire.
async fn serve_clear(
    mut io: BoxIo,
    protocol: &Protocol,
    compression: Option<Compression>,
    ours: &Settings,
) -> Result<ServerOpened, Error> {
    let hello = read_hello(&mut io, protocol).await?;
    if hello.is_framed() {
        if hello.tls() {
            return Err(failed("the client asks for TLS behind a hello of the framed wire, where it goes around it"));
        }
        return answer_framed(io, protocol, ours).await.map(ServerOpened::Framed);
    }
    let Some(compression) = compression else { return refuse_hello(io, protocol, ours).await };
    super::answer_classic(io, protocol, compression, None, hello).await.map(ServerOpened::Classic)
}

/// On a port that speaks the framed wire alone, and inside TLS.
async fn refuse_classic(mut io: BoxIo, protocol: &Protocol, ours: &Settings) -> Result<ServerOpened, Error> {
    let hello = read_hello(&mut io, protocol).await?;
    if hello.is_framed() || !hello.tls() {
        return Err(failed("the client wants clear text on a port that requires TLS"));
    }
    refuse_hello(io, protocol, ours).await
}

/// The answer to a classic hello by who does not speak that wire: its own hello, which tells what it speaks.
async fn refuse_hello(mut io: BoxIo, protocol: &Protocol, ours: &Settings) -> Result<ServerOpened, Error> {
    write_framed_hello(&mut io, protocol, ours).await?;
    Err(failed("the client speaks the classic wire, which this port does not"))
}

async fn accept_tls(io: Prefixed, protocol: &Protocol, config: Arc<ServerConfig>) -> Result<BoxIo, Error> {
    let accepted = TlsAcceptor::from(with_alpn(&config, protocol)).accept(io).await;
    let stream = accepted.map_err(|error| failed("TLS failed").with_source(error))?;
    if stream.get_ref().1.alpn_protocol() != Some(&alpn(protocol)) {
        return Err(failed("the client speaks TLS, and does not name this protocol in it"));
    }
    Ok(Box::new(stream))
}

fn with_alpn(config: &ServerConfig, protocol: &Protocol) -> Arc<ServerConfig> {
    let mut config = config.clone();
    config.alpn_protocols = vec![alpn(protocol)];
    Arc::new(config)
}

fn refuse_downgrade(opened: Opened, protocol: &Protocol) -> Result<Opened, Error> {
    if opened.alpn.as_deref() == Some(&alpn(protocol)) {
        return Err(failed("the client was made to speak the classic wire, though both sides speak the framed one"));
    }
    Ok(opened)
}

async fn serve_framed(mut io: BoxIo, protocol: &Protocol, ours: &Settings) -> Result<FramedOpened, Error> {
    let hello = read_hello(&mut io, protocol).await?;
    if !hello.is_framed() {
        return Err(failed("the client named the framed wire and opened the classic one"));
    }
    answer_framed(io, protocol, ours).await
}

async fn answer_framed(mut io: BoxIo, protocol: &Protocol, ours: &Settings) -> Result<FramedOpened, Error> {
    let theirs = read_settings(&mut io).await;
    write_framed_hello(&mut io, protocol, ours).await?;
    Ok(FramedOpened { theirs: understood(&mut io, theirs).await?, io })
}

async fn write_framed_hello(io: &mut BoxIo, protocol: &Protocol, ours: &Settings) -> Result<(), Error> {
    let mut settings = Vec::new();
    ours.encode(&mut settings);
    write_hello(io, protocol, Hello::framed(), &settings).await
}

/// Reads the settings and not a byte more: the first record may lie right behind them.
async fn read_settings(io: &mut BoxIo) -> Result<Settings, Error> {
    let cut = |error| failed("the peer closed before its settings were whole").with_source(error);
    let mut bytes = vec![0; 2];
    io.read_exact(&mut bytes).await.map_err(cut)?;
    let nonsense = |error| failed("the peer's settings make no sense").with_source(error);
    if let Some((settings, _)) = Settings::decode(&bytes).map_err(nonsense)? {
        return Ok(settings);
    }
    let length = usize::from(u16::from_le_bytes([bytes[0], bytes[1]]));
    bytes.resize(2 + length, 0);
    io.read_exact(&mut bytes[2..]).await.map_err(cut)?;
    let decoded = Settings::decode(&bytes).map_err(nonsense)?;
    decoded.map(|(settings, _)| settings).ok_or_else(|| failed("the peer's settings make no sense"))
}

/// Tells a peer whose settings make no sense so, in a last frame.
async fn understood(io: &mut BoxIo, theirs: Result<Settings, Error>) -> Result<Settings, Error> {
    if let Err(error) = &theirs
        && let Some(why) = error.source().and_then(|source| source.downcast_ref::<SettingsError>())
    {
        let (mut close, mut record) = (Vec::new(), Vec::new());
        put_close(&mut close, CloseCode::Settings, 0, &why.to_string());
        RecordEncoder::new(RecordCodec::None, 10).encode_raw(&close, &mut record);
        let told = async {
            io.write_all(&record).await?;
            io.shutdown().await
        };
        let _ = told.await; // It is over in any case.
    }
    theirs
}
