//! Why a call failed.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::codec::BoxError;

/// Why a call, a connection or a setting failed.
///
/// One word wide. [`Error::kind`] tells the phase, [`Error::peer`] the other side, [`Error::may_retry`] whether the
/// call may be made again, [`StdError::source`] the cause. `Display` prints this level alone; walk the sources for the
/// rest.
#[derive(Clone)]
pub struct Error(Box<Repr>);

#[derive(Clone)]
struct Repr {
    kind: ErrorKind,
    message: String,
    peer: Option<Arc<str>>,
    may_retry: bool,
    unfinished: bool,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// The phase in which a call or a connection failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// A setting is unusable. Local; nothing was tried.
    Config,
    /// A local limit on pending calls or unsent bytes is met. Nothing was sent.
    Overload,
    /// The codec could not encode the request. Nothing was sent.
    Encode,
    /// The peer could not be reached. Nothing was sent.
    Connect,
    /// The peer was reached but the opening exchange or TLS failed. Nothing was sent.
    Handshake,
    /// The reply did not come whole before the call's deadline.
    Timeout,
    /// The connection broke, went silent, or was closed by the peer while the call waited.
    Connection,
    /// The peer sent bytes that are no message. The connection was closed.
    Protocol,
    /// The reply came whole, and the codec refused it, over a limit for instance. The connection goes on.
    Refused,
    /// The call's stream was broken off alone; the connection goes on. Framed wire.
    Reset,
    /// This side was closed or is draining.
    Closed,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Repr {
            kind,
            message: message.into(),
            peer: None,
            may_retry: false,
            unfinished: false,
            source: None,
        }))
    }

    pub(crate) fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    pub(crate) fn timeout(peer: Option<Arc<str>>, sent: bool) -> Self {
        let message = if sent { "no reply before the deadline" } else { "not sent before the deadline" };
        let mut error = Self::new(ErrorKind::Timeout, message).with_peer(peer);
        error.0.may_retry = !sent;
        error
    }

    pub(crate) fn overload(message: impl Into<String>) -> Self {
        let mut error = Self::new(ErrorKind::Overload, message);
        error.0.may_retry = true;
        error
    }

    pub(crate) fn encode(source: BoxError) -> Self {
        Self::new(ErrorKind::Encode, "the request cannot be encoded").with_source(source)
    }

    /// For a layer on top that finds a reply unacceptable after it was decoded: its call fails as if the codec had refused
    /// it.
    pub fn refused_reply(source: impl Into<BoxError>) -> Self {
        Self::refused(source.into(), None)
    }

    /// For a layer on top that waits for the pieces of a body, and has waited long enough.
    #[doc(hidden)]
    pub fn stalled(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Timeout, message)
    }

    /// For a layer on top that cannot send what its caller gave.
    #[doc(hidden)]
    pub fn unsendable(source: impl Into<BoxError>) -> Self {
        Self::encode(source.into())
    }

    pub(crate) fn refused(source: BoxError, peer: Option<Arc<str>>) -> Self {
        Self::new(ErrorKind::Refused, "the reply was refused").with_source(source).with_peer(peer)
    }

    pub(crate) fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(Arc::from(source.into()));
        self
    }

    pub(crate) fn with_peer(mut self, peer: Option<Arc<str>>) -> Self {
        self.0.peer = peer;
        self
    }

    pub(crate) fn with_retry(mut self, may_retry: bool) -> Self {
        self.0.may_retry = may_retry;
        self
    }

    pub(crate) fn unfinished(mut self) -> Self {
        self.0.unfinished = true;
        self
    }

    /// The phase in which it failed.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The address or name of the other side, where one was involved.
    #[must_use]
    pub fn peer(&self) -> Option<&str> {
        self.0.peer.as_deref()
    }

    /// Whether no byte of the call can have reached the peer, so that repeating it cannot run it twice.
    #[must_use]
    pub fn may_retry(&self) -> bool {
        self.0.may_retry
    }

    /// Whether the deadline passed.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.0.kind == ErrorKind::Timeout
    }

    /// Whether a server ended the connection because its peer stopped in the middle of a request. Classic wire; on the framed one the body of
    /// that request breaks off alone.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        self.0.unfinished
    }

    /// Whether a local limit was met.
    #[must_use]
    pub fn is_overload(&self) -> bool {
        self.0.kind == ErrorKind::Overload
    }

    /// Whether this side was closed or is draining.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.kind == ErrorKind::Closed
    }

    /// Whether the cause lies with the peer or the way to it, not with this side's settings, limits or request.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        !matches!(self.0.kind, ErrorKind::Config | ErrorKind::Overload | ErrorKind::Encode | ErrorKind::Closed)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(peer) = &self.0.peer {
            write!(f, "{peer}: ")?;
        }
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("message", &self.0.message)
            .field("peer", &self.0.peer)
            .field("may_retry", &self.0.may_retry)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// "3 s", "250 ms": a duration as messages show it.
pub(crate) fn human(duration: Duration) -> String {
    if duration.subsec_millis() == 0 && duration.as_secs() > 0 {
        format!("{} s", duration.as_secs())
    } else {
        format!("{} ms", duration.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_one_word_wide() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
        assert_eq!(size_of::<Result<(), Error>>(), size_of::<usize>());
    }

    #[test]
    fn prints_one_level_and_keeps_the_chain() {
        let cause = std::io::Error::other("reset by peer");
        let error =
            Error::new(ErrorKind::Connection, "the connection broke").with_source(cause).with_peer(Some("a:1".into()));
        assert_eq!(error.to_string(), "a:1: the connection broke");
        assert_eq!(error.source().expect("kept").to_string(), "reset by peer");
        assert!(error.is_remote() && !error.may_retry());
    }
}
