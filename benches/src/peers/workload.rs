//! What every peer carries: the workload of the Go original's benchmarks.

use std::io;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, HeaderValue};
use http::{Response, StatusCode, Uri};
use serde::{Deserialize, Serialize};
use tokio::net::{TcpListener, TcpStream};

use super::BoxError;
pub use crate::workload::REPLY;

/// So far that it never comes, yet every call carries it where its library has such a thing.
pub(super) const HOUR: Duration = Duration::from_secs(3600);

/// What RPC peers are asked; the type is the same for all, whatever puts it into bytes.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, prost::Message)]
pub struct Question {
    /// Empty, as in the benchmarks of the Go original: peers route by means of their own.
    #[prost(string, tag = "1")]
    pub name: String,
    /// What is asked.
    #[prost(string, tag = "2")]
    pub value: String,
}

impl Question {
    /// The question of every call.
    #[must_use]
    pub fn usual() -> Self {
        Self { name: String::new(), value: "foobar".to_owned() }
    }
}

/// What RPC peers answer.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize, prost::Message)]
pub struct Answer {
    /// The answer.
    #[prost(string, tag = "1")]
    pub value: String,
}

impl Answer {
    /// The answer to every call.
    #[must_use]
    pub fn usual() -> Self {
        Self { value: REPLY.to_owned() }
    }
}

impl AsRef<[u8]> for Answer {
    fn as_ref(&self) -> &[u8] {
        self.value.as_bytes()
    }
}

/// The HTTP request of every call, `GET /foo/bar` from `foobar`, with what costs to parse made ready.
#[derive(Clone)]
pub(super) struct Get {
    uri: Uri,
    host: Option<HeaderValue>,
}

impl Get {
    /// With the host in its header, as HTTP/1.1 has it.
    pub(super) fn with_host_header() -> Self {
        Self { uri: Uri::from_static("/foo/bar"), host: Some(HeaderValue::from_static("foobar")) }
    }

    /// With the host in the URI, as HTTP/2 has it.
    pub(super) fn with_authority() -> Self {
        Self { uri: Uri::from_static("http://foobar/foo/bar"), host: None }
    }

    /// One request.
    pub(super) fn request<B>(&self, body: B) -> http::Request<B> {
        let mut request = http::Request::new(body);
        request.uri_mut().clone_from(&self.uri);
        if let Some(host) = &self.host {
            request.headers_mut().insert(HOST, host.clone());
        }
        request
    }
}

/// The HTTP response of every call.
pub(super) fn response<B: From<Bytes>>() -> Response<B> {
    let mut response = Response::new(B::from(Bytes::from_static(REPLY.as_bytes())));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

/// Says no to a response that is not the one above; its body is looked at by the caller.
pub(super) fn check_head<B>(response: &Response<B>) -> Result<(), BoxError> {
    if response.status() != StatusCode::OK || !response.headers().contains_key(CONTENT_TYPE) {
        return Err(format!("the response is {} with {:?}", response.status(), response.headers()).into());
    }
    Ok(())
}

/// A listener on the loopback that accepts what is sent to the address.
pub(super) async fn listen() -> io::Result<(TcpListener, String)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?.to_string();
    Ok((listener, address))
}

/// Both ends of one connection to `listener`, near and far, neither waiting for full packets.
pub(super) async fn connect(listener: &TcpListener, address: &str) -> io::Result<(TcpStream, TcpStream)> {
    let (near, accepted) = tokio::try_join!(TcpStream::connect(address), listener.accept())?;
    let (far, _) = accepted;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    Ok((near, far))
}
