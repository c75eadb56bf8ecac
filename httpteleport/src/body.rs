//! Bodies of requests and replies.

use std::error::Error as StdError;
use std::fmt;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use fastrpc::codec::BoxError;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;

/// The body of a request or a reply.
///
/// On the classic wire it is buffered whole. The type is opaque, so that it can also stand for a stream some day. As an
/// [`http_body::Body`] it gives its bytes in one frame, tells its exact size, never fails, and has no trailers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Body {
    bytes: Bytes,
}

impl Body {
    /// A body of no bytes.
    pub const fn empty() -> Self {
        Self { bytes: Bytes::new() }
    }

    /// Its length in bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Its bytes, without copying.
    pub fn into_bytes(self) -> Bytes {
        self.bytes
    }

    /// Reads `body` to its end, at most `cap` bytes of it. Trailers are dropped: the classic wire does not carry them.
    ///
    /// A body that comes in one piece is not copied. Memory grows with what has come, not with what was announced.
    ///
    /// # Errors
    ///
    /// [`CollectError::TooLarge`] as soon as the body is known to exceed `cap`, be it from its size hint; otherwise what the
    /// body itself fails with.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops what was read of the body.
    pub async fn collect_from<B>(body: B, cap: usize) -> Result<Self, CollectError<B::Error>>
    where
        B: http_body::Body,
    {
        let mut body = pin!(body);
        if body.size_hint().lower() > cap as u64 {
            return Err(CollectError::TooLarge { limit: cap });
        }
        let mut first = Bytes::new();
        let mut joined = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(mut data) = frame.map_err(CollectError::Body)?.into_data() else { continue };
            let length = data.remaining();
            if length > cap - first.len() - joined.len() {
                return Err(CollectError::TooLarge { limit: cap });
            }
            if first.is_empty() && joined.is_empty() {
                first = data.copy_to_bytes(length);
                continue;
            }
            // A second piece: from here on the pieces are joined.
            let start = std::mem::take(&mut first);
            joined.extend_from_slice(&start);
            while data.has_remaining() {
                let piece = data.chunk();
                joined.extend_from_slice(piece);
                let taken = piece.len();
                data.advance(taken);
            }
        }
        Ok(Self { bytes: if joined.is_empty() { first } else { joined.freeze() } })
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.bytes.is_empty() {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.len() as u64)
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self { bytes }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self { bytes: bytes.into() }
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Self { bytes: text.into() }
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Self { bytes: Bytes::from_static(text.as_bytes()) }
    }
}

impl From<&'static [u8]> for Body {
    fn from(bytes: &'static [u8]) -> Self {
        Self { bytes: Bytes::from_static(bytes) }
    }
}

impl From<()> for Body {
    fn from((): ()) -> Self {
        Self::empty()
    }
}

/// Why [`Body::collect_from`] gave no body.
#[derive(Debug)]
pub enum CollectError<E> {
    /// The body has more bytes than were allowed.
    TooLarge {
        /// The cap that was given, in bytes.
        limit: usize,
    },
    /// The body itself failed.
    Body(E),
}

impl<E> fmt::Display for CollectError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge { limit } => {
                write!(f, "body: it is over the limit of {limit} bytes; send less or raise the limit")
            }
            Self::Body(_) => f.write_str("body: it ended with an error before it was whole"),
        }
    }
}

impl<E: StdError + 'static> StdError for CollectError<E> {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::TooLarge { .. } => None,
            Self::Body(error) => Some(error),
        }
    }
}
