//! Connections to HTTP upstreams.

use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::{one_line, plain};
use crate::endpoint::{Address, Endpoint};

/// The sending half of one HTTP/1.1 connection.
pub(super) type Sender = http1::SendRequest<Full<Bytes>>;

/// Makes connections to one upstream.
pub(super) struct Dialer {
    address: Address,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    http: http1::Builder,
}

impl Dialer {
    /// A dialer for the endpoint; `tls` is used when its scheme asks for TLS.
    ///
    /// # Errors
    ///
    /// The endpoint's host cannot be the name of a certificate.
    pub(super) fn new(endpoint: &Endpoint, tls: Option<Arc<ClientConfig>>, max_head: usize) -> anyhow::Result<Dialer> {
        let tls = match (&endpoint.address, tls) {
            (Address::Tcp { host, .. }, Some(config)) => {
                let name = ServerName::try_from(host.clone())
                    .map_err(|_| anyhow::anyhow!("--out {endpoint}: {host:?} cannot be the name in a certificate"))?;
                Some((TlsConnector::from(config), name))
            }
            _ => None,
        };
        let mut http = http1::Builder::new();
        http.max_header_size(max_head).title_case_headers(true);
        Ok(Dialer { address: endpoint.address.clone(), tls, http })
    }

    /// Connects, with TLS if need be; the connection is driven by a task of its own. The error is one line.
    pub(super) async fn dial(&self) -> Result<Sender, String> {
        match &self.address {
            Address::Unix(path) => {
                let stream = connect_unix(path).await?;
                self.handshake(stream).await
            }
            Address::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(|error| plain(&error))?;
                stream.set_nodelay(true).map_err(|error| plain(&error))?;
                match &self.tls {
                    None => self.handshake(stream).await,
                    Some((connector, name)) => {
                        let stream =
                            connector.connect(name.clone(), stream).await.map_err(|error| tls_error(&error))?;
                        self.handshake(stream).await
                    }
                }
            }
        }
    }

    async fn handshake<S>(&self, stream: S) -> Result<Sender, String>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = self.http.handshake(TokioIo::new(stream)).await.map_err(|error| one_line(&error))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("connection to an upstream ended: {}", one_line(&error));
            }
        });
        Ok(sender)
    }
}

async fn connect_unix(path: &Path) -> Result<UnixStream, String> {
    UnixStream::connect(path).await.map_err(|error| plain(&error))
}

fn tls_error(error: &io::Error) -> String {
    format!("TLS: {}", one_line(error))
}
