//! Requests to an authority.

use std::error::Error as StdError;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::uri::Scheme;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

/// For one request, whole.
const PATIENCE: Duration = Duration::from_secs(30);
/// Most bytes of a reply.
const LARGEST: usize = 1 << 20;

/// Makes each request on a connection of its own: there are few, and far between.
pub(super) struct Http(pub(super) Arc<ClientConfig>);

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let tls = TlsConnector::from(Arc::clone(&self.0));
        Box::pin(async move {
            match timeout(PATIENCE, send(tls, request)).await {
                Ok(Ok(reply)) => Ok(BytesResponse::from(reply)),
                Ok(Err(error)) => Err(Error::Other(error)),
                Err(_) => Err(Error::Other("the authority did not answer in time".into())),
            }
        })
    }
}

async fn send(
    tls: TlsConnector,
    mut request: Request<BodyWrapper<Bytes>>,
) -> Result<Response<Full<Bytes>>, Box<dyn StdError + Send + Sync>> {
    let uri = std::mem::take(request.uri_mut());
    let authority =
        uri.authority().filter(|_| uri.scheme() == Some(&Scheme::HTTPS)).ok_or("its URLs have to be https")?;
    request.headers_mut().insert(HOST, HeaderValue::from_str(authority.as_str())?);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = Uri::try_from(path)?;

    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((host, authority.port_u16().unwrap_or(443))).await?;
    let stream = tls.connect(ServerName::try_from(host.to_owned())?, stream).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let _connection = AbortOnDropHandle::new(tokio::spawn(connection));
    let (head, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, LARGEST).collect().await?.to_bytes();
    Ok(Response::from_parts(head, Full::new(body)))
}
