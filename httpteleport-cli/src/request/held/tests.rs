use std::collections::VecDeque;
use std::pin::Pin;
use std::task::Waker;

use http::HeaderMap;
use http_body::Body;
use http_body_util::BodyExt as _;
use proptest::prelude::*;

use super::super::rewind::Room;
use super::*;

/// A body whose pieces come as listed, with a pause before each that has one, of a known length if that is told.
struct Listed {
    frames: VecDeque<(bool, Result<Frame<Bytes>, BoxError>)>,
    left: Option<u64>,
}

impl Body for Listed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some((pause @ true, _)) = self.frames.front_mut() {
            *pause = false;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let next = self.frames.pop_front().map(|(_, frame)| frame);
        if let (Some(left), Some(Ok(frame))) = (&mut self.left, &next) {
            *left -= frame.data_ref().map_or(0, Bytes::len) as u64;
        }
        Poll::Ready(next)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::new, SizeHint::with_exact)
    }

    fn is_end_stream(&self) -> bool {
        self.left.is_some() && self.frames.is_empty()
    }
}

/// What a reader has seen.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    bytes: Vec<u8>,
    trailers: Option<HeaderMap>,
    /// How it ended, if it did: well, or not.
    ended: Option<bool>,
}

impl Seen {
    /// Polls the body so often, or to its end. As hyper does, it asks whether the end has come after each frame.
    fn read(&mut self, body: &mut RequestBody, polls: usize) {
        for _ in 0..polls {
            if self.ended.is_some() {
                return;
            }
            match Pin::new(&mut *body).poll_frame(&mut Context::from_waker(Waker::noop())) {
                Poll::Pending => {}
                Poll::Ready(None) => self.ended = Some(true),
                Poll::Ready(Some(Err(_))) => self.ended = Some(false),
                Poll::Ready(Some(Ok(frame))) => {
                    match frame.into_data() {
                        Ok(data) => self.bytes.extend_from_slice(&data),
                        Err(frame) => self.trailers = frame.into_trailers().ok(),
                    }
                    if self.trailers.is_some() || body.is_end_stream() {
                        self.ended = Some(true);
                    }
                }
            }
        }
    }
}

/// A room for each case: they run side by side.
fn room(most: usize) -> &'static Room {
    Box::leak(Box::new(Room::new(most)))
}

fn streamed(listed: Listed, room: &'static Room) -> RequestBody {
    RequestBody(Kind::Again(Box::new(Rewind::within(RequestBody::stream(listed), room))))
}

fn pieces(sizes: &[(usize, bool)], sized: bool, trailers: bool, fails: bool) -> (Listed, Seen) {
    let mut frames = VecDeque::new();
    let mut whole = Seen { ended: Some(!fails), ..Seen::default() };
    for (number, (size, pause)) in sizes.iter().enumerate() {
        let bytes: Vec<u8> = (0..*size).map(|at| (at * 31 + number).to_le_bytes()[0]).collect();
        whole.bytes.extend_from_slice(&bytes);
        frames.push_back((*pause, Ok(Frame::data(bytes.into()))));
    }
    let left = sized.then_some(whole.bytes.len() as u64);
    if fails {
        frames.push_back((false, Err("broken".into())));
    } else if trailers {
        let fields: HeaderMap =
            [("x-end".parse().expect("a name"), "here".parse().expect("a value"))].into_iter().collect();
        whole.trailers = Some(fields.clone());
        frames.push_back((true, Ok(Frame::trailers(fields))));
    }
    (Listed { frames, left }, whole)
}

proptest! {
    #[test]
    fn whoever_has_it_last_gets_all_of_it_once_and_nobody_half_of_it_as_a_whole(
        sizes in prop::collection::vec((prop_oneof![0usize..40, 0usize..40_000], any::<bool>()), 0..20),
        (sized, trailers, fails) in any::<(bool, bool, bool)>(),
        takes in prop::collection::vec((0usize..50, 0usize..3), 0..5),
        replied_after in 0usize..50,
        most in prop_oneof![Just(0usize), 0usize..200_000, Just(usize::MAX)],
    ) {
        let room = room(most);
        let (listed, whole) = pieces(&sizes, sized, trailers, fails);
        let length = whole.bytes.len() as u64;
        let mut body = streamed(listed, room);
        let mut lost = false;
        for (polls, late) in takes {
            if sized {
                prop_assert_eq!(body.size_hint().exact(), Some(length), "each begins with all that there is");
            }
            let (mut lent, held) = body.held();
            let mut seen = Seen::default();
            seen.read(&mut lent, polls);
            prop_assert!(whole.bytes.starts_with(&seen.bytes));
            let untouched = held.has_not_begun();
            match held.take() {
                Some(again) => body = again,
                None => {
                    // Too much was taken, or it is broken: who has it goes on.
                    prop_assert!(!untouched);
                    seen.read(&mut lent, usize::MAX);
                    prop_assert_eq!(&seen, &whole);
                    body = RequestBody::default();
                    lost = true;
                    break;
                }
            }
            let before = seen.bytes.len();
            seen.read(&mut lent, late);
            prop_assert_eq!(seen.bytes.len(), before, "nothing comes of one that was taken back");
            prop_assert!(seen.ended != Some(true) || seen.bytes == whole.bytes, "nor its end");
        }
        if !lost {
            let (mut lent, held) = body.held();
            let mut seen = Seen::default();
            seen.read(&mut lent, replied_after);
            drop(held);
            seen.read(&mut lent, usize::MAX);
            prop_assert_eq!(seen, whole);
            prop_assert!(room.is_empty(), "nothing is kept once it is known to be taken");
            drop(lent);
        }
        prop_assert!(room.is_empty());
    }
}

fn data(size: usize) -> Listed {
    pieces(&[(size, true)], false, false, false).0
}

#[tokio::test]
async fn one_that_is_whole_always_comes_back() {
    let (lent, held) = RequestBody::from(Bytes::from("all")).held();
    assert_eq!(lent.collect().await.expect("well").to_bytes(), "all");
    assert!(held.is_whole());
    assert_eq!(held.take().expect("it").collect().await.expect("well").to_bytes(), "all");
}

#[tokio::test]
async fn what_a_connection_still_holds_of_one_that_was_taken_back_is_an_error() {
    let (mut lent, held) = streamed(data(5), room(1000)).held();
    assert!(lent.progress().is_some() && !held.is_whole() && held.has_not_begun());
    assert_eq!(lent.frame().await.expect("a frame").expect("well").into_data().expect("data").len(), 5);
    assert!(!held.has_not_begun());
    let again = held.take().expect("it is kept");
    assert!(lent.frame().await.expect("not the end").is_err() && !lent.is_end_stream());
    assert_eq!(again.collect().await.expect("well").to_bytes().len(), 5);
}

#[tokio::test]
async fn there_is_a_bound_for_each_and_one_for_all() {
    const LARGE: usize = 200 * 1024;
    let large = || pieces(&[(LARGE, false), (LARGE, false)], false, false, false).0;
    // For each:
    let (mut lent, held) = streamed(large(), room(usize::MAX)).held();
    lent.frame().await.expect("a frame").expect("well");
    lent.frame().await.expect("a frame").expect("well");
    assert!(held.take().is_none(), "more was taken than is kept");
    // For all:
    let shared = room(LARGE * 3 / 2);
    let mut first = streamed(large(), shared).held();
    let mut second = streamed(large(), shared).held();
    first.0.frame().await.expect("a frame").expect("well");
    second.0.frame().await.expect("a frame").expect("well");
    assert!(second.1.take().is_none(), "there was no room for it");
    drop(first.1);
    let mut third = streamed(large(), shared).held();
    third.0.frame().await.expect("a frame").expect("well");
    assert!(third.1.take().is_some(), "there is again");
}

#[test]
fn a_small_piece_does_not_keep_the_buffer_that_it_was_read_into() {
    let buffer = Bytes::from(vec![0; 64 * 1024]);
    let listed = Listed { frames: [(false, Ok(Frame::data(buffer.slice(..10))))].into(), left: None };
    let (mut lent, held) = streamed(listed, room(1000)).held();
    let mut seen = Seen::default();
    seen.read(&mut lent, 1);
    assert_eq!(seen.bytes.len(), 10);
    assert!(buffer.is_unique(), "it is held by nobody else");
    assert!(held.take().is_some());
}

#[test]
fn who_waits_for_it_anew_waits_for_nobody_else() {
    let (mut lent, held) = streamed(data(5), room(1000)).held();
    let progress = lent.progress().expect("it streams");
    let mut seen = Seen::default();
    seen.read(&mut lent, 1);
    assert!(progress.goes_on(), "its client is waited for");
    let mut again = held.take().expect("untouched");
    assert!(progress.goes_on(), "it begins again");
    assert!(!progress.goes_on(), "nobody takes it");
    seen.read(&mut again, 1);
    assert!(progress.goes_on());
    drop(again);
    assert!(progress.is_over());
}
