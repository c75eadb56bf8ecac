//! What an idle connection costs a running httptp in memory.
//!
//! A process is started, asked once, and its memory noted; then many connections are opened, each is used once and kept,
//! and its memory noted again. The difference for each of them is what an idle connection holds.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use httpteleport::{Body, Client, Compression, Limits};
use serde_json::json;
use tempfile::TempDir;
use testkit::tls::Ca;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::process::memory;
use crate::proxy::hop::{origin, start_httptp};
use crate::workload::REPLY_BYTES;

/// A connection that was used a moment ago is not idle yet: a program may do something about those that rest.
const AT_REST: Duration = Duration::from_secs(4);

/// What clients speak to the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// HTTP/1.1, kept alive.
    Http,
    /// The same over TLS.
    Https,
    /// Teleport without compression.
    Teleport,
    /// Teleport with the default compression both ways, whose state grows with use.
    TeleportFlate,
}

impl Kind {
    /// Every kind, in the order they are printed.
    pub const ALL: [Self; 4] = [Self::Http, Self::Https, Self::Teleport, Self::TeleportFlate];

    /// The name of its row.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "proxy/idle/http",
            Self::Https => "proxy/idle/https",
            Self::Teleport => "proxy/idle/teleport",
            Self::TeleportFlate => "proxy/idle/teleport-flate",
        }
    }

    fn compression(self) -> Compression {
        if self == Self::TeleportFlate { Compression::Flate } else { Compression::None }
    }

    fn scheme(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Teleport | Self::TeleportFlate => "teleport",
        }
    }
}

/// One measurement.
#[derive(Clone, Copy, Debug)]
pub struct Idle {
    /// What was connected.
    pub kind: Kind,
    /// Connections that were open and idle.
    pub connections: usize,
    /// Bytes of the process's memory for each.
    pub bytes_each: f64,
}

impl Idle {
    /// One JSON object on one line.
    #[must_use]
    pub fn json(&self) -> String {
        json!({
            "name": self.kind.name(),
            "connections": self.connections,
            "bytes_per_connection": self.bytes_each.round(),
        })
        .to_string()
    }
}

/// An open connection; what it is does not matter any more.
type Kept = Box<dyn Send>;

/// Measures `connections` idle connections of `kind` to an httptp of its own, which is gone afterwards.
///
/// # Errors
///
/// A connection or a request fails: one line.
pub async fn measure(program: &Path, kind: Kind, connections: usize) -> Result<Idle, String> {
    let origin = origin();
    let identity = Identity::new();
    let out = format!("http://{}", origin.authority());
    let mut options = Vec::new();
    if kind == Kind::Https {
        options.extend(identity.options());
    }
    if kind.scheme() == "teleport" {
        options.extend([
            "--wire".to_owned(),
            "classic".to_owned(),
            "--in-compress".to_owned(),
            kind.compression().to_string(),
        ]);
    }
    let (process, address) = start_httptp(program, kind.scheme(), &out, &options);
    let told = |error: std::io::Error| format!("{}: {error}", kind.name());
    let mut kept = vec![open(kind, address, &identity).await.map_err(told)?];
    let before = memory(process.id()).map_err(told)?;
    for _ in 0..connections {
        kept.push(open(kind, address, &identity).await.map_err(told)?);
    }
    tokio::time::sleep(AT_REST).await;
    let grown = memory(process.id()).map_err(told)?.saturating_sub(before);
    Ok(Idle { kind, connections, bytes_each: grown as f64 / connections as f64 })
}

/// Opens a connection and uses it once, so that whatever is allocated on first use is there.
async fn open(kind: Kind, address: SocketAddr, identity: &Identity) -> std::io::Result<Kept> {
    match kind {
        Kind::Http => ask(TcpStream::connect(address).await?).await,
        Kind::Https => {
            let stream = TcpStream::connect(address).await?;
            ask(identity.connector.connect("bench".try_into().expect("a name"), stream).await?).await
        }
        Kind::Teleport | Kind::TeleportFlate => teleport(kind, address).await.map_err(std::io::Error::other),
    }
}

/// One request, and its whole reply.
async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) -> std::io::Result<Kept> {
    stream.write_all(b"GET /foo/bar HTTP/1.1\r\nHost: foobar\r\n\r\n").await?;
    let mut reply = Vec::new();
    let length = loop {
        stream.read_buf(&mut reply).await?;
        if let Some(head) = reply.windows(4).position(|end| end == b"\r\n\r\n") {
            break head + 4 + REPLY_BYTES;
        }
    };
    while reply.len() < length {
        if stream.read_buf(&mut reply).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Box::new(stream))
}

async fn teleport(kind: Kind, address: SocketAddr) -> Result<Kept, Box<dyn std::error::Error + Send + Sync>> {
    let client = Client::builder(Limits::default())
        .wire(httpteleport::Wire::Classic)
        .compression(kind.compression())
        .connect(&address.to_string())?;
    let request = http::Request::get("http://foobar/foo/bar").body(Body::empty())?;
    let reply = client.call(request).await?;
    if reply.body().len() != REPLY_BYTES {
        return Err(format!("the reply is not the origin's: {reply:?}").into());
    }
    Ok(Box::new(client))
}

/// A certificate for the process and a client that trusts it.
struct Identity {
    folder: TempDir,
    connector: TlsConnector,
}

impl Identity {
    fn new() -> Self {
        let authority = Ca::new();
        let identity = authority.issue(&["bench"]);
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, pem) in [("cert.pem", &identity.cert_pem), ("key.pem", &identity.key_pem)] {
            std::fs::write(folder.path().join(name), pem).expect("a file in a folder of ours");
        }
        Self { folder, connector: TlsConnector::from(authority.client_config()) }
    }

    fn options(&self) -> [String; 4] {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        ["--in-tls-cert".to_owned(), path("cert.pem"), "--in-tls-key".to_owned(), path("key.pem")]
    }
}
