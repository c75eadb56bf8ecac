//! Replies that are nothing but a head, whoever made them: those to HEAD, 204 and 304 (RFC 9110, 6.4.1).
//!
//! Over HTTP/1.1 hyper leaves a body out where none may be. Over HTTP/2 it sends it, and the client takes that for an error.

use http::header::{CONTENT_LENGTH, HeaderValue};
use http::{Method, Response, StatusCode};
use http_body::Body as _;

use crate::body::Body;

/// Takes the body from a reply to a request of this method that may have none. To HEAD it still tells how long the body would be, if that is
/// known.
pub(super) fn take_body(method: &Method, reply: &mut Response<Body>) {
    let asked_for_head = method == Method::HEAD;
    let bodiless = asked_for_head || matches!(reply.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    if !bodiless || reply.body().is_end_stream() {
        return;
    }
    if asked_for_head && let Some(length) = reply.body().length_at_hand() {
        reply.headers_mut().entry(CONTENT_LENGTH).or_insert(HeaderValue::from(length));
    }
    reply.body_mut().leave_out();
}
