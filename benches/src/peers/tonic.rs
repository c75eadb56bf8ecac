//! tonic: gRPC over one HTTP/2 connection. What its build script would write for one method is written here.

use std::convert::Infallible;
use std::future::{Ready, ready};

use futures_util::TryStreamExt;
use http::uri::PathAndQuery;
use tonic::body::Body;
use tonic::client::Grpc;
use tonic::codegen::{BoxFuture, Context, Poll, Service};
use tonic::server;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status};
use tonic_prost::ProstCodec;

use super::BoxError;
use super::caller::{Caller, Callers};
use super::gathered::{Dial, Stream, Writes};
use super::hyper2::{CONNECTION_WINDOW, STREAM_WINDOW, STREAMS};
use super::workload::{Answer, HOUR, Question, listen};

/// The method's name on the wire.
const PATH: &str = "/bench.Oracle/Ask";

/// Set so that nothing throttles it: windows and the number of streams are those of HTTP/2's row, the queue of its channel
/// holds all callers. There is no router in front of the one service.
pub(super) async fn start(callers: usize, writes: Writes) -> Result<Callers<Tonic>, BoxError> {
    let (listener, address) = listen().await?;
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true)).map_ok(move |tcp| Stream::new(tcp, writes));
    let serving = Server::builder()
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(STREAMS)
        .serve_with_incoming(Oracle(Answer::usual()), incoming);
    tokio::spawn(serving);
    let channel = Endpoint::from_shared(format!("http://{address}"))?
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .buffer_size(callers.max(1024))
        .connect_with_connector(Dial { address, writes })
        .await?;
    Ok(Callers(vec![Tonic { client: Grpc::new(channel), question: Question::usual() }; callers]))
}

/// The service: every request is for its one method.
#[derive(Clone)]
struct Oracle(Answer);

impl Service<http::Request<Body>> for Oracle {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let ask = Ask(self.0.clone());
        Box::pin(async move {
            let mut grpc = server::Grpc::new(ProstCodec::<Answer, Question>::default());
            Ok(grpc.unary(ask, request).await)
        })
    }
}

/// The method.
struct Ask(Answer);

impl server::UnaryService<Question> for Ask {
    type Response = Answer;
    type Future = Ready<Result<Response<Answer>, Status>>;

    fn call(&mut self, _: Request<Question>) -> Self::Future {
        ready(Ok(Response::new(self.0.clone())))
    }
}

/// A caller with its handle of the channel.
#[derive(Clone)]
pub(super) struct Tonic {
    client: Grpc<Channel>,
    question: Question,
}

impl Caller for Tonic {
    type Value = Answer;

    async fn call(&mut self) -> Result<Answer, BoxError> {
        self.client.ready().await?;
        let mut request = Request::new(self.question.clone());
        request.set_timeout(HOUR);
        let codec = ProstCodec::<Question, Answer>::default();
        Ok(self.client.unary(request, PathAndQuery::from_static(PATH), codec).await?.into_inner())
    }
}
