//! From a stream of bytes to a framed connection.

use std::sync::Arc;

use tokio_rustls::rustls::ServerConfig;

use super::{Caller, Driver, NoCalls, Options, Serve};
use crate::error::Error;
use crate::io::BoxIo;
use crate::mux::framed::Role;
use crate::mux::handshake::framed::{self, ServerOpened, Tried};
use crate::mux::handshake::{ClientTls, Opened};
use crate::wire::compress::Compression;
use crate::wire::hello::Protocol;

/// What became of a client's attempt.
pub enum Connected {
    /// The peer speaks the framed wire. Nothing moves until the driver is polled.
    Framed(Caller, Box<Driver<NoCalls>>),
    /// The peer answered with a whole hello of the classic wire: dial again and speak that.
    Classic,
    /// The peer ended the connection before the first byte of TLS: try the classic wire, whose hello will tell.
    NoTls,
}

/// Opens a framed connection as its client.
///
/// # Errors
///
/// The peer cannot be understood, or took too long.
pub async fn connect(
    io: BoxIo,
    protocol: &Protocol,
    options: Options,
    tls: Option<&ClientTls>,
) -> Result<Connected, Error> {
    let (options, reserved) = options.fit();
    let tried = framed::client(io, protocol, &options.settings, tls, options.handshake_timeout).await?;
    Ok(match tried {
        Tried::Framed(opened) => {
            let (caller, mut driver) = Driver::new(Role::Client, opened.io, options, opened.theirs, NoCalls);
            driver.hold(reserved);
            Connected::Framed(caller, Box::new(driver))
        }
        Tried::Classic => Connected::Classic,
        Tried::NoTls => Connected::NoTls,
    })
}

/// What a server was opened with.
pub enum Accepted<S> {
    /// The client speaks the framed wire. Nothing moves until the driver is polled.
    Framed(Box<Driver<S>>),
    /// The client speaks the classic wire.
    Classic(Opened),
}

/// Opens a connection of either wire as its server; `serve` answers the calls of a framed one. Without a `compression` for the
/// classic wire, that is not spoken.
///
/// # Errors
///
/// The peer cannot be understood, wants what this port does not do, or took too long.
pub async fn accept<S: Serve>(
    io: BoxIo,
    protocol: &Protocol,
    compression: impl Into<Option<Compression>>,
    options: Options,
    tls: Option<Arc<ServerConfig>>,
    serve: S,
) -> Result<Accepted<S>, Error> {
    let (options, reserved) = options.fit();
    let limit = options.handshake_timeout;
    let opened = framed::server(io, protocol, compression, Some(&options.settings), tls, limit).await?;
    Ok(match opened {
        ServerOpened::Framed(opened) => {
            let (_, mut driver) = Driver::new(Role::Server, opened.io, options, opened.theirs, serve);
            driver.hold(reserved);
            Accepted::Framed(Box::new(driver))
        }
        ServerOpened::Classic(opened) => Accepted::Classic(opened),
    })
}
