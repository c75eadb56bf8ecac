//! The origin at the end of the line: strict, and it remembers every request that reached it.

use std::sync::{Arc, Mutex};

use testkit::wire::http::read_request;
use testkit::wire::{Error, HttpReply, HttpRequest};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use crate::node::{Certificates, Files, text};

/// What an origin does about a request.
pub(crate) enum Answer {
    /// These bytes, and the connection stays.
    Bytes(Vec<u8>),
    /// These bytes, then the end of the connection.
    Last(Vec<u8>),
}

type Script = dyn Fn(&HttpRequest) -> Answer + Send + Sync;

/// An origin in this process. Requests to `/hold...` wait for [`Origin::let_go`] before they are answered.
pub(crate) struct Origin {
    /// What `--out` takes.
    pub(crate) url: String,
    shared: Arc<Shared>,
}

struct Shared {
    script: Box<Script>,
    requests: Mutex<Vec<HttpRequest>>,
    /// What came and was no request.
    nonsense: Mutex<Vec<String>>,
    held: Semaphore,
    released: Semaphore,
}

impl Shared {
    fn new(script: impl Fn(&HttpRequest) -> Answer + Send + Sync + 'static) -> Arc<Shared> {
        Arc::new(Shared {
            script: Box::new(script),
            requests: Mutex::default(),
            nonsense: Mutex::default(),
            held: Semaphore::new(0),
            released: Semaphore::new(0),
        })
    }
}

impl Origin {
    /// One that answers with [`echo`], over TCP.
    pub(crate) async fn start() -> Origin {
        Origin::scripted(echo).await
    }

    pub(crate) async fn scripted(script: impl Fn(&HttpRequest) -> Answer + Send + Sync + 'static) -> Origin {
        Origin::on(TcpListener::bind("127.0.0.1:0").await.expect("a port"), script)
    }

    /// The same where somebody else has bound it.
    pub(crate) fn on(listener: TcpListener, script: impl Fn(&HttpRequest) -> Answer + Send + Sync + 'static) -> Origin {
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let shared = Shared::new(script);
        let origin = Origin { url, shared: Arc::clone(&shared) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        origin
    }

    /// The same over TLS.
    pub(crate) async fn tls(certificates: &Certificates) -> Origin {
        Origin::tls_scripted(certificates, echo).await
    }

    pub(crate) async fn tls_scripted(
        certificates: &Certificates,
        script: impl Fn(&HttpRequest) -> Answer + Send + Sync + 'static,
    ) -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("https://{}", listener.local_addr().expect("an address"));
        let acceptor = TlsAcceptor::from(certificates.identity.server_config());
        let shared = Shared::new(script);
        let origin = Origin { url, shared: Arc::clone(&shared) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, shared) = (acceptor.clone(), Arc::clone(&shared));
                tokio::spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        serve(stream, shared).await;
                    }
                });
            }
        });
        origin
    }

    /// The same on a unix socket.
    pub(crate) fn unix(files: &Files) -> Origin {
        let path = files.path("origin");
        let listener = UnixListener::bind(&path).expect("a socket");
        let shared = Shared::new(echo);
        let origin = Origin { url: format!("unix:{}", text(&path)), shared: Arc::clone(&shared) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        origin
    }

    /// All requests so far.
    ///
    /// # Panics
    ///
    /// Something came that was no request.
    pub(crate) fn requests(&self) -> Vec<HttpRequest> {
        let nonsense = self.shared.nonsense.lock().expect("no panic");
        assert!(nonsense.is_empty(), "no request: {nonsense:?}");
        self.shared.requests.lock().expect("no panic").clone()
    }

    /// The request that came last.
    pub(crate) fn last(&self) -> HttpRequest {
        self.requests().pop().expect("a request")
    }

    /// Waits until one more request is being held.
    pub(crate) async fn holds(&self) {
        self.shared.held.acquire().await.expect("open").forget();
    }

    /// Answers so many requests that are or will be held.
    pub(crate) fn let_go(&self, count: usize) {
        self.shared.released.add_permits(count);
    }
}

/// The body comes back; without one, the method and the target do.
pub(crate) fn echo(request: &HttpRequest) -> Answer {
    let body = if request.body.is_empty() {
        format!("{} {}", request.method, request.target).into()
    } else {
        request.body.clone()
    };
    let mut reply = HttpReply::new(200, "OK").header("Content-Type", "text/plain").body(&body);
    if request.method == "HEAD" {
        reply.body.clear();
    }
    Answer::Bytes(reply.bytes())
}

async fn serve<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S, shared: Arc<Shared>) {
    let mut received = Vec::new();
    loop {
        match read_request(&received) {
            Ok((request, len)) => {
                received.drain(..len);
                shared.requests.lock().expect("no panic").push(request.clone());
                if request.target.starts_with("/hold") {
                    shared.held.add_permits(1);
                    shared.released.acquire().await.expect("open").forget();
                }
                let (bytes, last) = match (shared.script)(&request) {
                    Answer::Bytes(bytes) => (bytes, false),
                    Answer::Last(bytes) => (bytes, true),
                };
                if stream.write_all(&bytes).await.is_err() || stream.flush().await.is_err() || last {
                    let _ = stream.shutdown().await;
                    return;
                }
            }
            Err(Error::Incomplete(_)) => {
                received.reserve(64 * 1024);
                if !matches!(stream.read_buf(&mut received).await, Ok(1..)) {
                    return;
                }
            }
            Err(bad) => {
                let what = format!("{bad}: {}", received.escape_ascii());
                shared.nonsense.lock().expect("no panic").push(what);
                return;
            }
        }
    }
}
