//! Connections to HTTP upstreams.

use std::io;
use std::path::Path;
use std::sync::Arc;

use hyper::client::conn::http1;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::connection::Connection;
use super::stream::Stream;
use super::{one_line, plain};
use crate::endpoint::{Address, Endpoint};
use crate::io::HyperIo;

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

    /// Connects, with TLS if need be. The error is one line.
    pub(super) async fn dial(&self) -> Result<Box<Connection>, String> {
        let stream = match &self.address {
            Address::Unix(path) => Stream::Unix(HyperIo::new(connect_unix(path).await?)),
            Address::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(|error| plain(&error))?;
                stream.set_nodelay(true).map_err(|error| plain(&error))?;
                match &self.tls {
                    None => Stream::Tcp(HyperIo::new(stream)),
                    Some((connector, name)) => {
                        let stream = connector.connect(name.clone(), stream).await;
                        Stream::Tls(Box::new(HyperIo::new(stream.map_err(|error| tls_error(&error))?)))
                    }
                }
            }
        };
        let (sender, driver) = self.http.handshake(stream).await.map_err(|error| one_line(&error))?;
        Ok(Connection::new(sender, driver))
    }
}

async fn connect_unix(path: &Path) -> Result<UnixStream, String> {
    UnixStream::connect(path).await.map_err(|error| plain(&error))
}

fn tls_error(error: &io::Error) -> String {
    format!("TLS: {}", one_line(error))
}
