//! Connections to HTTP upstreams.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fastrpc::internals::LastWords;
use http::HeaderValue;
use hyper::client::conn::http1;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;

use super::connection::Connection;
use super::greeting::Greeting;
use super::http2::{self, Two};
use super::introduce::{self, Introduced, Version};
use super::one_line;
use super::place::Place;
use super::stream::Stream;
use super::undialled::{self, Undialled};
use crate::balance::Load;
use crate::endpoint::{Address, Scheme};
use crate::io::HyperIo;
use crate::metrics::counted::Counted;
use crate::metrics::traffic::Output;
use crate::tls::{self, HTTP_1_1, HTTP_2};

/// A new connection.
pub(super) enum Spoken {
    /// That speaks HTTP/1.1.
    One(Box<Connection>),
    /// That speaks HTTP/2.
    Two(Two),
}

/// What TLS takes.
struct Tls {
    /// Offers HTTP/2 and HTTP/1.1.
    either: TlsConnector,
    /// Offers HTTP/1.1.
    one: TlsConnector,
    name: ServerName<'static>,
}

/// Makes connections to one upstream.
pub(super) struct Dialer {
    address: Address,
    tls: Option<Tls>,
    /// Without TLS: HTTP/2.
    two: bool,
    /// What a request of ours says that it is for.
    host: HeaderValue,
    http: http1::Builder,
    max_head: usize,
    /// The PROXY header that connections begin with.
    introduce: Option<Version>,
    open: Arc<AtomicUsize>,
    output: Arc<Output>,
}

impl Dialer {
    /// A dialer for the place; `tls` is used when its scheme asks for TLS.
    ///
    /// # Errors
    ///
    /// The place's host cannot be the name of a certificate.
    pub(super) fn new(place: &Place, tls: Option<tls::Client>, max_head: usize) -> anyhow::Result<Dialer> {
        let tls = match tls {
            Some(client) => {
                let name = client.server_name(place)?;
                let mut one = ClientConfig::clone(&client.config);
                one.alpn_protocols = vec![HTTP_1_1.to_vec()];
                Some(Tls { either: TlsConnector::from(client.config), one: TlsConnector::from(Arc::new(one)), name })
            }
            None => None,
        };
        let two = place.endpoint.scheme == Scheme::H2c;
        let mut http = http1::Builder::new();
        http.max_header_size(max_head).title_case_headers(true);
        Ok(Dialer {
            address: place.endpoint.address.clone(),
            tls,
            two,
            host: host(place),
            http,
            max_head,
            introduce: None,
            open: Arc::default(),
            output: Arc::default(),
        })
    }

    /// Makes connections begin with a PROXY header.
    pub(super) fn introducing(&mut self, version: Option<Version>) {
        self.introduce = version;
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

    /// Connects, with TLS if need be; that tells what the upstream speaks.
    pub(super) async fn dial(&self) -> Result<Spoken, Undialled> {
        self.output.dial(self.dial_either()).await
    }

    async fn dial_either(&self) -> Result<Spoken, Undialled> {
        let (stream, two) = self.connect(self.tls.as_ref().map(|tls| &tls.either), None).await?;
        if two {
            return http2::handshake(stream, self.max_head, Load::of(&self.open)).await.map(Spoken::Two);
        }
        self.speak_one(stream).await.map(Spoken::One)
    }

    /// The same, to speak HTTP/1.1, for a client that the upstream may have to be told of.
    pub(super) async fn dial_one(&self, whom: Option<Introduced>) -> Result<Box<Connection>, Undialled> {
        let dial = async {
            let (stream, two) = self.connect(self.tls.as_ref().map(|tls| &tls.one), whom).await?;
            let only_two = "it speaks HTTP/2 alone";
            if two { Err(Undialled::new(only_two, only_two)) } else { self.speak_one(stream).await }
        };
        self.output.dial(dial).await
    }

    /// A stream, and whether HTTP/2 is to be spoken on it.
    async fn connect(
        &self,
        connector: Option<&TlsConnector>,
        whom: Option<Introduced>,
    ) -> Result<(Stream, bool), Undialled> {
        let (host, port) = match &self.address {
            Address::Unix(path) => {
                let mut stream = self.counted(UnixStream::connect(path).await.map_err(|error| self.failed(&error))?);
                self.introduce(&mut stream, whom).await?;
                return Ok((Stream::Unix(HyperIo::new(stream)), false));
            }
            Address::Tcp { host, port } => (host, *port),
        };
        let stream = TcpStream::connect((host.as_str(), port)).await.map_err(|error| self.failed(&error))?;
        stream.set_nodelay(true).map_err(|error| self.failed(&error))?;
        let mut stream = self.counted(stream);
        self.introduce(&mut stream, whom).await?;
        let Some((connector, tls)) = connector.zip(self.tls.as_ref()) else {
            let of_two = |stream| Stream::Two(HyperIo::new(Greeting::new(stream)));
            return Ok((if self.two { of_two(stream) } else { Stream::Tcp(HyperIo::new(stream)) }, self.two));
        };
        let stream = connector.connect(tls.name.clone(), stream).await.map_err(|error| undialled::tls(&error))?;
        let two = stream.get_ref().1.alpn_protocol() == Some(HTTP_2);
        Ok((Stream::Tls(Box::new(HyperIo::new(LastWords::new(stream)))), two))
    }

    fn counted<S>(&self, stream: S) -> Counted<S, Output> {
        Counted::new(stream, Arc::clone(&self.output))
    }

    /// Says first whose connection it is.
    async fn introduce(
        &self,
        stream: &mut (impl AsyncWrite + Unpin),
        whom: Option<Introduced>,
    ) -> Result<(), Undialled> {
        let Some(version) = self.introduce else { return Ok(()) };
        stream.write_all(&introduce::header(version, whom)).await.map_err(|error| self.failed(&error))
    }

    fn failed(&self, error: &io::Error) -> Undialled {
        Undialled::of_io(error, &self.address)
    }

    async fn speak_one(&self, stream: Stream) -> Result<Box<Connection>, Undialled> {
        let opened = self.http.handshake(stream).await;
        let (sender, driver) = opened.map_err(|error| Undialled::new("no HTTP", one_line(&error)))?;
        Ok(Connection::new(sender, driver, Load::of(&self.open)))
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
