//! A request's body as it comes from an HTTP client.

use std::error::Error as _;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::EXPECT;
use http::{HeaderMap, Method, Version, request};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tokio::task::yield_now;
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use self::pieces::Pieces;
use super::activity::Busy;
use super::http2::has_blank_ends;
use super::policy::Bodies;
use crate::body::BoxError;
use crate::counters::Counters;
use crate::headers::size_of_fields;
use crate::listen::Client;
use crate::request::{BodyFault, RequestBody};
use crate::timer::poll_late;
use crate::trailers;

mod pieces;

/// A body that ends within so many bytes is read whole before any of it goes on, so that it can be sent again if it never
/// left; a longer one is not held.
const WHOLE: usize = 64 * 1024;
/// What a client still sends of a body that nobody wants is read this long, and this far, so that it sees the reply
/// instead of a reset connection.
const UNWANTED: Duration = Duration::from_secs(1);
const MOST_UNWANTED: usize = 16 * 1024 * 1024;
/// Over HTTP/2 the reset that tells a client to stop harms nobody else, but some take the one that follows a whole reply for a failure
/// if it meets what they still send.
const MOST_UNWANTED_OF_A_STREAM: usize = 1024 * 1024;

/// What hyper says of trailers beyond its own limits, 16 KiB and a hundred fields.
const LARGE_TRAILERS: [&str; 2] = ["chunk trailers bytes over limit", "chunk trailers count overflow"];

/// A body, and what was read of it already.
pub(super) struct Upload {
    /// Taken only by `drop`.
    incoming: Option<Incoming>,
    read: Pieces,
    trailers: Option<HeaderMap>,
    /// How many more bytes it may have.
    left: usize,
    /// How large what follows it may be.
    most_trailers: usize,
    /// Nothing more comes from the client.
    over: bool,
    /// It has its connection to itself.
    alone: bool,
    /// The client sends it without waiting to be asked.
    unasked: bool,
    /// Made when a piece is waited for, so that a body that is there at once needs no timer.
    pause: Option<Pin<Box<Sleep>>>,
    /// A client may pause this long.
    patience: Duration,
    counters: Arc<Counters>,
    client: Client,
    /// Its client's connection is busy as long as this is there.
    running: Option<Busy>,
}

impl Upload {
    /// The body that came with this head.
    pub(super) fn new(
        incoming: Incoming,
        head: &request::Parts,
        held_to: Bodies,
        running: Option<Busy>,
        counters: &Arc<Counters>,
        client: Client,
    ) -> Upload {
        Upload {
            // hyper makes the bytes after a CONNECT head part of its body: there is nothing to wait for.
            over: incoming.is_end_stream() || head.method == Method::CONNECT,
            incoming: Some(incoming),
            read: Pieces::default(),
            trailers: None,
            left: held_to.most,
            most_trailers: held_to.most_trailers,
            alone: head.version < Version::HTTP_2,
            unasked: !head.headers.contains_key(EXPECT),
            pause: None,
            patience: held_to.patience,
            counters: Arc::clone(counters),
            client,
            running,
        }
    }

    /// Reads what is read before any of it goes on: all of a small body, and of one whose length is not known what is
    /// there already.
    ///
    /// # Errors
    ///
    /// It is too large, or has ended early.
    pub(super) async fn read_ahead(&mut self) -> Result<(), BodyFault> {
        match self.announced() {
            _ if self.over => Ok(()),
            Some(length) if length > self.left as u64 => Err(BodyFault::TooLarge),
            Some(length) if length <= WHOLE as u64 => self.read_whole().await,
            None if self.unasked => self.read_at_hand().await,
            // A client that waits to be asked is not asked before there is somebody who wants it.
            _ => Ok(()),
        }
    }

    fn announced(&self) -> Option<u64> {
        self.incoming.as_ref().and_then(|incoming| incoming.size_hint().exact())
    }

    /// Reads it to its end.
    async fn read_whole(&mut self) -> Result<(), BodyFault> {
        while !self.over {
            match timeout(self.patience, poll_fn(|cx| self.poll_piece(cx))).await {
                Err(_) => return Err(BodyFault::Slow),
                Ok(piece) => self.keep(piece)?,
            }
        }
        Ok(())
    }

    /// Reads what is there already, up to [`WHOLE`] bytes.
    async fn read_at_hand(&mut self) -> Result<(), BodyFault> {
        let mut waited = false;
        while !self.over && self.read.len() <= WHOLE {
            match poll_fn(|cx| Poll::Ready(self.poll_piece(cx))).await {
                Poll::Ready(piece) => {
                    waited = false;
                    self.keep(piece)?;
                }
                Poll::Pending if waited => break,
                // hyper hands over one piece at a time, and looks for the next one when it is polled again.
                Poll::Pending => {
                    waited = true;
                    yield_now().await;
                }
            }
        }
        Ok(())
    }

    /// Says in its head which trailers it has, if that is known: who sends them over HTTP/1.1 sends no others.
    pub(super) fn announce(&mut self, headers: &mut HeaderMap) {
        if let Some(trailers) = &mut self.trailers {
            trailers::clean_fields(trailers);
            trailers::announce(headers, trailers);
        }
    }

    /// The body for an upstream, and its length if that is known.
    pub(super) fn into_body(mut self) -> (RequestBody, Option<u64>) {
        if self.over && self.trailers.is_none() {
            let bytes = mem::take(&mut self.read).into_bytes();
            let length = bytes.len() as u64;
            return (bytes.into(), Some(length));
        }
        // Trailers go with chunks alone.
        let length = if self.over { None } else { self.size_hint().exact() };
        (RequestBody::stream(self), length)
    }

    /// The error of a body that is on its way already.
    fn broken_off(&self, fault: BodyFault) -> BoxError {
        fault.note(self.client, &self.counters);
        fault.into()
    }

    fn keep(&mut self, piece: Option<Result<Frame<Bytes>, BodyFault>>) -> Result<(), BodyFault> {
        let Some(frame) = piece.transpose()? else { return Ok(()) };
        match frame.into_data() {
            Ok(data) => self.read.push(data),
            Err(other) => self.trailers = other.into_trailers().ok(),
        }
        Ok(())
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyFault>>> {
        let Some(incoming) = self.incoming.as_mut().filter(|_| !self.over) else { return Poll::Ready(None) };
        // That asks for it, too.
        self.unasked = true;
        let next = ready!(Pin::new(&mut *incoming).poll_frame(cx));
        self.over = match &next {
            None | Some(Err(_)) => true,
            Some(Ok(frame)) => frame.is_trailers() || incoming.is_end_stream(),
        };
        let Some(frame) = next else {
            // hyper takes a stream of HTTP/2 that its client has broken off, without naming an error, for one that has ended.
            let is_cut = !self.alone && !incoming.is_end_stream();
            return Poll::Ready(is_cut.then_some(Err(BodyFault::Gone)));
        };
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => return Poll::Ready(Some(Err(fault(&error)))),
        };
        if let Some(trailers) = frame.trailers_ref() {
            if !self.alone && has_blank_ends(trailers) {
                return Poll::Ready(Some(Err(BodyFault::Broken)));
            }
            if size_of_fields(trailers) > self.most_trailers {
                return Poll::Ready(Some(Err(BodyFault::LargeTrailers)));
            }
        }
        match self.left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
            Some(left) => self.left = left,
            None => return Poll::Ready(Some(Err(BodyFault::TooLarge))),
        }
        Poll::Ready(Some(Ok(frame)))
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if this.read.len() > 0 {
            return Poll::Ready(Some(Ok(Frame::data(mem::take(&mut this.read).into_bytes()))));
        }
        if let Some(trailers) = this.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        if let Poll::Ready(piece) = this.poll_piece(cx) {
            this.pause = None;
            return Poll::Ready(piece.map(|piece| piece.map_err(|fault| this.broken_off(fault))));
        }
        let patience = this.patience;
        let pause = this.pause.get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + patience)));
        ready!(poll_late(pause, cx));
        Poll::Ready(Some(Err(this.broken_off(BodyFault::Slow))))
    }

    fn is_end_stream(&self) -> bool {
        self.over && self.read.len() == 0 && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = match &self.incoming {
            Some(incoming) if !self.over => incoming.size_hint(),
            _ => SizeHint::with_exact(0),
        };
        let read = self.read.len() as u64;
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(read));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(read));
        }
        hint
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if self.over || !self.unasked {
            return;
        }
        let most = if self.alone { MOST_UNWANTED } else { MOST_UNWANTED_OF_A_STREAM };
        let (Some(incoming), Ok(runtime)) = (self.incoming.take(), Handle::try_current()) else { return };
        let running = self.running.take();
        runtime.spawn(async move {
            swallow(incoming, most).await;
            drop(running);
        });
    }
}

/// Whether a body was broken, or broken off.
fn fault(error: &hyper::Error) -> BodyFault {
    let cause = error.source();
    // hyper has no other way to tell.
    if cause.map(ToString::to_string).is_some_and(|why| LARGE_TRAILERS.contains(&why.as_str())) {
        return BodyFault::LargeTrailers;
    }
    let malformed = cause
        .and_then(|cause| cause.downcast_ref::<io::Error>())
        .is_some_and(|error| matches!(error.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData));
    let out_of_order = cause.and_then(|cause| cause.downcast_ref()).is_some_and(h2::Error::is_library);
    if malformed || out_of_order { BodyFault::Broken } else { BodyFault::Gone }
}

/// Reads what the client still sends of a body that nobody wants.
async fn swallow(body: Incoming, most: usize) {
    let mut rest = Limited::new(body, most);
    let _ = timeout(UNWANTED, async { while let Some(Ok(_)) = rest.frame().await {} }).await;
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Request, Response};
    use http_body_util::{Collected, Empty};
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncWriteExt as _, duplex};
    use tokio::sync::mpsc;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(120);

    /// What becomes of the body of this request, whose client then says no more.
    async fn fate(sent: &str, limit: usize) -> Result<(Option<Bytes>, Option<u64>), BodyFault> {
        let (mut client, server) = duplex(1 << 20);
        client.write_all(sent.as_bytes()).await.expect("room for it");
        let (sender, mut fates) = mpsc::channel(1);
        let service = service_fn(move |request: Request<Incoming>| {
            let sender = sender.clone();
            async move {
                let (head, body) = request.into_parts();
                let mut upload = Upload::new(
                    body,
                    &head,
                    Bodies { most: limit, patience: PATIENCE, most_trailers: 64 },
                    None,
                    &Arc::default(),
                    Client::Unix,
                );
                let fate = match upload.read_ahead().await {
                    Err(fault) => Err(fault),
                    Ok(()) => {
                        let (body, length) = upload.into_body();
                        let whole = body.progress().is_none();
                        let bytes = body.collect().await.map(Collected::to_bytes);
                        bytes
                            .map(|bytes| (whole.then_some(bytes), length))
                            .map_err(|error| BodyFault::of(&*error).expect("the client is at fault"))
                    }
                };
                sender.send(fate).await.expect("it is waited for");
                Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
            }
        });
        let connection = tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(server), service));
        let fate = fates.recv().await.expect("a request");
        connection.abort();
        drop(client);
        fate
    }

    fn sized(length: usize, sent: usize) -> String {
        format!("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: {length}\r\n\r\n{}", "b".repeat(sent))
    }

    #[tokio::test(start_paused = true)]
    async fn what_ends_early_enough_is_read_whole() {
        let bytes = |count: usize| Some(Bytes::from("b".repeat(count)));
        assert_eq!(fate(&sized(0, 0), 0).await, Ok((bytes(0), Some(0))));
        assert_eq!(fate(&sized(WHOLE, WHOLE), WHOLE).await, Ok((bytes(WHOLE), Some(WHOLE as u64))));
        assert_eq!(fate(&sized(WHOLE + 1, WHOLE + 1), 1 << 20).await, Ok((None, Some(WHOLE as u64 + 1))));
        let chunks = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nb\r\n2\r\nbb\r\n0\r\n";
        assert_eq!(fate(&format!("{chunks}\r\n"), 3).await, Ok((bytes(3), Some(3))));
        assert_eq!(fate(&format!("{chunks}X: y\r\n\r\n"), 3).await, Ok((None, None)), "its trailers go on");
        let large = format!("{chunks}X: {}\r\n\r\n", "y".repeat(32));
        assert_eq!(fate(&large, 3).await, Err(BodyFault::LargeTrailers));
        for beyond in [format!("X: {}\r\n", "y".repeat(20_000)), "X: y\r\n".repeat(2_000)] {
            assert_eq!(fate(&format!("{chunks}{beyond}\r\n"), 3).await, Err(BodyFault::LargeTrailers));
        }
        assert_eq!(fate(&format!("{chunks}\r\n"), 2).await, Err(BodyFault::TooLarge));
        assert_eq!(fate(&sized(3, 0), 2).await, Err(BodyFault::TooLarge), "none of it is waited for");
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_has_a_limit_whatever_the_size() {
        for sent in [
            sized(10, 9),
            sized(WHOLE + 1, 9),
            "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n".into(),
        ] {
            let start = Instant::now();
            assert_eq!(fate(&sent, 1 << 20).await, Err(BodyFault::Slow), "{sent}");
            assert_eq!(start.elapsed().as_secs(), PATIENCE.as_secs());
        }
    }
}
