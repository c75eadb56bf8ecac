//! The HTTP server at the far end: it gives every generated request its generated reply.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;

use crate::counters::Count;
use crate::endpoint::Endpoint;
use crate::listen::{Accepted, Given, Listener, Sharing};
use crate::seldom::Seldom;

/// Largest request that is read; the nodes in front let no larger one through.
const MAX_BODY: usize = 4 << 20;

/// The replies to requests that are on their way.
///
/// Requests are told apart by what they carry anyway, their `x-request-id` or else their body: nothing is added to them
/// that would cost bytes.
#[derive(Default)]
pub(super) struct Replies(Mutex<HashMap<Bytes, Response<Bytes>>>);

/// The reply to one request; forgotten when dropped.
pub(super) struct Expected<'a> {
    replies: &'a Replies,
    key: Bytes,
}

impl Replies {
    /// Makes the origin answer the request with this reply for as long as the guard lives.
    pub(super) fn expect(&self, request: &Request<Bytes>, reply: Response<Bytes>) -> Expected<'_> {
        let key = key(request.headers(), request.body());
        self.lock().insert(key.clone(), reply);
        Expected { replies: self, key }
    }

    fn find(&self, headers: &HeaderMap, body: &Bytes) -> Option<Response<Bytes>> {
        self.lock().get(&key(headers, body)).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Bytes, Response<Bytes>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        self.replies.lock().remove(&self.key);
    }
}

fn key(headers: &HeaderMap, body: &Bytes) -> Bytes {
    headers.get("x-request-id").map_or_else(|| body.clone(), |id| Bytes::copy_from_slice(id.as_bytes()))
}

/// A running origin.
pub(super) struct Origin {
    pub(super) address: SocketAddr,
    pub(super) replies: Arc<Replies>,
    serving: JoinHandle<()>,
}

impl Drop for Origin {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Origin {
    /// Starts it on a free port of the loopback interface.
    ///
    /// # Errors
    ///
    /// There is none.
    pub(super) async fn start() -> anyhow::Result<Origin> {
        let endpoint = Endpoint::parse("http://127.0.0.1:0").map_err(anyhow::Error::msg)?;
        let listener =
            Listener::open(&endpoint, Sharing::default(), &mut Given::default()).await.context("demo: the origin")?;
        let address = listener.local_addr().context("demo: the origin has no address")?;
        let replies = Arc::<Replies>::default();
        let serving = tokio::spawn(serve(listener, Arc::clone(&replies)));
        Ok(Origin { address, replies, serving })
    }
}

async fn serve(listener: Listener, replies: Arc<Replies>) {
    loop {
        let accepted = listener.accept(&Count::default(), &Seldom::default(), pending::<()>).await;
        let Accepted::Tcp(stream, _) = accepted else { continue };
        let replies = Arc::clone(&replies);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let replies = Arc::clone(&replies);
                async move { Ok::<_, Infallible>(answer(request, &replies).await.map(Full::new)) }
            });
            // A node that hangs up has its reasons.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(request: Request<Incoming>, replies: &Replies) -> Response<Bytes> {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MAX_BODY).collect().await else {
        return text(StatusCode::BAD_REQUEST, "the origin could not read the body\n".to_owned());
    };
    let body = body.to_bytes();
    replies.find(&head.headers, &body).unwrap_or_else(|| {
        let line = format!("the origin got: {} {}, {} bytes of body\n", head.method, head.uri, body.len());
        text(StatusCode::OK, line)
    })
}

fn text(status: StatusCode, text: String) -> Response<Bytes> {
    let mut reply = Response::new(Bytes::from(text));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    reply
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::traffic::{Exchange, Generator, Shape};

    #[test]
    fn every_request_of_a_shape_has_a_key_of_its_own() {
        for shape in Shape::ALL {
            let mut generator = Generator::new(shape, 1);
            let keys: HashSet<_> = (0..500)
                .map(|_| generator.next_exchange().request)
                .map(|request| key(request.headers(), request.body()))
                .collect();
            assert_eq!(keys.len(), 500, "{shape}");
        }
    }

    #[test]
    fn a_reply_is_there_as_long_as_it_is_expected() {
        let replies = Replies::default();
        let Exchange { request, response } = Generator::new(Shape::Rpc, 1).next_exchange();
        let find = || replies.find(request.headers(), request.body()).map(Response::into_body);
        let expected = replies.expect(&request, response.clone());
        assert_eq!(find().as_ref(), Some(response.body()));
        assert_eq!(find().as_ref(), Some(response.body()), "a request that is sent again is answered again");
        drop(expected);
        assert_eq!(find(), None);
    }
}
