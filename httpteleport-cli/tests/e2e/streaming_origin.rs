//! An origin whose bodies stream, made of hyper.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Request, Response};
use http_body::{Body, Frame};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

/// Bytes of a piece of `/large`.
const PIECE: usize = 16 * 1024;

/// What the origin answers depends on the path: `/events` (those of [`StreamingOrigin::event`]), `/large/BYTES`, `/endless`,
/// `/length` (of the request's body), `/trailers`, and the path itself for any other.
pub(crate) struct StreamingOrigin {
    pub(crate) url: String,
    shared: Arc<Shared>,
    events: mpsc::Sender<String>,
}

struct Shared {
    events: tokio::sync::Mutex<mpsc::Receiver<String>>,
    /// Endless replies that go on.
    endless: watch::Sender<usize>,
}

type Reply = Response<UnsyncBoxBody<Bytes, Infallible>>;

impl StreamingOrigin {
    pub(crate) async fn start() -> StreamingOrigin {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (events, received) = mpsc::channel(100);
        let shared = Arc::new(Shared { events: received.into(), endless: watch::Sender::new(0) });
        let origin = StreamingOrigin { url, shared: Arc::clone(&shared), events };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    let service = service_fn(move |request| answer(Arc::clone(&shared), request));
                    // It ends with an error when its client goes away, as some are made to.
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        origin
    }

    /// Has `/events` say one more thing.
    pub(crate) fn event(&self, text: &str) {
        self.events.try_send(text.to_owned()).expect("it listens");
    }

    /// Waits until so many endless replies go on.
    pub(crate) async fn endless(&self, count: usize) {
        self.shared.endless.subscribe().wait_for(|now| *now == count).await.expect("it lives");
    }
}

async fn answer(shared: Arc<Shared>, request: Request<Incoming>) -> Result<Reply, Infallible> {
    let path = request.uri().path().to_owned();
    let whole = |text: String| Response::new(Full::from(text).boxed_unsync());
    Ok(match path.split('/').nth(1).unwrap_or_default() {
        "events" => {
            let mut reply = Response::new(Events(shared).boxed_unsync());
            reply.headers_mut().insert("content-type", "text/event-stream".parse().expect("a value"));
            reply
        }
        "large" => {
            let bytes = path.rsplit('/').next().and_then(|bytes| bytes.parse().ok()).expect("a number");
            let mut reply = Response::new(Large { left: bytes, counted: None }.boxed_unsync());
            reply.headers_mut().insert("content-length", bytes.into());
            reply
        }
        "endless" => {
            shared.endless.send_modify(|count| *count += 1);
            Response::new(Large { left: u64::MAX, counted: Some(shared) }.boxed_unsync())
        }
        "length" => whole(length(request.into_body()).await),
        "trailers" => {
            let trailers = HeaderMap::from_iter([
                ("grpc-status".parse().expect("a name"), "5".parse().expect("a value")),
                ("grpc-message".parse().expect("a name"), "not found".parse().expect("a value")),
            ]);
            let frames = [Frame::data(Bytes::from("data")), Frame::trailers(trailers)].map(Ok);
            let mut reply = Response::new(StreamBody::new(stream::iter(frames)).boxed_unsync());
            reply.headers_mut().insert("trailer", "grpc-status, grpc-message".parse().expect("a value"));
            reply
        }
        _ => whole(path),
    })
}

/// How long a body is, and a sum of its bytes.
async fn length(mut body: Incoming) -> String {
    let (mut length, mut sum) = (0, 0u64);
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(data) = frame.into_data() else { continue };
        length += data.len();
        sum = data.iter().fold(sum, |sum, byte| sum.wrapping_mul(31).wrapping_add(u64::from(*byte)));
    }
    format!("{length} {sum}")
}

/// A piece of `/large`, which begins at `at`: half of it compresses.
pub(crate) fn piece(at: u64) -> Bytes {
    let mut state = at | 1;
    (0..PIECE)
        .map(|index| {
            if index % 2 == 0 {
                return b'-';
            }
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[0]
        })
        .collect()
}

/// Bytes made as they are asked for.
struct Large {
    left: u64,
    counted: Option<Arc<Shared>>,
}

impl Body for Large {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = piece(self.left).slice(..usize::try_from(self.left).unwrap_or(PIECE).min(PIECE));
        self.left -= piece.len() as u64;
        Poll::Ready(if piece.is_empty() { None } else { Some(Ok(Frame::data(piece))) })
    }
}

impl Drop for Large {
    fn drop(&mut self) {
        if let Some(shared) = &self.counted {
            shared.endless.send_modify(|count| *count -= 1);
        }
    }
}

/// The events of the origin, as they are made.
struct Events(Arc<Shared>);

impl Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let mut events = self.0.events.try_lock().expect("one reads them at a time");
        let event = ready!(events.poll_recv(cx));
        Poll::Ready(event.map(|event| Ok(Frame::data(format!("data: {event}\n\n").into()))))
    }
}
