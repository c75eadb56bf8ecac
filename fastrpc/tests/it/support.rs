//! What the tests of whole connections share: a network in memory, a scripted peer, builders with a paused clock in mind.

use std::future::{Future, poll_fn};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc as blocking;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use fastrpc::codec::tlv::{Reply, Request, Tlv};
use fastrpc::{BatchTimer, Call, Client, ClientBuilder, Compression, Failure, Listener, Server, ServerBuilder};
use testkit::pipe::{End, Way, duplex};
pub(crate) use testkit::port::Port;
use testkit::raw::RawPeer;
use testkit::wire::{self, Frame, Hello, TlvReply, TlvRequest, frame, tlv};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// A network of one server: what clients dial here, the listener accepts there.
pub(crate) struct Net {
    dialled: mpsc::Sender<End>,
}

/// The accepting side of a [`Net`].
pub(crate) struct Ends(mpsc::Receiver<End>);

/// Makes a network.
pub(crate) fn net() -> (Net, Ends) {
    let (dialled, ends) = mpsc::channel(64);
    (Net { dialled }, Ends(ends))
}

impl Net {
    /// A new connection, for a scripted client.
    pub(crate) fn dial(&self) -> End {
        let (here, there) = duplex();
        self.dialled.try_send(there).expect("somebody accepts");
        here
    }

    /// A client that dials here.
    pub(crate) fn client(&self, builder: ClientBuilder<Tlv>) -> Client<Tlv> {
        let dialled = self.dialled.clone();
        let dial = move || {
            let dialled = dialled.clone();
            async move {
                let (here, there) = duplex();
                dialled.try_send(there).map_err(|_| io::Error::from(io::ErrorKind::ConnectionRefused))?;
                Ok(here)
            }
        };
        builder.connect_with("test", dial).unwrap()
    }
}

impl Ends {
    /// The next connection.
    pub(crate) async fn next(&mut self) -> End {
        self.0.recv().await.expect("somebody may still dial")
    }

    /// The next connection, with a scripted server at its end that compresses nothing.
    pub(crate) async fn peer(&mut self) -> RawPeer<End> {
        let end = self.next().await;
        RawPeer::server(end, &hello(Compression::None)).await
    }

    /// Whether somebody dialled whose connection was not taken.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Listener for Ends {
    type Io = End;

    async fn accept(&mut self) -> io::Result<(End, Option<SocketAddr>)> {
        match self.0.recv().await {
            Some(end) => Ok((end, None)),
            None => std::future::pending().await,
        }
    }
}

/// The hello of a scripted peer.
pub(crate) fn hello(compression: Compression) -> Hello {
    Hello::new(b"fastrpc", 0, second(compression))
}

/// The same compression in the terms of the second reader.
pub(crate) fn second(compression: Compression) -> wire::Compression {
    wire::Compression::from_byte(compression.wire_byte()).unwrap()
}

/// Client settings without compression, whose batches follow the paused clock.
pub(crate) fn client() -> ClientBuilder<Tlv> {
    Client::builder(codec()).wire(fastrpc::Wire::Classic).compression(Compression::None).batch_timer(BatchTimer::Tokio)
}

/// Server settings without compression, whose batches follow the paused clock.
pub(crate) fn server() -> ServerBuilder<Tlv> {
    Server::builder(codec()).wire(fastrpc::Wire::Classic).compression(Compression::None).batch_timer(BatchTimer::Tokio)
}

/// TLV that tells failures in words.
pub(crate) fn codec() -> Tlv {
    Tlv::new().on_failure(|failure| match failure {
        Failure::Overloaded { limit } => Reply::new(format!("overloaded at {limit}")),
        Failure::Draining => Reply::new("draining"),
        Failure::Panicked => Reply::new("panicked"),
        Failure::Unencodable(error) => Reply::new(format!("unencodable: {error}")),
        _ => Reply::new("failed"),
    })
}

/// A request that carries nothing but a name.
pub(crate) fn ask(name: &str) -> Request {
    Request::new(name.to_owned(), "")
}

/// A handler that answers with the request's name and value.
pub(crate) async fn echo(call: Call<Request>) -> Reply {
    let request = call.into_request();
    Reply::new([request.name, request.value].concat())
}

/// A server of `builder` with `handler` at `ends`; it serves until the test ends.
pub(crate) fn serve<H: fastrpc::Handler<Tlv>>(
    builder: ServerBuilder<Tlv>,
    ends: Ends,
    handler: H,
) -> (Server<Tlv>, JoinHandle<()>) {
    let server = builder.build().unwrap();
    let serving = server.serve(ends, handler);
    (server, tokio::spawn(serving.into_future()))
}

/// A scripted client of a server with `handler` on one connection; the task ends with the connection.
pub(crate) async fn served<H: fastrpc::Handler<Tlv>>(
    builder: ServerBuilder<Tlv>,
    handler: H,
) -> (RawPeer<End>, Way, Way, JoinHandle<Result<(), fastrpc::Error>>) {
    let (here, there) = duplex();
    let (to_server, to_client) = (here.outgoing(), here.incoming());
    let server = builder.build().unwrap();
    let handler = Arc::new(handler);
    let serving = tokio::spawn(async move { server.serve_connection(there, None, handler).await });
    let peer = RawPeer::client(here, &hello(Compression::None)).await;
    (peer, to_server, to_client, serving)
}

/// What a scripted peer hears and says.
pub(crate) trait Speak {
    /// The next request.
    async fn request(&mut self) -> Frame<TlvRequest>;
    /// Says a reply.
    async fn reply(&mut self, id: u32, value: &str);
    /// Says a request.
    async fn ask(&mut self, id: u32, name: &str);
    /// The next reply, as an id and text.
    async fn answer(&mut self) -> (u32, String);
}

impl Speak for RawPeer<End> {
    async fn request(&mut self) -> Frame<TlvRequest> {
        self.frame(tlv::read_request).await
    }

    async fn reply(&mut self, id: u32, value: &str) {
        self.say(&frame(id, &TlvReply::new(value.as_bytes()).bytes())).await;
    }

    async fn ask(&mut self, id: u32, name: &str) {
        self.say(&frame(id, &TlvRequest::new(name.as_bytes(), b"").bytes())).await;
    }

    async fn answer(&mut self) -> (u32, String) {
        let frame = self.frame(tlv::read_reply).await;
        (frame.id, String::from_utf8_lossy(&frame.message.value).into_owned())
    }
}

/// The bytes of a request frame.
pub(crate) fn request_bytes(id: u32, name: &str, value: &[u8]) -> Vec<u8> {
    frame(id, &TlvRequest::new(name.as_bytes(), value).bytes())
}

/// The bytes of a reply frame.
pub(crate) fn reply_bytes(id: u32, value: &[u8]) -> Vec<u8> {
    frame(id, &TlvReply::new(value).bytes())
}

/// Polls `future` once, with a waker that nobody hears.
pub(crate) fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Lets every other task run until none can go on by itself. On the paused clock of a current-thread runtime.
pub(crate) async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// Polls both and waits for `other` while `future` makes progress; panics if `future` ends first.
pub(crate) async fn meanwhile<F: Future + Unpin, T>(future: &mut F, other: impl Future<Output = T>) -> T
where
    F::Output: std::fmt::Debug,
{
    let mut other = std::pin::pin!(other);
    poll_fn(|cx| {
        if let Poll::Ready(output) = Pin::new(&mut *future).poll(cx) {
            panic!("ended too early: {output:?}");
        }
        other.as_mut().poll(cx)
    })
    .await
}

/// Runs `test` on a thread of its own with a real clock, and fails when it has not ended in time: a deadlock shows.
pub(crate) fn watched(test: impl FnOnce() + Send + 'static) {
    let (done, ended) = blocking::sync_channel(1);
    let thread = std::thread::spawn(move || {
        test();
        let _ = done.send(());
    });
    match ended.recv_timeout(Duration::from_secs(10)) {
        Ok(()) => {}
        Err(blocking::RecvTimeoutError::Timeout) => panic!("deadlock: the test did not end"),
        Err(blocking::RecvTimeoutError::Disconnected) => std::panic::resume_unwind(thread.join().unwrap_err()),
    }
}

/// That many milliseconds.
pub(crate) const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// That many seconds.
pub(crate) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Ports of TLV.
pub(crate) trait TlvPort {
    /// One of a server with `handler`.
    fn served<H: fastrpc::Handler<Tlv>>(builder: ServerBuilder<Tlv>, handler: H) -> Self;
    /// A client that dials here.
    fn client(&self, builder: ClientBuilder<Tlv>) -> Client<Tlv>;
}

impl TlvPort for Port {
    fn served<H: fastrpc::Handler<Tlv>>(builder: ServerBuilder<Tlv>, handler: H) -> Self {
        Self::new(serving(builder, handler).1)
    }

    fn client(&self, builder: ClientBuilder<Tlv>) -> Client<Tlv> {
        builder.connect_with("port", self.dial()).unwrap()
    }
}

/// A server with `handler`, and what has it serve a connection.
pub(crate) fn serving<H: fastrpc::Handler<Tlv>>(
    builder: ServerBuilder<Tlv>,
    handler: H,
) -> (Server<Tlv>, impl Fn(End) + Send + 'static) {
    let (server, handler) = (builder.build().unwrap(), Arc::new(handler));
    let serving = server.clone();
    let accept = move |end| {
        let (server, handler) = (serving.clone(), handler.clone());
        tokio::spawn(async move { server.serve_connection(end, None, handler).await });
    };
    (server, accept)
}

/// Counts those of its kind that live.
pub(crate) struct Alive(Arc<AtomicUsize>);

impl Alive {
    pub(crate) fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Waits until `met`, for a second of the paused clock at most.
pub(crate) async fn until(what: &str, met: impl Fn() -> bool) {
    let waiting = async {
        while !met() {
            tokio::time::sleep(ms(1)).await;
        }
    };
    tokio::time::timeout(secs(1), waiting).await.unwrap_or_else(|_| panic!("it never came that {what}"));
}
