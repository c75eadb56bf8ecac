//! Why a head was not sent, or a call not opened.

use crate::codec::BoxError;
use crate::error::Error;
use crate::wire::framed::frame::TooLong;

/// Why a head was not sent.
pub(super) struct NotEncoded(pub(super) BoxError);

/// Why a call was not opened.
pub(super) enum NotOpened {
    Encoder(NotEncoded),
    /// Too much waits to be sent.
    Full,
}

impl From<NotEncoded> for NotOpened {
    fn from(error: NotEncoded) -> Self {
        Self::Encoder(error)
    }
}

impl From<TooLong> for NotEncoded {
    fn from(error: TooLong) -> Self {
        Self(error.into())
    }
}

impl NotOpened {
    /// What its caller is told.
    pub(super) fn explain(self) -> Error {
        match self {
            Self::Encoder(error) => Error::encode(error.0),
            Self::Full => Error::overload("too many bytes wait to be sent"),
        }
    }
}
