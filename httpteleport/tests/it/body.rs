//! Bodies, and collecting them.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use httpteleport::{Body, CollectError};

/// A body of given frames, that claims a size.
struct Frames(VecDeque<Result<Frame<Bytes>, &'static str>>, SizeHint);

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        Poll::Ready(self.0.pop_front())
    }

    fn size_hint(&self) -> SizeHint {
        self.1
    }
}

fn frames(pieces: &[&'static str]) -> Frames {
    let frames = pieces.iter().map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes()))));
    Frames(frames.collect(), SizeHint::default())
}

#[tokio::test]
async fn pieces_are_joined_and_trailers_dropped() {
    let mut body = frames(&["he", "", "llo", " world"]);
    body.0.push_back(Ok(Frame::trailers(http::HeaderMap::new())));
    assert_eq!(Body::collect_from(body, 11).await.unwrap(), Body::from("hello world"));
    assert_eq!(Body::collect_from(frames(&[]), 0).await.unwrap(), Body::empty());
}

#[tokio::test]
async fn one_piece_is_not_copied() {
    let piece = Bytes::from(vec![7; 1000]);
    let collected = Body::collect_from(Body::from(piece.clone()), 1000).await.unwrap();
    assert_eq!(collected.as_bytes().as_ptr(), piece.as_ptr());
}

#[tokio::test]
async fn a_body_over_the_cap_is_too_large() {
    for pieces in [&["hello!"][..], &["hello", "!"], &["h", "ell", "o!"]] {
        let outcome = Body::collect_from(frames(pieces), 5).await;
        assert!(matches!(outcome, Err(CollectError::TooLarge { limit: 5 })), "{pieces:?}");
    }
}

#[tokio::test]
async fn a_body_that_announces_too_much_is_not_read() {
    let mut body = frames(&[]);
    body.0.push_back(Err("read"));
    body.1.set_lower(6);
    assert!(matches!(Body::collect_from(body, 5).await, Err(CollectError::TooLarge { limit: 5 })));
}

#[tokio::test]
async fn the_error_of_the_body_comes_through() {
    let mut body = frames(&["x"]);
    body.0.push_back(Err("broken"));
    assert!(matches!(Body::collect_from(body, 5).await, Err(CollectError::Body("broken"))));
}

#[tokio::test]
async fn a_body_is_one_frame_of_exact_size() {
    let mut body = Body::from("hello".to_owned());
    assert_eq!(http_body::Body::size_hint(&body).exact(), Some(5));
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "hello");
    assert!(http_body::Body::is_end_stream(&body));
    assert!(body.frame().await.is_none());
}

#[test]
fn bodies_come_from_the_usual_types() {
    let all: [Body; 5] =
        [Bytes::from_static(b"x").into(), vec![b'x'].into(), String::from("x").into(), "x".into(), (&b"x"[..]).into()];
    assert!(all.iter().all(|body| body.len() == 1 && !body.is_empty() && body.clone().into_bytes() == "x"));
    assert_eq!(Body::from(()), Body::default());
}

#[test]
fn collect_errors_keep_their_cause() {
    let error: CollectError<std::io::Error> = CollectError::Body(std::io::Error::other("cause"));
    assert!(std::error::Error::source(&error).unwrap().to_string().contains("cause"));
    let error: CollectError<Infallible> = CollectError::TooLarge { limit: 7 };
    assert!(error.to_string().contains("7 bytes"));
}
