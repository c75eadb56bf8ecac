//! Why a call got no response.

use std::error::Error as StdError;
use std::fmt;

use fastrpc::ErrorKind;
use fastrpc::wire::framed::frame::TooLong;
use http::StatusCode;

use crate::CodecError;

/// Why a call got no response, or a client or server could not be made.
///
/// It is fastrpc's error, one word wide, with what HTTP adds: [`Error::codec`] tells what was wrong with a message, and
/// [`Error::status`] what a proxy answers.
#[derive(Clone)]
pub struct Error(fastrpc::Error);

impl Error {
    /// What fastrpc says of it.
    pub(crate) fn transport(&self) -> &fastrpc::Error {
        &self.0
    }

    /// The phase that failed.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind()
    }

    /// The address or name of the other side, where one was involved.
    #[must_use]
    pub fn peer(&self) -> Option<&str> {
        self.0.peer()
    }

    /// Whether the deadline passed.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        self.0.is_timeout()
    }

    /// Whether a server ended the connection because its client stopped in the middle of a request. Classic wire; on the framed one the body of
    /// that request breaks off alone.
    #[must_use]
    pub fn is_unfinished(&self) -> bool {
        self.0.is_unfinished()
    }

    /// Whether a local limit was met.
    #[must_use]
    pub fn is_overload(&self) -> bool {
        self.0.is_overload()
    }

    /// Whether this side was closed or is draining.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }

    /// Whether the peer cannot have seen the request, so that repeating it cannot run it twice.
    #[must_use]
    pub fn may_retry(&self) -> bool {
        self.0.may_retry()
    }

    /// What was wrong with the request (it was not sent) or with the reply (it was read and dropped).
    #[must_use]
    pub fn codec(&self) -> Option<&CodecError> {
        self.0.source().and_then(|source| source.downcast_ref())
    }

    /// The status with which a proxy answers its own caller: 504 when the deadline passed, 503 at a local limit or while
    /// closing, 431, 413, 400 or 501 for a request that cannot be sent, 502 otherwise.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        if let Some(codec) = self.codec() {
            return codec.status();
        }
        if self.0.source().is_some_and(<dyn std::error::Error + 'static>::is::<TooLong>) {
            return StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        }
        match self.kind() {
            ErrorKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
            ErrorKind::Overload | ErrorKind::Closed => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_GATEWAY,
        }
    }
}

impl From<fastrpc::Error> for Error {
    fn from(error: fastrpc::Error) -> Self {
        Self(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}
