//! Client and server of a row, joined by in-memory pipes.

use std::time::Duration;

use bytes::Bytes;
use fastrpc::Dispatch;
use fastrpc::codec::tlv::{self, Tlv};
use http::Uri;
use http::header::{CONTENT_TYPE, HeaderValue};
use httpteleport::{Body, Lazy, lazy};
#[cfg(feature = "tls")]
use testkit::tls::Ca;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::rows::{CONNECTIONS, Carried, Row};

/// Bytes that one direction of a pipe holds.
const PIPE: usize = 256 * 1024;
/// The reply of every call.
pub const REPLY_BYTES: usize = 261;
/// So far that it never comes, yet every call carries it.
const HOUR: Duration = Duration::from_secs(3600);

/// Accepts the server ends of pipes.
pub struct PipeListener(mpsc::Receiver<DuplexStream>);

impl fastrpc::Listener for PipeListener {
    type Io = DuplexStream;

    async fn accept(&mut self) -> std::io::Result<(DuplexStream, Option<std::net::SocketAddr>)> {
        self.0.recv().await.map(|stream| (stream, None)).ok_or_else(|| std::io::ErrorKind::NotConnected.into())
    }
}

/// A client and its server for one row.
#[derive(Clone)]
pub enum Pair {
    /// TLV over fastrpc.
    Tlv {
        /// Its client.
        client: fastrpc::Client<Tlv>,
        /// Sent over and over.
        request: tlv::Request,
        /// Fire and forget.
        one_way: bool,
        /// An hour from the start.
        deadline: Instant,
    },
    /// The same with lazy heads.
    Lazy {
        /// Its client.
        client: httpteleport::Client<Lazy>,
        /// Sent over and over.
        request: lazy::Request,
        /// An hour from the start.
        deadline: Instant,
    },
    /// HTTP over httpteleport.
    Http {
        /// Its client.
        client: httpteleport::Client,
        /// An hour from the start.
        deadline: Instant,
    },
}

impl Pair {
    /// Starts the server and makes the client, inside the runtime.
    ///
    /// # Panics
    ///
    /// When a setting of the row is unusable.
    #[must_use]
    pub fn start(row: &Row) -> Self {
        let (ends, listener) = mpsc::channel(CONNECTIONS);
        let listener = PipeListener(listener);
        let deadline = Instant::now() + HOUR;
        let dial = move || {
            let (near, far) = tokio::io::duplex(PIPE);
            let sent = ends.try_send(far).map_err(|_| std::io::ErrorKind::ConnectionRefused.into());
            async move { sent.map(|()| near) }
        };
        let max_pending = if row.one_way { 100 * CONNECTIONS } else { 1 << 15 };
        let dispatch = if row.pipeline { Dispatch::Pipeline } else { Dispatch::Inline };
        // The settings have the same names in both crates, which share no type to write this once for.
        macro_rules! start {
            ($server:expr, $client:expr, $handler:expr) => {{
                let server = $server.compression(row.compression).batch_delay(row.server_delay).dispatch(dispatch);
                let client = $client
                    .compression(row.compression)
                    .batch_delay(row.client_delay)
                    .connections(CONNECTIONS)
                    .max_pending(max_pending);
                #[cfg(feature = "tls")]
                let (server, client) = if row.tls {
                    let authority = Ca::new();
                    let server = server.tls(authority.issue(&["bench"]).server_config());
                    (server, client.tls(authority.client_config(), "bench".try_into().expect("a name")))
                } else {
                    (server, client)
                };
                let server = server.build().expect("settings of a row");
                tokio::spawn(server.serve(listener, $handler).into_future());
                client.connect_with("pipe", dial).expect("settings of a row")
            }};
        }
        match row.carried {
            Carried::Tlv => {
                let reply = tlv::Reply::new(vec![b'x'; REPLY_BYTES]);
                let handler = move |_: fastrpc::Call<tlv::Request>| std::future::ready(reply.clone());
                let client =
                    start!(fastrpc::Server::builder(Tlv::new()), fastrpc::Client::builder(Tlv::new()), handler);
                Self::Tlv { client, request: tlv::Request::new("", "foobar"), one_way: row.one_way, deadline }
            }
            Carried::Lazy => {
                let reply = lazy::Response::new(http::StatusCode::OK)
                    .with_header(&CONTENT_TYPE, &HeaderValue::from_static("text/plain; charset=utf-8"))
                    .with_body(vec![b'x'; REPLY_BYTES]);
                let handler = move |request: lazy::Request| {
                    drop(request);
                    std::future::ready(reply.clone())
                };
                let limits = httpteleport::Limits::default;
                let client =
                    start!(httpteleport::Server::lazy(limits()), httpteleport::Client::lazy(limits()), handler);
                let request = lazy::Request::new(http::Method::GET, &Uri::from_static("http://foobar/foo/bar"));
                Self::Lazy { client, request, deadline }
            }
            Carried::Http => {
                let text = Bytes::from(vec![b'x'; REPLY_BYTES]);
                let handler = move |request: http::Request<Body>| {
                    let mut response = http::Response::new(Body::from(text.clone()));
                    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
                    drop(request);
                    std::future::ready(response)
                };
                let limits = httpteleport::Limits::default;
                let client =
                    start!(httpteleport::Server::builder(limits()), httpteleport::Client::builder(limits()), handler);
                Self::Http { client, deadline }
            }
        }
    }

    /// What the client has counted.
    #[must_use]
    pub fn stats(&self) -> fastrpc::Stats {
        match self {
            Self::Tlv { client, .. } => client.stats(),
            Self::Lazy { client, .. } => client.stats(),
            Self::Http { client, .. } => client.stats(),
        }
    }

    /// One operation.
    ///
    /// # Panics
    ///
    /// When the call fails or its reply is not the one expected.
    pub async fn once(&self) {
        match self {
            Self::Tlv { client, request, one_way: true, .. } => {
                while client.send(request).is_err() {
                    tokio::task::yield_now().await;
                }
            }
            Self::Tlv { client, request, deadline, .. } => {
                let reply = client.call(request.clone()).deadline(*deadline).await;
                assert_eq!(reply.expect("a reply").value.len(), REPLY_BYTES);
            }
            Self::Lazy { client, request, deadline } => {
                let reply = client.call(request.clone()).deadline(*deadline).await;
                assert_eq!(reply.expect("a reply").body().len(), REPLY_BYTES);
            }
            Self::Http { client, deadline } => {
                let mut request = http::Request::new(Body::empty());
                *request.uri_mut() = Uri::from_static("http://foobar/foo/bar");
                let reply = client.call(request).deadline(*deadline).await;
                assert_eq!(reply.expect("a reply").body().len(), REPLY_BYTES);
            }
        }
    }
}

/// Runs `total` operations with `callers` callers at once, each the same number of them (rounded up), and gives the time
/// it took.
///
/// # Panics
///
/// When a call fails.
pub async fn run(caller: &Pair, callers: usize, total: u64) -> Duration {
    let each = total.div_ceil(callers as u64);
    let begun = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|_| {
            let caller = caller.clone();
            tokio::spawn(async move {
                for _ in 0..each {
                    caller.once().await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a caller ended well");
    }
    begun.elapsed()
}
