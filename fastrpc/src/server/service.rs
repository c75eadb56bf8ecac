//! What the connections of a server share with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio_util::sync::CancellationToken;

use super::{Dispatch, Inner};
use crate::codec::Codec;
use crate::config::{LinkConfig, Wire};
use crate::error::Error;
use crate::io::BoxIo;
use crate::mux::handlers::encode_or_fail;
use crate::mux::handshake;
use crate::mux::session::{self, Accepted, Options};
use crate::stats::{Counters, add};

/// What the driver of a connection needs of its server.
pub(crate) struct Service<C, H> {
    pub(super) inner: Arc<Inner<C>>,
    pub(super) handler: Arc<H>,
    /// The server's, or that of one of its listeners.
    pub(super) shutdown: CancellationToken,
}

impl<C, H> Service<C, H> {
    pub(crate) fn codec(&self) -> &C {
        &self.inner.codec
    }

    pub(crate) fn shared_codec(&self) -> Arc<C> {
        self.inner.codec.clone()
    }

    pub(crate) fn handler(&self) -> &H {
        &self.handler
    }

    pub(crate) fn link(&self) -> &LinkConfig {
        &self.inner.settings.link
    }

    pub(crate) fn dispatch(&self) -> Dispatch {
        self.inner.settings.dispatch
    }

    pub(crate) fn concurrency(&self) -> usize {
        self.inner.settings.concurrency
    }

    pub(crate) fn max_unread(&self) -> usize {
        self.inner.settings.max_unread
    }

    pub(crate) fn calls_per_turn(&self) -> usize {
        self.inner.settings.calls_per_turn
    }

    pub(crate) fn counters(&self) -> &Arc<Counters> {
        &self.inner.counters
    }

    pub(crate) fn shutdown(&self) -> CancellationToken {
        self.shutdown.clone()
    }

    /// A permit to run one handler, unless as many run as may.
    pub(crate) fn admit(&self) -> Option<Permit> {
        self.one_more().then(|| Permit(self.inner.running.clone()))
    }

    /// The same for a handler that does not outlive this.
    pub(crate) fn admit_here(&self) -> Option<PermitHere<'_>> {
        self.one_more().then(|| PermitHere(&self.inner.running))
    }

    fn one_more(&self) -> bool {
        let one_more = |now: usize| (now < self.inner.settings.concurrency).then_some(now + 1);
        self.inner.running.fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more).is_ok()
    }

    /// Opens a connection of whichever wire, of the `classic` one if that is served; `None` when the server shuts down meanwhile.
    pub(super) async fn accept<S: session::Serve>(
        &self,
        io: BoxIo,
        classic: bool,
        serve: S,
    ) -> Result<Option<Accepted<S>>, Error> {
        let (link, counters) = (self.link(), self.counters());
        let tls = self.inner.settings.tls.clone();
        let opening = async {
            if link.wire == Wire::Classic {
                let opened = handshake::server(io, &link.protocol, link.compression, tls, link.handshake_timeout);
                return opened.await.map(Accepted::Classic);
            }
            let compression = classic.then_some(link.compression);
            session::accept(io, &link.protocol, compression, self.framed_options(), tls, serve).await
        };
        tokio::select! {
            opened = opening => opened.map(Some).inspect_err(|_| add(&counters.connect_errors, 1)),
            () = self.shutdown.cancelled() => Ok(None),
        }
    }

    fn framed_options(&self) -> Options {
        let mut options = self.link().framed_options(&self.inner.counters);
        options.max_unread = self.max_unread();
        options.dispatch = self.dispatch();
        // What is over the concurrency is answered, so this bound lies above it.
        let calls = u32::try_from(self.concurrency()).unwrap_or(u32::MAX).saturating_mul(2);
        options.settings.calls = options.settings.calls.max(calls);
        options
    }

    /// Runs a framed connection to its end; from a shutdown on it is drained.
    pub(super) async fn drive<S: session::Serve>(&self, mut driver: Box<session::Driver<S>>) -> Result<(), Error> {
        let drain = driver.drain_handle();
        tokio::select! {
            ended = &mut driver => return ended,
            () = self.shutdown.cancelled() => drain.drain(),
        }
        driver.await
    }
}

impl<C: Codec, H> Service<C, H> {
    pub(crate) fn encode_reply(&self, id: u32, reply: &C::Reply, out: &mut Vec<u8>) -> Option<bool> {
        encode_or_fail(&*self.inner.codec, &self.inner.counters, id, reply, out)
    }
}

/// One of the handlers that may run at once, on the framed wire.
#[doc(hidden)]
#[derive(Debug)]
pub struct PermitHere<'a>(&'a AtomicUsize);

impl Drop for PermitHere<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// One of the handlers that may run at once.
#[derive(Debug)]
pub(crate) struct Permit(Arc<AtomicUsize>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}
