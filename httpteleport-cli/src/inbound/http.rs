//! An input that speaks HTTP, over TCP, TLS or a unix socket: HTTP/1.1, and HTTP/2 where a connection begins with it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http::header::HeaderValue;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::TokioExecutor;
use tokio::io::{self, AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::activity::Activity;
use super::policy::Current;
use super::{Parts, http1 as one, http2 as two};
use crate::access_log::AccessLog;
use crate::acme::{Manager, Tokens};
use crate::config::{self, Timeouts};
use crate::counters::Counters;
use crate::endpoint::Scheme;
use crate::listen::{Accepted, Client};
use crate::metrics::counted::Counted;
use crate::metrics::traffic::Input;
use crate::outbound::one_line;
use crate::refusal::{Caller, Reason};
use crate::shutdown::Shutdown;
use crate::spans::Traces;
use crate::tls;
use crate::unserved::Unserved;

/// What an HTTP/2 connection begins with (RFC 9113, 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// How long, and how many bytes, a client that is not let in is still read.
const PARTING: (Duration, u64) = (Duration::from_secs(1), 64 * 1024);

/// What every connection of the input shares.
pub(super) struct Shared {
    pub(super) http1: http1::Builder,
    pub(super) http2: http2::Builder<TokioExecutor>,
    tls: Option<TlsAcceptor>,
    acme: Option<Arc<Manager>>,
    /// What authorities that make certificates ask for here.
    pub(super) tokens: Option<Tokens>,
    pub(super) timeouts: Timeouts,
    pub(super) policy: Current,
    pub(super) counters: Arc<Counters>,
    /// What goes through the input.
    pub(super) traffic: Arc<Input>,
    pub(super) access_log: Option<Arc<AccessLog>>,
    pub(super) traces: Traces,
    scheme: Scheme,
    pub(super) shutdown: Shutdown,
}

/// Where a connection comes from and went to.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    pub(super) caller: Caller,
}

impl Shared {
    /// What the connections of an input with these settings share.
    pub(super) fn new(
        settings: &config::Listener,
        parts: Parts,
        policy: Current,
        traffic: Arc<Input>,
        shutdown: Shutdown,
    ) -> Shared {
        Shared {
            http1: one::builder(&settings.limits, &settings.timeouts),
            http2: two::builder(&settings.limits),
            tls: parts.tls.map(TlsAcceptor::from),
            acme: parts.acme,
            tokens: parts.tokens,
            timeouts: settings.timeouts,
            policy,
            counters: parts.counters,
            access_log: parts.access_log,
            traces: Traces { begin: settings.begin_traces, spans: parts.spans },
            traffic,
            scheme: settings.endpoint.scheme,
            shutdown,
        }
    }

    /// Serves one connection to its end; to that of the requests that run, where its place is wanted.
    pub(super) async fn accepted(self: Arc<Self>, accepted: Accepted, activity: &Arc<Activity>) {
        match accepted {
            Accepted::Unix(stream) => {
                let stream = self.counted(stream);
                let caller = Caller { client: Client::Unix, input: self.scheme, to: None, grpc: None };
                self.connection(stream, Ends { caller }, activity).await;
            }
            Accepted::Tcp(stream, peer) => {
                let stream = self.counted(stream);
                let caller =
                    Caller { client: Client::Tcp(peer.remote), input: self.scheme, to: Some(peer.local), grpc: None };
                let ends = Ends { caller };
                match &self.tls {
                    None => Arc::clone(&self).connection(stream, ends, activity).await,
                    // Larger, and not a part of every connection.
                    Some(acceptor) => {
                        Box::pin(Arc::clone(&self).tls_connection(acceptor, stream, ends, activity)).await;
                    }
                }
            }
        }
    }

    fn counted<S>(&self, stream: S) -> Counted<S, Input> {
        Counted::new(stream, Arc::clone(&self.traffic))
    }

    async fn tls_connection(
        self: Arc<Self>,
        acceptor: &TlsAcceptor,
        stream: Counted<TcpStream, Input>,
        ends: Ends,
        activity: &Arc<Activity>,
    ) {
        // What it takes is gone when it is over; a part of this it would stay with the connection.
        if let Some(stream) = Box::pin(self.handshake(acceptor, stream, ends, activity)).await {
            // Larger than all else together, and handed on many times, each of which would have room for it.
            self.connection(Box::new(stream), ends, activity).await;
        }
    }

    /// Agrees on TLS with the client; `None` if that comes to nothing, which is counted and logged.
    async fn handshake(
        &self,
        acceptor: &TlsAcceptor,
        stream: Counted<TcpStream, Input>,
        ends: Ends,
        activity: &Arc<Activity>,
    ) -> Option<TlsStream<Counted<TcpStream, Input>>> {
        let handshake = async {
            if tls::says_nothing(stream.get_ref()).await {
                tracing::debug!("connection of {}: it hung up before it said anything", ends.caller.client);
                return Ok(None);
            }
            match &self.acme {
                None => acceptor
                    .accept(stream)
                    .into_fallible()
                    .await
                    .map(Some)
                    .map_err(|(error, stream)| (error, Some(stream))),
                Some(acme) => acme.accept(stream, Arc::clone(acceptor.config())).await,
            }
        };
        let handshake = timeout(self.timeouts.handshake, handshake);
        let result = tokio::select! {
            result = handshake => result,
            () = self.shutdown.parting() => return None,
            () = activity.asked() => return None,
        };
        match result {
            Ok(Ok(stream)) => return stream,
            Ok(Err((error, stream))) if tls::refuses(ends.caller.client, &error, &self.counters) => {
                if let Some(stream) = stream {
                    part(stream).await;
                }
            }
            Ok(Err((error, _))) => tls::note_failed(ends.caller.client, &error, &self.counters),
            Err(_) => {
                self.counters.slow_handshake.note("TLS handshake", ends.caller.client, "failed: it took too long");
            }
        }
        None
    }

    /// Serves one connection to its end; once draining has begun, to the end of the requests that run.
    async fn connection<S>(self: Arc<Self>, mut stream: S, ends: Ends, activity: &Arc<Activity>)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let deadline = Instant::now() + self.timeouts.head;
        // What was agreed on with TLS says no more than this does.
        let first = tokio::select! {
            biased;
            first = timeout_at(deadline, first_bytes(&mut stream)) => first,
            () = self.shutdown.parting() => Ok(None),
            () = activity.asked() => Ok(None),
        };
        if first.is_err() {
            let became = "closed: the first request did not come in time";
            self.counters.slow_head.note("connection", ends.caller.client, became);
        }
        let first = first.ok().flatten();
        match first {
            None => {}
            Some(first) if first == PREFACE[..] => Box::pin(two::serve(&self, stream, first, ends, activity)).await,
            Some(first) => one::serve(&self, stream, first, deadline, ends, activity).await,
        }
    }
}

impl Shared {
    /// Counts and logs why hyper has given a connection up, which has answered what it takes for no request: it has read so much of
    /// that.
    pub(super) fn note(&self, ends: Ends, error: &hyper::Error, head: &[u8]) {
        let why = one_line(error);
        if error.is_parse_too_large() {
            // hyper has no other way to tell which.
            let target = why.contains("URI too long");
            if target {
                return self.refuse_head(ends, StatusCode::URI_TOO_LONG, &why, head);
            }
            let exceeded =
                self.policy.load().gate.exceeded(head).map(|which| format!("its head is too large: {which}"));
            let large = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            self.refuse_head(ends, large, &exceeded.unwrap_or(why), head);
        } else if error.is_parse() {
            let why = if tls::begins(head) { "the client speaks TLS, and this input does not" } else { &*why };
            self.refuse_head(ends, StatusCode::BAD_REQUEST, why, head);
        } else if error.is_timeout() {
            self.counters.slow_head.note("connection", ends.caller.client, "closed: no request came in time");
        } else if tls::cause::<h2::Error>(error).is_some_and(|error| error.is_go_away() && error.is_library()) {
            self.counters.malformed.note("connection", ends.caller.client, format_args!("closed: {why}"));
        } else {
            tracing::debug!("connection of {}: {why}", ends.caller.client);
        }
    }

    /// Counts and logs a head that was answered before it was a request.
    fn refuse_head(&self, ends: Ends, status: StatusCode, why: &str, head: &[u8]) {
        Reason::of_head(status).note(
            &self.counters,
            ends.caller.client,
            format_args!("refused with {}: {why}", status.as_u16()),
        );
        self.log_head(ends, status, head);
    }

    /// Counts and logs requests that the HTTP/2 library has refused: each so often.
    pub(super) fn note_unserved(&self, ends: Ends, unserved: &[(Unserved, usize)]) {
        for (unserved, count) in unserved {
            for _ in 0..*count {
                match unserved {
                    Unserved::LargeHead => {
                        let large = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
                        self.refuse_head(ends, large, "its head is far over the limit", b"");
                    }
                    Unserved::Malformed(why) => {
                        let became = format_args!("reset as no good HTTP/2: {why}");
                        self.counters.malformed.note("request", ends.caller.client, became);
                        self.log_head(ends, StatusCode::BAD_REQUEST, b"");
                    }
                }
            }
        }
    }

    /// Counts and logs a head that was answered 408.
    pub(super) fn refuse_late_head(&self, ends: Ends, head: &[u8]) {
        let became = "refused with 408: its head did not come in time";
        self.counters.slow_head.note("request", ends.caller.client, became);
        self.log_head(ends, StatusCode::REQUEST_TIMEOUT, head);
    }

    /// A line in the access log for a head that is none of a request, and was answered all the same.
    pub(super) fn log_head(&self, ends: Ends, status: StatusCode, head: &[u8]) {
        if let Some(log) = &self.access_log {
            log.unread(ends.caller.client, status, head);
        }
    }
}

/// Reads so much of a connection that it can be told what it speaks; `None` if it ends before its first byte.
async fn first_bytes(stream: &mut (impl AsyncRead + Unpin)) -> Option<Bytes> {
    let mut buffer = [0; PREFACE.len()];
    let mut end = 0;
    loop {
        let count = stream.read(&mut buffer[end..]).await.ok()?;
        end += count;
        let read = &buffer[..end];
        if count == 0 || end == buffer.len() || !PREFACE.starts_with(read) {
            return (end > 0).then(|| Bytes::copy_from_slice(read));
        }
    }
}

/// Lets a client read why its handshake failed: one that goes on to send finds its connection reset otherwise.
async fn part(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let (time, bytes) = PARTING;
    let rest = async {
        stream.shutdown().await?;
        io::copy(&mut stream.take(bytes), &mut io::sink()).await
    };
    let _ = timeout(time, rest).await;
}

impl Ends {
    pub(super) fn own_address(self) -> HeaderValue {
        let text = self.caller.to.map_or_else(|| "localhost".to_owned(), |address| address.to_string());
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("localhost"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn reads_no_more_than_it_takes_to_tell() {
        let cases: [(&[u8], Option<&[u8]>); 5] = [
            (b"", None),
            (b"GET / HTTP/1.1\r\n\r\n and more", Some(b"GET / HTTP/1.1\r\n\r\n and m")),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n and more", Some(PREFACE)),
            (b"PRI * HTTP/2.0\r\n\r\nS", Some(b"PRI * HTTP/2.0\r\n\r\nS")),
            (b"P", Some(b"P")),
        ];
        for (mut sent, want) in cases {
            assert_eq!(first_bytes(&mut sent).await.as_deref(), want);
        }
        let mut sent = in_pieces();
        assert_eq!(first_bytes(&mut sent).await.as_deref(), Some(&PREFACE[..]));
    }

    fn in_pieces() -> impl AsyncRead + Unpin {
        b"PRI * H".chain(&b"TTP/2.0\r\n\r\n"[..]).chain(&b"SM\r\n\r\n"[..])
    }
}
