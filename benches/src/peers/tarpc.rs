//! tarpc: one connection, its own framing, bincode 1 or JSON in it.

use std::time::Instant;

use futures_util::StreamExt;
use tarpc::serde_transport;
use tarpc::server::{self, BaseChannel, Channel};
use tarpc::tokio_serde::formats::{Bincode, Json};
use tarpc::tokio_util::codec::{Framed, LengthDelimitedCodec};
use tarpc::{ClientMessage, Response, client, context};
use tokio::net::TcpStream;

use super::BoxError;
use super::caller::{Caller, Callers};
use super::workload::{Answer, HOUR, Question, connect, listen};

/// The service, as tarpc has it written.
#[tarpc::service]
trait Oracle {
    /// The answer to a question.
    async fn ask(question: Question) -> Answer;
}

#[derive(Clone)]
struct Usual(Answer);

impl Oracle for Usual {
    async fn ask(self, _: context::Context, _: Question) -> Answer {
        self.0
    }
}

/// With the codec that tarpc calls bincode: version 1, with lengths of eight bytes.
pub(super) async fn bincode(callers: usize) -> Result<Callers<Tarpc>, BoxError> {
    let (near, far) = framed().await?;
    let near = serde_transport::new(near, Bincode::default());
    Ok(start(near, serde_transport::new(far, Bincode::default()), callers))
}

/// With JSON.
pub(super) async fn json(callers: usize) -> Result<Callers<Tarpc>, BoxError> {
    let (near, far) = framed().await?;
    let near = serde_transport::new(near, Json::default());
    Ok(start(near, serde_transport::new(far, Json::default()), callers))
}

/// Bytes read or gathered before they are written: as much as ours. tarpc's own choice is 8 KiB, which a hundred replies
/// pass several times.
const BUFFER: usize = 64 * 1024;

type Frames = Framed<TcpStream, LengthDelimitedCodec>;

async fn framed() -> Result<(Frames, Frames), BoxError> {
    let (listener, address) = listen().await?;
    let (near, far) = connect(&listener, &address).await?;
    let framed = |stream| Framed::with_capacity(stream, LengthDelimitedCodec::new(), BUFFER);
    Ok((framed(near), framed(far)))
}

/// Set so that nothing throttles it: as many calls may be under way and queued as there are callers. The server runs
/// each call in a task, as tarpc's documentation does; to run them all in one was slower.
fn start<N, F>(near: N, far: F, callers: usize) -> Callers<Tarpc>
where
    N: tarpc::Transport<ClientMessage<OracleRequest>, Response<OracleResponse>> + Send + 'static,
    F: tarpc::Transport<Response<OracleResponse>, ClientMessage<OracleRequest>> + Send + 'static,
{
    let mut served = server::Config::default();
    served.pending_response_buffer = served.pending_response_buffer.max(callers);
    let calls = BaseChannel::new(served, far).execute(Usual(Answer::usual()).serve());
    tokio::spawn(calls.for_each(|call| {
        tokio::spawn(call);
        std::future::ready(())
    }));

    let mut asked = client::Config::default();
    asked.max_in_flight_requests = asked.max_in_flight_requests.max(callers);
    asked.pending_request_buffer = asked.pending_request_buffer.max(callers);
    let client = OracleClient::new(asked, near).spawn();
    Callers(vec![Tarpc { client, deadline: Instant::now() + HOUR, question: Question::usual() }; callers])
}

/// A caller with its handle of the client.
#[derive(Clone)]
pub(super) struct Tarpc {
    client: OracleClient,
    deadline: Instant,
    question: Question,
}

impl Caller for Tarpc {
    type Value = Answer;

    async fn call(&mut self) -> Result<Answer, BoxError> {
        let mut context = context::current();
        context.deadline = self.deadline;
        Ok(self.client.ask(context, self.question.clone()).await?)
    }
}
