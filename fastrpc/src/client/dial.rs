//! Reaching the peer, and pausing after it could not be reached.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until, timeout};

use super::settings::Settings;
use crate::config::{LinkConfig, Wire};
use crate::error::{Error, ErrorKind, human};
use crate::io::{BoxIo, Io, prepare_tcp};
use crate::mux::client_driver::Opening;
use crate::mux::handshake::{self, ClientTls, framed};
use crate::mux::link::{Link, Peer};
use crate::mux::session::{self, Connected};
use crate::stats::Counters;

type Dial = dyn Fn() -> Pin<Box<dyn Future<Output = io::Result<BoxIo>> + Send>> + Send + Sync;

/// A TCP connection to `address`.
pub(crate) async fn tcp(address: String) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(address).await?;
    prepare_tcp(&stream)?;
    Ok(stream)
}

/// Makes streams and opens them.
#[derive(Clone)]
pub(crate) struct Dialer {
    dial: Arc<Dial>,
    limit: Duration,
    tls: Option<ClientTls>,
    /// The same for the classic wire.
    classic_tls: Option<ClientTls>,
    link: LinkConfig,
    peer: Peer,
}

impl Dialer {
    pub(crate) fn new<D, F, S>(dial: D, settings: &Settings, peer: Peer) -> Self
    where
        D: Fn() -> F + Send + Sync + 'static,
        F: Future<Output = io::Result<S>> + Send + 'static,
        S: Io,
    {
        let dial: Arc<Dial> = Arc::new(move || {
            let stream = dial();
            Box::pin(async move { Ok(Box::new(stream.await?) as BoxIo) })
        });
        let Settings { link, tls, dial_timeout: limit, .. } = settings.clone();
        let classic_tls = tls.clone().map(|tls| {
            // A server that speaks the framed wire sees by it that somebody made us believe otherwise, and refuses.
            if link.wire == Wire::Auto || link.beside_framed {
                tls.with_alpn(framed::alpn(&link.protocol))
            } else {
                tls
            }
        });
        Self { dial, limit, tls, classic_tls, link, peer }
    }

    /// Waits until `not_before`, then dials and opens the classic wire. `report` hears how it went.
    pub(super) fn open_classic(
        &self,
        not_before: Option<Instant>,
        report: impl FnOnce(bool) + Send + 'static,
    ) -> Opening {
        let this = self.clone();
        Box::pin(async move {
            if let Some(at) = not_before {
                sleep_until(at).await;
            }
            let mut report = Report(Some(report));
            let opened = this.dial_classic().await;
            report.tell(opened.is_ok());
            opened
        })
    }

    /// Dials and opens the framed wire, if the peer speaks that.
    pub(crate) async fn open_framed(&self, counters: &Arc<Counters>) -> Result<Connected, Error> {
        let io = self.stream().await?;
        let opened = session::connect(io, &self.link.protocol, self.link.framed_options(counters), self.tls.as_ref());
        opened.await.map_err(|error| error.with_peer(self.peer.clone()))
    }

    /// Whom it dials.
    pub(crate) fn peer(&self) -> Peer {
        self.peer.clone()
    }

    async fn stream(&self) -> Result<BoxIo, Error> {
        timeout(self.limit, (self.dial)())
            .await
            .map_err(|_| self.unreachable(&format!("no connection within {}", human(self.limit))))?
            .map_err(|error| self.unreachable("cannot connect").with_source(error))
    }

    async fn dial_classic(&self) -> Result<Link, Error> {
        let io = self.stream().await?;
        let config = &self.link;
        let opened = handshake::client(
            io,
            &config.protocol,
            config.compression,
            self.classic_tls.as_ref(),
            config.handshake_timeout,
            &self.peer,
        )
        .await?;
        let framed = framed::alpn(&config.protocol);
        if (config.wire == Wire::Auto || config.beside_framed) && opened.alpn.as_ref() == Some(&framed) {
            return Err(self.talked_down());
        }
        Ok(Link::new(opened, config))
    }

    /// The server named the framed wire inside the TLS of the classic one, which we are at because a direct start of TLS was
    /// cut off.
    fn talked_down(&self) -> Error {
        let message = "the server speaks the framed wire, yet TLS with it was cut off before it began: try again, and if \
                       it lasts see what stands in between";
        Error::new(ErrorKind::Handshake, message).with_peer(self.peer.clone()).with_retry(true)
    }

    fn unreachable(&self, message: &str) -> Error {
        Error::new(ErrorKind::Connect, message).with_peer(self.peer.clone()).with_retry(true)
    }
}

/// Tells how a dial went, once; one that panicked or was given up has failed.
struct Report<F: FnOnce(bool)>(Option<F>);

impl<F: FnOnce(bool)> Report<F> {
    fn tell(&mut self, opened: bool) {
        if let Some(report) = self.0.take() {
            report(opened);
        }
    }
}

impl<F: FnOnce(bool)> Drop for Report<F> {
    fn drop(&mut self) {
        self.tell(false);
    }
}

/// When the next dial may begin: a pure state machine.
#[derive(Debug)]
pub(crate) struct Backoff {
    first: Duration,
    most: Duration,
    failures: u32,
    not_before: Option<Instant>,
}

impl Backoff {
    pub(crate) fn new(first: Duration, most: Duration) -> Self {
        Self { first, most, failures: 0, not_before: None }
    }

    pub(crate) fn not_before(&self) -> Option<Instant> {
        self.not_before
    }

    pub(crate) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    pub(crate) fn succeeded(&mut self) {
        self.failures = 0;
        self.not_before = None;
    }

    /// `jitter` is a random number from 0 to 1.
    pub(crate) fn failed(&mut self, now: Instant, jitter: f64) {
        let pause = self.first.saturating_mul(1 << self.failures.min(20)).min(self.most);
        self.failures = self.failures.saturating_add(1);
        self.not_before = Some(now + pause.mul_f64(1.0 - jitter / 2.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_doubles_to_its_most_and_is_shortened_by_half_at_most() {
        let (first, most) = (Duration::from_millis(50), Duration::from_secs(1));
        let now = Instant::now();
        let mut backoff = Backoff::new(first, most);
        let mut pauses = Vec::new();
        for _ in 0..7 {
            backoff.failed(now, 0.0);
            pauses.push((backoff.not_before().unwrap() - now).as_millis());
        }
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1000, 1000]);
        backoff.failed(now, 1.0);
        assert_eq!(backoff.not_before(), Some(now + most / 2));
        backoff.succeeded();
        assert!(!backoff.is_failing() && backoff.not_before().is_none());
    }
}
