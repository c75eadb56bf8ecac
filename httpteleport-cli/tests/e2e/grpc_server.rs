//! A server and a client of gRPC, by tonic. What a generator would write for two methods is written here.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use bytes::{Buf as _, BufMut as _, Bytes};
use futures_util::{Stream, StreamExt as _, stream};
use http::uri::PathAndQuery;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::{BoxFuture, Context, Poll, Service};
use tonic::server;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Response, Status};

use crate::node::PATIENCE;

/// One reply, or a status in a head without a body.
const ASK: &str = "/test.Oracle/Ask";
/// One message, and then a status behind it.
const TELL: &str = "/test.Oracle/Tell";

/// A server that answers with a message, or with a status that it was told; it can hold its calls back.
pub(crate) struct GrpcServer {
    /// `HOST:PORT`.
    pub(crate) address: String,
    told: Arc<Told>,
}

struct Told {
    code: AtomicI32,
    /// Calls that have come.
    calls: watch::Sender<usize>,
    /// Whether they are answered.
    goes_on: watch::Sender<bool>,
}

impl GrpcServer {
    pub(crate) async fn start() -> GrpcServer {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let (calls, goes_on) = (watch::Sender::new(0), watch::Sender::new(true));
        let told = Arc::new(Told { code: AtomicI32::new(0), calls, goes_on });
        let service = Oracle(Arc::clone(&told));
        tokio::spawn(Server::builder().serve_with_incoming(service, TcpIncoming::from(listener)));
        GrpcServer { address, told }
    }

    /// What its calls come to from now on.
    pub(crate) fn answer(&self, code: Code) {
        self.told.code.store(code.into(), Ordering::SeqCst);
    }

    /// Forgets its calls, and answers no more of them.
    pub(crate) fn hold(&self) {
        self.forget();
        self.told.goes_on.send_replace(false);
    }

    pub(crate) fn go_on(&self) {
        self.told.goes_on.send_replace(true);
    }

    pub(crate) fn forget(&self) {
        self.told.calls.send_replace(0);
    }

    /// Calls that have come since.
    pub(crate) fn calls(&self) -> usize {
        *self.told.calls.borrow()
    }

    /// Waits until so many calls have come.
    pub(crate) async fn has(&self, calls: usize) {
        let mut seen = self.told.calls.subscribe();
        timeout(PATIENCE, seen.wait_for(|seen| *seen >= calls)).await.expect("in time").expect("it runs");
    }
}

#[derive(Clone)]
struct Oracle(Arc<Told>);

impl Oracle {
    /// Waits until it may answer.
    async fn answer(self) -> Result<Bytes, Status> {
        self.0.calls.send_modify(|calls| *calls += 1);
        let _ = self.0.goes_on.subscribe().wait_for(|goes_on| *goes_on).await;
        match Code::from(self.0.code.load(Ordering::SeqCst)) {
            Code::Ok => Ok(Bytes::from("well")),
            code => Err(Status::new(code, "so it was told")),
        }
    }
}

impl Service<http::Request<Body>> for Oracle {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let oracle = self.clone();
        Box::pin(async move {
            let streams = request.uri().path() == TELL;
            let mut grpc = server::Grpc::new(Raw);
            Ok(if streams { grpc.server_streaming(oracle, request).await } else { grpc.unary(oracle, request).await })
        })
    }
}

impl server::UnaryService<Bytes> for Oracle {
    type Response = Bytes;
    type Future = BoxFuture<Response<Bytes>, Status>;

    fn call(&mut self, _: Request<Bytes>) -> Self::Future {
        let answer = self.clone().answer();
        Box::pin(async { answer.await.map(Response::new) })
    }
}

impl server::ServerStreamingService<Bytes> for Oracle {
    type Response = Bytes;
    type ResponseStream = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;
    type Future = BoxFuture<Response<Self::ResponseStream>, Status>;

    fn call(&mut self, _: Request<Bytes>) -> Self::Future {
        let begin = stream::once(async { Ok(Bytes::from("it begins")) });
        let end = stream::once(self.clone().answer());
        let both: Self::ResponseStream = Box::pin(begin.chain(end));
        Box::pin(async { Ok(Response::new(both)) })
    }
}

/// Calls through the node at a URL, over one connection.
#[derive(Clone)]
pub(crate) struct Caller(Grpc<Channel>);

impl Caller {
    pub(crate) async fn connect(url: &str) -> Caller {
        let channel = Endpoint::from_shared(url.to_owned()).expect("a URL").connect().await.expect("a connection");
        Caller(Grpc::new(channel))
    }

    /// The last message, or the status, of one call, whose reply streams or does not.
    pub(crate) async fn call(mut self, streams: bool) -> Result<Bytes, Code> {
        self.0.ready().await.expect("a connection");
        let question = Request::new(Bytes::from("well?"));
        let answer = async {
            if !streams {
                return self.0.unary(question, PathAndQuery::from_static(ASK), Raw).await.map(Response::into_inner);
            }
            let reply = self.0.server_streaming(question, PathAndQuery::from_static(TELL), Raw).await?;
            let (mut messages, mut last) = (reply.into_inner(), Bytes::new());
            while let Some(message) = messages.message().await? {
                last = message;
            }
            Ok(last)
        };
        timeout(PATIENCE, answer).await.expect("in time").map_err(|status| status.code())
    }
}

/// Messages that are what they are.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        Raw
    }

    fn decoder(&mut self) -> Raw {
        Raw
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(message);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }
}
