//! Not teleported: hyper's client and server, HTTP/1.1 or HTTP/2, bodies gzipped one by one or not at all.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};

use anyhow::{Context, Result};
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, HOST};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn as client;
use hyper::server::conn as server;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use super::gzip::Gzip;
use super::pass::{Caller, Calls, Script, Step};
use super::pipe::End;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Windows of HTTP/2, in bytes. Its defaults of 64 KiB would make batches wait for each other.
const WINDOW: u32 = 4 << 20;

/// The request as it is sent, apart from its body.
pub(super) fn for_http1(mut request: Request<Bytes>, gzip: bool) -> Request<Bytes> {
    if gzip {
        Gzip::accept(request.headers_mut());
    }
    request
}

/// HTTP/2 has scheme and authority instead of `Host`.
pub(super) fn for_http2(request: Request<Bytes>, gzip: bool) -> Result<Request<Bytes>> {
    let mut request = for_http1(request, gzip);
    let host = request.headers_mut().remove(HOST).context("a request without Host; HTTP/2 needs an authority")?;
    let mut parts = request.uri().clone().into_parts();
    parts.scheme = Some(Scheme::HTTP);
    parts.authority = Some(Authority::try_from(host.as_bytes())?);
    *request.uri_mut() = parts.try_into()?;
    Ok(request)
}

pub(super) async fn http1(gzip: bool, calls: Calls<'_>, script: Script, near: End, far: End) -> Result<()> {
    let answering = Answering::new(gzip, script);
    let service = service_fn(move |request| answering.clone().answer(request));
    let mut server = server::http1::Builder::new();
    // Replies have their own Date.
    let serving = tokio::task::spawn_local(server.auto_date_header(false).serve_connection(TokioIo::new(far), service));

    let (sender, connection) = client::http1::handshake(TokioIo::new(near)).await?;
    let connected = tokio::task::spawn_local(connection);
    let calling = Calling { sender: RefCell::new(sender), gzip: Packing::new(gzip) };
    calls.make(&calling).await?;
    drop(calling);
    connected.await?.context("the client's connection failed")?;
    serving.await?.context("the server's connection failed")
}

pub(super) async fn http2(gzip: bool, calls: Calls<'_>, script: Script, near: End, far: End) -> Result<()> {
    let answering = Answering::new(gzip, script);
    let service = service_fn(move |request| answering.clone().answer(request));
    let mut server = server::http2::Builder::new(Local);
    server.auto_date_header(false).initial_stream_window_size(WINDOW).initial_connection_window_size(WINDOW);
    let serving = tokio::task::spawn_local(server.serve_connection(TokioIo::new(far), service));

    let mut client = client::http2::Builder::new(Local);
    client.initial_stream_window_size(WINDOW).initial_connection_window_size(WINDOW);
    let (sender, connection) = client.handshake(TokioIo::new(near)).await?;
    let connected = tokio::task::spawn_local(connection);
    let calling = Calling { sender: RefCell::new(sender), gzip: Packing::new(gzip) };
    calls.make(&calling).await?;
    drop(calling);
    connected.await?.context("the client's connection failed")?;
    serving.await?.context("the server's connection failed")
}

/// Puts hyper's tasks on this thread.
#[derive(Clone, Copy)]
struct Local;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}

/// One end's gzip, if it has one.
#[derive(Clone)]
struct Packing(Option<Rc<RefCell<Gzip>>>);

impl Packing {
    fn new(gzip: bool) -> Self {
        Self(gzip.then(Rc::default))
    }

    fn pack(&self, headers: &mut HeaderMap, body: Bytes) -> Result<Bytes> {
        match &self.0 {
            Some(gzip) => gzip.borrow_mut().pack(headers, body),
            None => Ok(body),
        }
    }

    /// `as_it_was`: the fields of the message before it was packed. Recorded traffic may have bodies that its own servers
    /// gzipped: those stay as they are at both ends.
    fn unpack(&self, headers: &HeaderMap, body: Bytes, as_it_was: &HeaderMap) -> Result<Bytes> {
        match &self.0 {
            Some(gzip) if headers.contains_key(CONTENT_ENCODING) && !as_it_was.contains_key(CONTENT_ENCODING) => {
                gzip.borrow_mut().unpack(&body)
            }
            _ => Ok(body),
        }
    }
}

/// The far end.
#[derive(Clone)]
struct Answering {
    script: Rc<Script>,
    gzip: Packing,
}

impl Answering {
    fn new(gzip: bool, script: Script) -> Self {
        Self { script: Rc::new(script), gzip: Packing::new(gzip) }
    }

    /// Requests are handed over in the order in which they were made, though bodies may come later.
    fn answer(self, request: Request<Incoming>) -> impl Future<Output = Result<Response<Full<Bytes>>, BoxError>> {
        let step = self.script.step();
        async move { Ok(self.answer_step(step, request).await?) }
    }

    async fn answer_step(&self, step: Step, request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
        let (head, body) = request.into_parts();
        let body = self.gzip.unpack(&head.headers, body.collect().await?.to_bytes(), step.request_headers())?;
        let (mut head, body) = step.answer(&body).into_parts();
        let body = self.gzip.pack(&mut head.headers, body)?;
        Ok(Response::from_parts(head, Full::new(body)))
    }
}

/// The near end.
struct Calling<S> {
    sender: RefCell<S>,
    gzip: Packing,
}

impl<S: Sender> Caller for Calling<S> {
    async fn call(&self, request: Request<Bytes>, as_sent: &Response<Bytes>) -> Result<Response<Bytes>> {
        let (mut head, body) = request.into_parts();
        let body = self.gzip.pack(&mut head.headers, body)?;
        let request = Request::from_parts(head, Full::new(body));
        poll_fn(|cx| self.sender.borrow_mut().poll_ready(cx)).await?;
        let sent = self.sender.borrow_mut().send(request);
        let (head, body) = sent.await?.into_parts();
        let body = self.gzip.unpack(&head.headers, body.collect().await?.to_bytes(), as_sent.headers())?;
        Ok(Response::from_parts(head, body))
    }
}

/// What hyper's two senders have in common.
trait Sender {
    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<hyper::Result<()>>;
    fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> impl Future<Output = hyper::Result<Response<Incoming>>> + use<Self>;
}

impl Sender for client::http1::SendRequest<Full<Bytes>> {
    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<hyper::Result<()>> {
        self.poll_ready(cx)
    }

    fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> impl Future<Output = hyper::Result<Response<Incoming>>> + use<> {
        self.send_request(request)
    }
}

impl Sender for client::http2::SendRequest<Full<Bytes>> {
    fn poll_ready(&mut self, cx: &mut TaskContext<'_>) -> Poll<hyper::Result<()>> {
        self.poll_ready(cx)
    }

    fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> impl Future<Output = hyper::Result<Response<Incoming>>> + use<> {
        self.send_request(request)
    }
}
