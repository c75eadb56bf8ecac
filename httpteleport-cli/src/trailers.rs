//! Fields after a body.

use http::HeaderMap;
use http::header::{self, HeaderName, HeaderValue, TE};
use http_body::Frame;

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
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::WWW_AUTHENTICATE,
];

/// Removes from trailers what may not be there; other frames stay as they are.
pub(crate) fn clean<T>(mut frame: Frame<T>) -> Frame<T> {
    if let Some(trailers) = frame.trailers_mut() {
        for name in &NEVER {
            trailers.remove(name);
        }
    }
    frame
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
    fn who_asks_for_trailers() {
        for (te, asks) in [("trailers", true), ("gzip;q=0.5, Trailers", true), ("gzip", false), ("xtrailers", false)] {
            let headers = HeaderMap::from_iter([(TE, HeaderValue::from_static(te))]);
            assert_eq!(are_asked_for(&headers), asks, "{te}");
        }
    }
}
