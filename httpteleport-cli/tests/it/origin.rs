//! The HTTP server behind the proxy.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Collected, Full};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

/// An origin that answers:
///
/// * `/echo`: the request as it came, head and body, as text
/// * `/size/N`: N bytes
/// * `/chunked`: a body without a length
/// * `/head/N`: a reply with a field of N bytes
/// * `/none`: 204
/// * `/same`: 304 with the length of what it stands for
/// * `/hold`: only after [`Origin::let_go`]
pub(crate) struct Origin {
    pub(crate) address: String,
    shared: Arc<Shared>,
}

struct Shared {
    connections: AtomicUsize,
    /// A permit for each request that reached `/hold`.
    held: Semaphore,
    /// A permit for each that may go on.
    released: Semaphore,
}

impl Shared {
    fn new() -> Arc<Shared> {
        Arc::new(Shared { connections: AtomicUsize::new(0), held: Semaphore::new(0), released: Semaphore::new(0) })
    }
}

impl Origin {
    pub(crate) async fn start() -> Origin {
        Origin::on(TcpListener::bind("127.0.0.1:0").await.expect("a port"), None)
    }

    pub(crate) async fn tls(config: ServerConfig) -> Origin {
        Origin::on(TcpListener::bind("127.0.0.1:0").await.expect("a port"), Some(Arc::new(config)))
    }

    pub(crate) fn on(listener: TcpListener, tls: Option<Arc<ServerConfig>>) -> Origin {
        let address = listener.local_addr().expect("an address").to_string();
        let shared = Shared::new();
        let origin = Origin { address, shared: Arc::clone(&shared) };
        tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { return };
                match &tls {
                    None => serve(stream, &shared),
                    Some(config) => {
                        let (acceptor, shared) = (TlsAcceptor::from(Arc::clone(config)), Arc::clone(&shared));
                        tokio::spawn(async move {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(stream, &shared);
                            }
                        });
                    }
                }
            }
        });
        origin
    }

    pub(crate) fn unix(listener: UnixListener) -> Origin {
        let shared = Shared::new();
        let origin = Origin { address: String::new(), shared: Arc::clone(&shared) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                serve(stream, &shared);
            }
        });
        origin
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many connections it was opened.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Waits until one more request is being held.
    pub(crate) async fn holds(&self) {
        self.shared.held.acquire().await.expect("open").forget();
    }

    /// Answers one request that is held.
    pub(crate) fn let_go(&self) {
        self.shared.released.add_permits(1);
    }
}

fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(stream: S, shared: &Arc<Shared>) {
    shared.connections.fetch_add(1, Ordering::SeqCst);
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        let service = service_fn(move |request| {
            let shared = Arc::clone(&shared);
            async move { Ok::<_, Infallible>(answer(request, &shared).await) }
        });
        let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    });
}

async fn answer(request: Request<Incoming>, shared: &Shared) -> Response<BoxBody<Bytes, Infallible>> {
    let path = request.uri().path().to_owned();
    let number = || path.rsplit('/').next().and_then(|n| n.parse().ok()).expect("a number");
    if path == "/hold" {
        shared.held.add_permits(1);
        shared.released.acquire().await.expect("open").forget();
    }
    let full = |bytes: Vec<u8>| Full::new(Bytes::from(bytes)).boxed();
    match &path {
        path if path.starts_with("/size/") => Response::new(full(vec![b'x'; number()])),
        path if path.starts_with("/head/") => {
            Response::builder().header("x-long", "y".repeat(number())).body(full(Vec::new())).expect("a reply")
        }
        path if path == "/none" => Response::builder().status(204).body(full(Vec::new())).expect("a reply"),
        path if path == "/same" => {
            Response::builder().status(304).header("content-length", 77).body(full(Vec::new())).expect("a reply")
        }
        path if path == "/chunked" => Response::new(Pieces(3).boxed()),
        _ => Response::builder()
            .header("keep-alive", "timeout=7")
            .header("x-origin", "yes")
            .body(full(echo(request).await))
            .expect("a reply"),
    }
}

async fn echo(request: Request<Incoming>) -> Vec<u8> {
    let (parts, body) = request.into_parts();
    let mut text = format!("{} {} {:?}\n", parts.method, parts.uri, parts.version);
    for (name, value) in &parts.headers {
        text += &format!("{name}: {}\n", String::from_utf8_lossy(value.as_bytes()));
    }
    text.push('\n');
    let mut bytes = text.into_bytes();
    // Where it broke off, nobody is left to be told.
    bytes.extend(body.collect().await.map(Collected::to_bytes).unwrap_or_default());
    bytes
}

/// A body of so many pieces, its length not told.
struct Pieces(u32);

impl http_body::Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.0 == 0 {
            return std::task::Poll::Ready(None);
        }
        self.0 -= 1;
        std::task::Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"piece.")))))
    }
}
