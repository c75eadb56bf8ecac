//! Requests of this program itself, few and far between: each on a connection of its own.

use std::error::Error as StdError;
use std::sync::Arc;

use bytes::Bytes;
use http::header::HOST;
use http::uri::Scheme;
use http::{HeaderValue, Request, Response, Uri};
use http_body::Body;
use http_body_util::{BodyExt as _, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

/// Most bytes of a reply.
const LARGEST: usize = 1 << 20;

type BoxError = Box<dyn StdError + Send + Sync>;

/// Makes a request to an `http` URL, or with `tls` to an `https` one, and reads the reply whole. It waits as long as the server lets
/// it: bound the time outside. Cancel safe: nothing is left of it.
///
/// # Errors
///
/// There is no connection, no reply, or one that is over 1 MiB.
pub(crate) async fn fetch<B>(
    tls: Option<&Arc<ClientConfig>>,
    mut request: Request<B>,
) -> Result<Response<Bytes>, BoxError>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let uri = std::mem::take(request.uri_mut());
    let authority = uri.authority().ok_or("its URL has no host")?;
    request.headers_mut().insert(HOST, HeaderValue::from_str(authority.as_str())?);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = Uri::try_from(path)?;

    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let is_tls = uri.scheme() == Some(&Scheme::HTTPS);
    let port = authority.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let stream = TcpStream::connect((host, port)).await?;
    if !is_tls {
        return over(stream, request).await;
    }
    let tls = TlsConnector::from(Arc::clone(tls.ok_or("there is no TLS for it")?));
    let name = ServerName::try_from(host.to_owned())?;
    over(tls.connect(name, stream).await?, request).await
}

async fn over<B>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<B>,
) -> Result<Response<Bytes>, BoxError>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, LARGEST).collect().await?.to_bytes();
    Ok(Response::from_parts(head, body))
}
