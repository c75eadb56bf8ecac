//! An HTTP client that sends exactly what it is told to and is strict about what comes back.

use std::io;

use testkit::wire::http::{read_bodiless_reply, read_reply};
use testkit::wire::{Error, HttpReply, HttpRequest};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::node::PATIENCE;

/// One connection.
pub(crate) struct Caller<S = TcpStream> {
    stream: S,
    received: Vec<u8>,
}

/// A request with a `Host`.
pub(crate) fn request(method: &str, target: &str) -> HttpRequest {
    HttpRequest::new(method, target).header("Host", "test")
}

/// The body as text.
pub(crate) fn body(reply: &HttpReply) -> String {
    String::from_utf8_lossy(&reply.body).into_owned()
}

impl Caller {
    pub(crate) async fn connect(address: &str) -> Caller {
        Caller::over(TcpStream::connect(address).await.expect("a connection"))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Caller<S> {
    pub(crate) fn over(stream: S) -> Caller<S> {
        Caller { stream, received: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).await.expect("sent");
    }

    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    /// Sends a request and reads its reply; `None` if the connection ends before it.
    pub(crate) async fn try_ask(&mut self, request: &HttpRequest) -> Option<HttpReply> {
        self.try_send(&request.bytes()).await.ok()?;
        self.try_reply(request.method == "HEAD").await
    }

    pub(crate) async fn ask(&mut self, request: &HttpRequest) -> HttpReply {
        self.try_ask(request).await.expect("a reply before the end of the connection")
    }

    pub(crate) async fn get(&mut self, target: &str) -> HttpReply {
        self.ask(&request("GET", target)).await
    }

    /// The next reply, an interim one too.
    pub(crate) async fn reply(&mut self) -> HttpReply {
        self.try_reply(false).await.expect("a reply before the end of the connection")
    }

    /// The next reply; `None` if the connection ends, or is reset, before the reply does.
    pub(crate) async fn try_reply(&mut self, bodiless: bool) -> Option<HttpReply> {
        loop {
            let read = if bodiless { read_bodiless_reply } else { read_reply };
            match read(&self.received) {
                Ok((reply, len)) => {
                    self.received.drain(..len);
                    return Some(reply);
                }
                Err(Error::Incomplete(_)) => match self.more().await {
                    Some(0) | None => return None,
                    Some(_) => {}
                },
                Err(bad) => panic!("{bad}: {}", self.received.escape_ascii()),
            }
        }
    }

    /// How many bytes have come; `None` after a reset.
    async fn more(&mut self) -> Option<usize> {
        self.received.reserve(64 * 1024);
        timeout(PATIENCE, self.stream.read_buf(&mut self.received)).await.expect("in time").ok()
    }
}
