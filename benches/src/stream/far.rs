//! The server: a large body, a small reply, and events.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use tokio::time::{Instant, sleep_until};

use crate::framed::Incoming;

/// Between two events.
pub(super) const BEAT: Duration = Duration::from_millis(50);
/// Bytes that a source has ready at once.
const PIECE: usize = 64 * 1024;
/// Bytes of a small reply.
const SMALL: usize = 261;

/// What the server answers with.
#[derive(Clone)]
pub(super) struct Far {
    /// Bytes that do not compress.
    noise: Bytes,
    /// When events count from.
    epoch: Instant,
}

impl Far {
    pub(super) fn new(epoch: Instant) -> Self {
        // Nothing in it comes twice: xorshift, byte by byte.
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let byte = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        };
        Self { noise: std::iter::repeat_with(byte).take(1 << 20).collect(), epoch }
    }

    /// `/down/BYTES`, `/events`, and anything else.
    pub(super) fn answer(&self, request: &Request<Incoming>) -> Response<UnsyncBoxBody<Bytes, Infallible>> {
        let path = request.uri().path();
        Response::new(match path.strip_prefix("/down/").map(str::parse) {
            Some(Ok(bytes)) => self.large(bytes),
            _ if path == "/events" => self.events(),
            _ => Full::new(self.noise.slice(..SMALL)).boxed_unsync(),
        })
    }

    fn large(&self, bytes: usize) -> UnsyncBoxBody<Bytes, Infallible> {
        let noise = self.noise.clone();
        let piece = move |at: usize| {
            let from = at % noise.len();
            Ok(Frame::data(noise.slice(from..noise.len().min(from + PIECE.min(bytes - at)))))
        };
        StreamBody::new(stream::iter((0..bytes).step_by(PIECE)).map(piece)).boxed_unsync()
    }

    /// Each says when it happened, in nanoseconds.
    fn events(&self) -> UnsyncBoxBody<Bytes, Infallible> {
        let epoch = self.epoch;
        let events = stream::unfold(Instant::now(), move |due| async move {
            sleep_until(due).await;
            let event = format!("data: {}\n\n", epoch.elapsed().as_nanos());
            Some((Ok(Frame::data(Bytes::from(event))), due + BEAT))
        });
        StreamBody::new(events).boxed_unsync()
    }
}
