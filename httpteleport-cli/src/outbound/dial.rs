//! Connections to HTTP upstreams.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::HeaderValue;
use hyper::client::conn::http1;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::connection::Connection;
use super::place::Place;
use super::stream::Stream;
use super::{one_line, plain};
use crate::balance::Load;
use crate::endpoint::Address;
use crate::io::HyperIo;
use crate::metrics::counted::Counted;
use crate::metrics::traffic::Output;

/// Makes connections to one upstream.
pub(super) struct Dialer {
    address: Address,
    tls: Option<(TlsConnector, ServerName<'static>)>,
    /// What a request of ours says that it is for.
    host: HeaderValue,
    http: http1::Builder,
    open: Arc<AtomicUsize>,
    output: Arc<Output>,
}

impl Dialer {
    /// A dialer for the place; `tls` is used when its scheme asks for TLS.
    ///
    /// # Errors
    ///
    /// The place's host cannot be the name of a certificate.
    pub(super) fn new(place: &Place, tls: Option<Arc<ClientConfig>>, max_head: usize) -> anyhow::Result<Dialer> {
        let tls = match (place.server_name(), tls) {
            (Some(host), Some(config)) => {
                let name = ServerName::try_from(host.to_owned())
                    .map_err(|_| anyhow::anyhow!("--out {place}: {host:?} cannot be the name in a certificate"))?;
                Some((TlsConnector::from(config), name))
            }
            _ => None,
        };
        let mut http = http1::Builder::new();
        http.max_header_size(max_head).title_case_headers(true);
        Ok(Dialer {
            address: place.endpoint.address.clone(),
            tls,
            host: host(place),
            http,
            open: Arc::default(),
            output: Arc::default(),
        })
    }

    /// The `Host` of a request that is for the upstream itself.
    pub(super) fn host(&self) -> HeaderValue {
        self.host.clone()
    }

    /// What they carry, and how often one was opened.
    pub(super) fn output(&self) -> &Output {
        &self.output
    }

    /// Connections that are open.
    pub(super) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Connects, with TLS if need be. The error is one line.
    pub(super) async fn dial(&self) -> Result<Box<Connection>, String> {
        self.output.dial(self.connect()).await
    }

    async fn connect(&self) -> Result<Box<Connection>, String> {
        let stream = match &self.address {
            Address::Unix(path) => Stream::Unix(HyperIo::new(self.counted(connect_unix(path).await?))),
            Address::Tcp { host, port } => {
                let stream = TcpStream::connect((host.as_str(), *port)).await.map_err(|error| plain(&error))?;
                stream.set_nodelay(true).map_err(|error| plain(&error))?;
                let stream = self.counted(stream);
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
        Ok(Connection::new(sender, driver, Load::of(&self.open)))
    }
}

impl Dialer {
    fn counted<S>(&self, stream: S) -> Counted<S, Output> {
        Counted::new(stream, Arc::clone(&self.output))
    }
}

fn host(place: &Place) -> HeaderValue {
    let text = match (&place.endpoint.address, place.server_name()) {
        (Address::Tcp { port, .. }, Some(host)) if host.contains(':') => format!("[{host}]:{port}"),
        (Address::Tcp { port, .. }, Some(host)) => format!("{host}:{port}"),
        _ => "localhost".to_owned(),
    };
    HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("localhost"))
}

async fn connect_unix(path: &Path) -> Result<UnixStream, String> {
    UnixStream::connect(path).await.map_err(|error| plain(&error))
}

fn tls_error(error: &io::Error) -> String {
    format!("TLS: {}", one_line(error))
}
