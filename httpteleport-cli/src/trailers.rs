//! Fields after a body. On a connection of HTTP/1.1 hyper sends those alone that a `Trailer` field announces.

use http::header::{self, HeaderName, HeaderValue, TE, TRAILER};
use http::{HeaderMap, Response};
use http_body::{Body, Frame};

use crate::grpc::Call;

/// Fields that frame, route, authenticate or describe a message: known before the body, or not believed (RFC 9110, 6.5.1).
static NEVER: [HeaderName; 30] = [
    header::AGE,
    header::AUTHORIZATION,
    header::CACHE_CONTROL,
    header::CONNECTION,
    header::CONTENT_ENCODING,
    header::CONTENT_LENGTH,
    header::CONTENT_RANGE,
    header::CONTENT_TYPE,
    header::COOKIE,
    header::EXPECT,
    header::HOST,
    header::IF_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_NONE_MATCH,
    header::IF_RANGE,
    header::IF_UNMODIFIED_SINCE,
    HeaderName::from_static("keep-alive"),
    header::LOCATION,
    header::MAX_FORWARDS,
    header::PRAGMA,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    header::RANGE,
    header::SET_COOKIE,
    TE,
    TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::WWW_AUTHENTICATE,
];

/// What a call of gRPC tells behind its body.
const OF_GRPC: HeaderValue = HeaderValue::from_static("grpc-status, grpc-message, grpc-status-details-bin");

/// Removes from trailers what may not be there; other frames stay as they are.
pub(crate) fn clean<T>(mut frame: Frame<T>) -> Frame<T> {
    if let Some(trailers) = frame.trailers_mut() {
        clean_fields(trailers);
    }
    frame
}

/// Removes from trailers what may not be there.
pub(crate) fn clean_fields(trailers: &mut HeaderMap) {
    for name in &NEVER {
        trailers.remove(name);
    }
}

/// Says in a head which trailers follow, where they are at hand already.
pub(crate) fn announce(headers: &mut HeaderMap, trailers: &HeaderMap) {
    let names: Vec<&str> = trailers.keys().map(HeaderName::as_str).collect();
    headers.remove(TRAILER);
    if let Ok(names) = HeaderValue::try_from(names.join(", "))
        && !names.is_empty()
    {
        headers.insert(TRAILER, names);
    }
}

/// Says in the head of a reply, unless its upstream has, that the trailers of gRPC follow, if it is one: they are known before they come.
pub(crate) fn announce_those_of_grpc(reply: &mut Response<impl Body>) {
    if Call::of(reply) == Call::Running && !reply.headers().contains_key(TRAILER) {
        reply.headers_mut().insert(TRAILER, OF_GRPC);
    }
}

/// Whether the sender of a head reads trailers.
pub(crate) fn are_asked_for(headers: &HeaderMap) -> bool {
    let words = headers.get_all(TE).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    words.map(<[u8]>::trim_ascii).any(|word| word.eq_ignore_ascii_case(b"trailers"))
}

/// What such a sender says.
pub(crate) const ASKED_FOR: HeaderValue = HeaderValue::from_static("trailers");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_mean_something_to_a_message_stay_behind() {
        let mut trailers = HeaderMap::new();
        for name in NEVER.iter().chain(&[HeaderName::from_static("grpc-status"), header::ETAG]) {
            trailers.insert(name, HeaderValue::from_static("x"));
        }
        let frame = clean(Frame::<()>::trailers(trailers));
        let mut left: Vec<_> = frame.trailers_ref().expect("trailers").keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["etag", "grpc-status"]);
    }

    #[test]
    fn what_is_at_hand_is_announced_as_it_is() {
        let trailers = HeaderMap::from_iter([
            (HeaderName::from_static("x-sum"), HeaderValue::from_static("7")),
            (header::ETAG, HeaderValue::from_static("\"a\"")),
        ]);
        let mut headers = HeaderMap::from_iter([(TRAILER, HeaderValue::from_static("x-other"))]);
        announce(&mut headers, &trailers);
        let mut names: Vec<_> = headers[TRAILER].to_str().expect("text").split(", ").collect();
        names.sort_unstable();
        assert_eq!(names, ["etag", "x-sum"]);
        announce(&mut headers, &HeaderMap::new());
        assert!(headers.is_empty(), "nothing follows");
    }

    #[test]
    fn who_asks_for_trailers() {
        for (te, asks) in [("trailers", true), ("gzip;q=0.5, Trailers", true), ("gzip", false), ("xtrailers", false)] {
            let headers = HeaderMap::from_iter([(TE, HeaderValue::from_static(te))]);
            assert_eq!(are_asked_for(&headers), asks, "{te}");
        }
    }
}
