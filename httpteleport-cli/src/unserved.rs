//! Requests of HTTP/2 that its library refuses by itself, before they are any of the program's.
//!
//! It says so to nobody but its own log: in fixed words, within the call that reads them. So a layer of the program's log hears them
//! there, and whoever polled the connection takes what was heard. Other words in a later version of the library would not be heard; the
//! tests would.

use std::cell::RefCell;
use std::mem;

use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::filter::{FilterFn, LevelFilter};
use tracing_subscriber::layer::{Context, Layer};
use tracing_subscriber::registry::LookupSpan;

use crate::said;

/// A request that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unserved {
    /// Its head is too large: it was answered 431.
    LargeHead,
    /// It is no good HTTP/2, for this reason: it was reset.
    Malformed(String),
}

/// How the words begin of what follows a head: who reads the body hears of that. A block that makes no sense is said to be so before it is known
/// for trailers, so that one of these counts twice, here and there.
const LATER: [&str; 5] = ["PRIORITY", "poll_response", "recv_data", "recv_headers: trailers", "recv_trailers"];

impl Unserved {
    /// What its words tell of.
    fn from_words(words: &str) -> Option<Unserved> {
        if words.starts_with("stream error REQUEST_HEADER_FIELDS_TOO_LARGE") {
            return Some(Unserved::LargeHead);
        }
        let why = match words.strip_prefix("stream error PROTOCOL_ERROR -- ") {
            Some(why) if !LATER.iter().any(|later| why.starts_with(later)) => why,
            None if words.starts_with("malformed headers: ") => words,
            _ => return None,
        };
        // What follows is the number of the stream, or of any length and out of the request.
        let end = why.find([';', '(']).unwrap_or(why.len());
        Some(Unserved::Malformed(why[..end].trim_end().to_owned()))
    }
}

thread_local! {
    /// What was refused in the call that runs on this thread, and how often each.
    static HEARD: RefCell<Vec<(Unserved, usize)>> = const { RefCell::new(Vec::new()) };
}

/// Polls a connection of a client, and tells what was refused meanwhile, and how often.
pub(crate) fn while_polling<T>(poll: impl FnOnce() -> T) -> (T, Vec<(Unserved, usize)>) {
    // Connections to upstreams, which nobody asks, are polled on this thread too.
    take();
    (poll(), take())
}

fn take() -> Vec<(Unserved, usize)> {
    HEARD.with(|heard| mem::take(&mut *heard.borrow_mut()))
}

/// What listens to the library. Its log is otherwise silent, and costs as little as if nobody listened.
pub(crate) fn listener<S>() -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    Listening.with_filter(FilterFn::new(is_of_interest).with_max_level_hint(LevelFilter::DEBUG))
}

/// Whether it may be said of a refusal: words alone. What is said of each frame has the frame beside them.
fn is_of_interest(said: &Metadata<'_>) -> bool {
    said.is_event()
        && *said.level() == Level::DEBUG
        && said.target().starts_with("h2::")
        && said.fields().iter().map(|field| field.name()).eq(["message"])
}

struct Listening;

impl<S: Subscriber> Layer<S> for Listening {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let Some(unserved) = Unserved::from_words(&said::words(event)) else { return };
        HEARD.with(|heard| {
            let mut heard = heard.borrow_mut();
            match heard.iter_mut().find(|(known, _)| *known == unserved) {
                Some((_, count)) => *count += 1,
                None => heard.push((unserved, 1)),
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_the_library() {
        let malformed = |why: &str| Some(Unserved::Malformed(why.to_owned()));
        let large =
            "stream error REQUEST_HEADER_FIELDS_TOO_LARGE -- recv_headers: frame is over size; stream=StreamId(1)";
        for (words, want) in [
            (large, Some(Unserved::LargeHead)),
            (
                "stream error PROTOCOL_ERROR -- malformed header block; stream=StreamId(1);",
                malformed("malformed header block"),
            ),
            ("malformed headers: missing scheme", malformed("malformed headers: missing scheme")),
            ("malformed headers: malformed path (\"a;b\"): no", malformed("malformed headers: malformed path")),
            ("stream error PROTOCOL_ERROR -- recv_data: content-length overflow; stream=StreamId(1); len=9;", None),
            ("connection error PROTOCOL_ERROR -- unexpected;", None),
        ] {
            assert_eq!(Unserved::from_words(words), want, "{words}");
        }
    }

    #[test]
    fn what_was_said_of_another_connection_is_not_told() {
        let listening = tracing_subscriber::layer::SubscriberExt::with(tracing_subscriber::registry(), listener());
        tracing::subscriber::with_default(listening, || {
            let say = || tracing::debug!(target: "h2::server", "malformed headers: missing {}", "scheme");
            say();
            let ((), told) = while_polling(|| {
                say();
                say();
                tracing::debug!(target: "h2::codec", frame = 1, "malformed headers: of a frame");
                tracing::debug!(target: "hyper", "malformed headers: of another library");
            });
            assert_eq!(told, [(Unserved::Malformed("malformed headers: missing scheme".to_owned()), 2)]);
        });
    }
}
