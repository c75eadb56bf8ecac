//! HTTP handlers behind one framed connection.

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use fastrpc::BoxError;
use fastrpc::internals::session::{self, Responder, SendBody, Serve};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Request, Response, StatusCode, response};
use http_body::Body;

use super::incoming::{Incoming, is_bare};
use super::outgoing::{Sender, Start, pump};
use crate::Limits;
use crate::codec::error::MessageKind;
use crate::codec::framed;

/// Answers calls with an HTTP handler; made by [`service`].
pub struct StreamService<H> {
    handler: Arc<H>,
    limits: Limits,
}

/// Has `handler` answer the calls of a connection. It is dropped when nobody waits for it any more; so is the body of its
/// response.
pub fn service<H, F, B>(handler: H, limits: Limits) -> StreamService<H>
where
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body + Send + 'static,
{
    StreamService { handler: Arc::new(handler), limits }
}

impl<H, F, B> Serve for StreamService<H>
where
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<B>> + Send + 'static,
    B: Body<Data: Send> + Send + 'static,
    B::Error: Into<BoxError>,
{
    fn serve(&self, call: session::Incoming) -> impl Future<Output = ()> + Send + 'static {
        let (handler, limits) = (self.handler.clone(), self.limits);
        async move {
            let session::Incoming { head, body, responder, .. } = call;
            match framed::decode_request(&head, &limits) {
                Ok(parts) => {
                    let body = Incoming::new(body, MessageKind::Request, &parts.headers, false, limits);
                    let asked = parts.method.clone();
                    let response = handler(Request::from_parts(parts, body)).await;
                    answer(responder, &asked, response, limits).await;
                }
                Err(error) => refuse(responder, error.status(), &error.to_string(), &limits),
            }
        }
    }
}

async fn answer<B>(mut responder: Responder, asked: &Method, response: Response<B>, limits: Limits)
where
    B: Body<Data: Send> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let (parts, body) = response.into_parts();
    let mut body = Box::pin(body);
    let start = if is_bare(asked, parts.status) { Start::Whole(Bytes::new()) } else { Start::of(body.as_mut()) };
    let (send, first) = start.split();
    match responder.reply(|out| encode(&parts, &limits, out), send) {
        Ok(Some(writer)) => {
            let sender = Sender::of(MessageKind::Reply, &parts.headers, limits);
            pump(body, first, writer, sender).await;
        }
        Ok(None) => {}
        Err(error) => {
            refuse(responder, StatusCode::INTERNAL_SERVER_ERROR, &error.to_string(), &limits);
        }
    }
}

/// Answers with a sentence in the place of what was wanted.
fn refuse(mut responder: Responder, status: StatusCode, why: &str, limits: &Limits) {
    let mut response = Response::new(());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    let (parts, ()) = response.into_parts();
    let body = SendBody::Whole(Bytes::from(format!("{why}\n")));
    // A head of this size fits any limit that a peer may set; if not, dropping the responder tells it as much.
    let _ = responder.reply(|out| encode(&parts, limits, out), body);
}

fn encode(parts: &response::Parts, limits: &Limits, out: &mut Vec<u8>) -> Result<(), BoxError> {
    framed::encode_reply(parts, limits, out).map_err(BoxError::from)
}
