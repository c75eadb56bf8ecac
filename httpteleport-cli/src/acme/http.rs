//! Requests to an authority.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::uri::Scheme;
use http_body_util::Full;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::ClientConfig;
use tokio::time::timeout;

use crate::fetch::fetch;

/// For one request, whole.
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes them.
pub(super) struct Http(pub(super) Arc<ClientConfig>);

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let tls = Arc::clone(&self.0);
        Box::pin(async move {
            if request.uri().scheme() != Some(&Scheme::HTTPS) {
                return Err(Error::Other("its URLs have to be https".into()));
            }
            match timeout(PATIENCE, fetch(Some(&tls), request)).await {
                Ok(Ok(reply)) => Ok(BytesResponse::from(reply.map(Full::new))),
                Ok(Err(error)) => Err(Error::Other(error)),
                Err(_) => Err(Error::Other("the authority did not answer in time".into())),
            }
        })
    }
}
