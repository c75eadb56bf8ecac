//! A streamed body that can begin again: what was taken of it is kept, within bounds, until it is known that nobody needs it twice.

use std::collections::VecDeque;
use std::mem;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};

use super::RequestBody;
use crate::body::BoxError;

/// So many bytes are kept of one body: more than an upstream takes before it has said anything, unless it gives more credit than is usual.
const MOST: usize = 256 * 1024;
/// What is kept of all bodies of the process.
static ROOM: Room = Room::new(16 * 1024 * 1024);
/// A piece below this is copied, as it may be a small part of a read buffer, all of which it would keep; a larger one is shared.
const SMALL: usize = 16 * 1024;
/// What a piece takes beside its bytes.
const EACH: usize = 256;

/// Memory that is shared by all that keep something.
pub(super) struct Room {
    most: usize,
    used: AtomicUsize,
}

/// A part of a [`Room`], given back when dropped.
struct Part {
    room: &'static Room,
    bytes: usize,
}

/// A streamed body, and what was taken of it.
pub(super) struct Rewind {
    body: Box<RequestBody>,
    /// What was taken and is kept; behind those that were given, those to be given once more.
    pieces: VecDeque<Piece>,
    /// How many of them were given since it began, or began again.
    given: usize,
    part: Part,
    /// Nothing was lost of what was taken.
    keeps: bool,
    /// Nothing follows the pieces.
    over: bool,
}

#[derive(Clone)]
enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
}

impl Room {
    /// Room for so many bytes.
    pub(super) const fn new(most: usize) -> Room {
        Room { most, used: AtomicUsize::new(0) }
    }

    /// Whether nothing is kept in it.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.used.load(Ordering::Relaxed) == 0
    }

    fn take(&self, bytes: usize) -> bool {
        let taken = self.used.fetch_add(bytes, Ordering::Relaxed) + bytes <= self.most;
        if !taken {
            self.give_back(bytes);
        }
        taken
    }

    fn give_back(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Part {
    fn grow(&mut self, bytes: usize) -> bool {
        let may = self.bytes + bytes <= MOST && self.room.take(bytes);
        if may {
            self.bytes += bytes;
        }
        may
    }

    fn shrink(&mut self, bytes: usize) {
        self.bytes -= bytes;
        self.room.give_back(bytes);
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.room.give_back(self.bytes);
    }
}

impl Rewind {
    /// A body of which nothing was taken.
    pub(super) fn new(body: RequestBody) -> Rewind {
        Rewind::within(body, &ROOM)
    }

    /// The same with another room.
    pub(super) fn within(body: RequestBody, room: &'static Room) -> Rewind {
        Rewind {
            body: Box::new(body),
            pieces: VecDeque::new(),
            given: 0,
            part: Part { room, bytes: 0 },
            keeps: true,
            over: false,
        }
    }

    /// Whether nothing of it was given since it began, or began again.
    pub(super) fn is_untouched(&self) -> bool {
        self.keeps && self.given == 0
    }

    /// Whether it can begin again.
    pub(super) fn keeps(&self) -> bool {
        self.keeps
    }

    /// Begins again; what it gives from now on is kept as before. `None` if something of it is lost.
    pub(super) fn rewound(mut self: Box<Self>) -> Option<Box<Self>> {
        if !self.keeps {
            return None;
        }
        self.given = 0;
        // What was waited for was so for somebody else.
        self.body.moved();
        Some(self)
    }

    /// Keeps no more than what it has yet to give once more.
    pub(super) fn let_go(&mut self) {
        self.keeps = false;
        let gone: usize = self.pieces.drain(..mem::take(&mut self.given)).map(|piece| piece.cost()).sum();
        self.part.shrink(gone);
    }

    /// The next frame. It is kept, if nothing was lost before and there is room for it.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(piece) = self.once_more() {
            self.body.moved();
            return Poll::Ready(Some(Ok(piece.into_frame())));
        }
        if self.over {
            return Poll::Ready(None);
        }
        let next = ready!(Pin::new(&mut *self.body).poll_frame(cx));
        match &next {
            Some(Ok(frame)) => self.keep(frame),
            None => self.over = true,
            // It does not go on from there.
            Some(Err(_)) => self.let_go(),
        }
        Poll::Ready(next)
    }

    /// The next one of the pieces that were taken before.
    fn once_more(&mut self) -> Option<Piece> {
        if self.keeps {
            let piece = self.pieces.get(self.given).cloned()?;
            self.given += 1;
            return Some(piece);
        }
        let piece = self.pieces.pop_front()?;
        self.part.shrink(piece.cost());
        Some(piece)
    }

    fn keep(&mut self, frame: &Frame<Bytes>) {
        if !self.keeps {
            return;
        }
        match Piece::of(frame) {
            Some(piece) if self.part.grow(piece.cost()) => {
                self.pieces.push_back(piece.apart());
                self.given += 1;
            }
            _ => self.let_go(),
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        self.ahead().next().is_none() && (self.over || self.body.is_end_stream())
    }

    pub(super) fn size_hint(&self) -> SizeHint {
        let ahead: u64 = self.ahead().map(|piece| piece.len() as u64).sum();
        let rest = if self.over { SizeHint::with_exact(0) } else { self.body.size_hint() };
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(ahead));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(ahead));
        }
        hint
    }

    /// Those that are to be given once more.
    fn ahead(&self) -> impl Iterator<Item = &Piece> {
        self.pieces.iter().skip(self.given)
    }

    /// The body itself.
    pub(super) fn body(&self) -> &RequestBody {
        &self.body
    }
}

impl Piece {
    /// The same as the frame; none of a kind that is not known.
    fn of(frame: &Frame<Bytes>) -> Option<Piece> {
        let data = frame.data_ref().cloned().map(Piece::Data);
        data.or_else(|| frame.trailers_ref().cloned().map(Piece::Trailers))
    }

    fn into_frame(self) -> Frame<Bytes> {
        match self {
            Piece::Data(data) => Frame::data(data),
            Piece::Trailers(trailers) => Frame::trailers(trailers),
        }
    }

    /// The same, keeping nothing alive but what it is counted for.
    fn apart(self) -> Piece {
        match self {
            Piece::Data(data) if data.len() < SMALL => Piece::Data(Bytes::copy_from_slice(&data)),
            other => other,
        }
    }

    /// Bytes of data.
    fn len(&self) -> usize {
        match self {
            Piece::Data(data) => data.len(),
            Piece::Trailers(_) => 0,
        }
    }

    /// Bytes of memory, roughly.
    fn cost(&self) -> usize {
        let fields = |trailers: &HeaderMap| {
            trailers.iter().map(|(name, value)| EACH + name.as_str().len() + value.len()).sum::<usize>()
        };
        EACH + match self {
            Piece::Data(data) => data.len(),
            Piece::Trailers(trailers) => fields(trailers),
        }
    }
}
