//! How much of one message is accepted and sent.

use fastrpc::wire::framed::settings::MAX_HEAD;

/// Bounds on a single message, in each direction.
///
/// What arrives over [`max_head`](Self::max_head), [`max_headers`](Self::max_headers) or [`max_body`](Self::max_body) is
/// read to its end without being kept, and only its call fails: a server answers 431 or 413, a client reports an error.
///
/// A value that could not work is replaced with the nearest that can: each setter says which those are.
///
/// ```
/// use httpteleport::Limits;
///
/// let limits = Limits::default().with_max_body(1 << 20).with_peer_max_head(64 << 10);
/// assert_eq!(limits.max_body(), 1 << 20);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    max_head: usize,
    max_headers: usize,
    max_body: usize,
    max_skip: u64,
    peer_max_head: usize,
}

/// The smallest head limit that still leaves room for the codec's own short replies.
const SMALLEST_HEAD: usize = 512;
/// The largest: an unfinished head lies in the connection's buffer, of which fastrpc allows 1 GiB.
const LARGEST_HEAD: usize = 512 << 20;
/// What one `http::HeaderMap` can hold with certainty.
const MOST_HEADERS: usize = 16 * 1024;

impl Default for Limits {
    fn default() -> Self {
        Self { max_head: 64 << 10, max_headers: 128, max_body: 16 << 20, max_skip: 1 << 30, peer_max_head: 4096 }
    }
}

impl Limits {
    /// Most bytes of a head that arrives, from its start line to its blank line. Default 64 KiB.
    pub fn max_head(&self) -> usize {
        self.max_head
    }

    /// Most header lines of a head that arrives. Default 128.
    pub fn max_headers(&self) -> usize {
        self.max_headers
    }

    /// Most bytes of a body that arrives, chunks already joined. Default 16 MiB.
    pub fn max_body(&self) -> usize {
        self.max_body
    }

    /// Most bytes of a refused message that are read and dropped to find its end. Default 1 GiB.
    ///
    /// It costs time on the wire, not memory. Past it the connection ends, because waiting is no longer cheaper.
    pub fn max_skip(&self) -> u64 {
        self.max_skip
    }

    /// Most bytes of a head that is sent on the classic wire. Default 4096. On the framed wire each side tells what it takes, at
    /// most 64 KiB.
    ///
    /// A peer closes the connection, and with it every call in flight, on a longer one. The default is what every known
    /// peer takes: the Go `httptp` reads 4096 bytes unless told otherwise (`-inMaxHeaderSize`, `-outMaxHeaderSize`). Raise
    /// it when the peer is known to take more; nodes of this crate take [`max_head`](Self::max_head).
    pub fn peer_max_head(&self) -> usize {
        self.peer_max_head
    }

    /// Sets [`max_head`](Self::max_head). Values below 512 count as 512, those above 512 MiB as 512 MiB.
    #[must_use]
    pub fn with_max_head(mut self, bytes: usize) -> Self {
        self.max_head = bytes.clamp(SMALLEST_HEAD, LARGEST_HEAD);
        self
    }

    /// Sets [`max_headers`](Self::max_headers). Values above 16384 count as 16384.
    #[must_use]
    pub fn with_max_headers(mut self, lines: usize) -> Self {
        self.max_headers = lines.min(MOST_HEADERS);
        self
    }

    /// Sets [`max_body`](Self::max_body).
    #[must_use]
    pub fn with_max_body(mut self, bytes: usize) -> Self {
        self.max_body = bytes;
        self
    }

    /// Sets [`max_skip`](Self::max_skip).
    ///
    /// Values below [`max_body`](Self::max_body) have no effect on bodies that are accepted.
    #[must_use]
    pub fn with_max_skip(mut self, bytes: u64) -> Self {
        self.max_skip = bytes;
        self
    }

    /// Sets [`peer_max_head`](Self::peer_max_head). Values below 512 count as 512, so that error replies always fit.
    #[must_use]
    pub fn with_peer_max_head(mut self, bytes: usize) -> Self {
        self.peer_max_head = bytes.max(SMALLEST_HEAD);
        self
    }

    /// What the framed wire's peers are told of [`max_head`](Self::max_head): a head there is shorter than its text.
    pub(crate) fn max_framed_head(self) -> u32 {
        u32::try_from(self.max_head).unwrap_or(MAX_HEAD).min(MAX_HEAD)
    }

    /// The same on the framed wire, whose peers tell what they take.
    pub(crate) fn on_framed(self) -> Self {
        self.with_peer_max_head(LARGEST_HEAD)
    }

    /// What a connection has to hold undecoded: a head, and what came with its end. At least fastrpc's default.
    pub(crate) fn max_undecoded(&self) -> usize {
        (2 * self.max_head).max(16 << 20)
    }
}
