//! Fields after a body. On a connection of HTTP/1.1 hyper sends those alone that a `Trailer` field announces.

use std::sync::Arc;

use http::header::{self, HeaderName, HeaderValue, TE, TRAILER};
use http::{HeaderMap, Response};
use http_body::{Body, Frame};

use crate::grpc::Call;
use crate::spelling::{are_alike, remove_alike};

/// Fields that frame, route, authenticate or describe a message, or tell where it comes from: known before the body, or not believed (RFC 9110, 6.5.1).
static NEVER: [HeaderName; 37] = [
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
    header::FORWARDED,
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
    HeaderName::from_static("x-forwarded-for"),
    HeaderName::from_static("x-forwarded-host"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-forwarded-proto"),
    HeaderName::from_static("x-forwarded-server"),
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
    remove_alike(trailers, &NEVER);
}

/// Names that are decided about here, beside those that are never among trailers: what a message says of them behind its body stays
/// here, or who reads trailers as if they stood in the head would believe it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Withheld(Option<Arc<[HeaderName]>>);

impl Withheld {
    /// These names.
    pub(crate) fn new<'a>(names: impl Iterator<Item = &'a HeaderName>) -> Withheld {
        let names: Arc<[HeaderName]> = names.cloned().collect();
        Withheld(Some(names).filter(|names| !names.is_empty()))
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Removes from trailers these and what may never be there; other frames stay as they are.
    pub(crate) fn clean<T>(&self, frame: Frame<T>) -> Frame<T> {
        let mut frame = clean(frame);
        if let (Some(trailers), Some(names)) = (frame.trailers_mut(), &self.0) {
            remove_alike(trailers, names);
        }
        frame
    }

    /// Removes them from what a head says of its trailers.
    pub(crate) fn clean_announced(&self, headers: &mut HeaderMap) {
        let Some(names) = self.0.as_ref().filter(|_| headers.contains_key(TRAILER)) else { return };
        let is_withheld = |said: &str| names.iter().any(|name| are_alike(&said.to_ascii_lowercase(), name.as_str()));
        let texts = headers.get_all(TRAILER).iter().filter_map(|text| text.to_str().ok());
        let said = texts.flat_map(|text| text.split(',')).map(str::trim);
        let left: Vec<&str> = said.filter(|name| !name.is_empty() && !is_withheld(name)).collect();
        match HeaderValue::try_from(left.join(", ")) {
            Ok(left) if !left.is_empty() => headers.insert(TRAILER, left),
            _ => headers.remove(TRAILER),
        };
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
        for name in NEVER
            .iter()
            .chain(&["grpc-status", "x_forwarded-for", "content_length", "etag"].map(HeaderName::from_static))
        {
            trailers.insert(name, HeaderValue::from_static("x"));
        }
        let frame = clean(Frame::<()>::trailers(trailers));
        let mut left: Vec<_> = frame.trailers_ref().expect("trailers").keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["etag", "grpc-status"]);
    }

    #[test]
    fn names_that_are_decided_about_here_are_neither_announced_nor_passed_on() {
        let [mine, yours] = [HeaderName::from_static("x-mine"), HeaderName::from_static("x-yours")];
        let value = HeaderValue::from_static;
        let other = HeaderName::from_static("x_mine");
        let trailers = || HeaderMap::from_iter([&mine, &yours, &other].map(|name| (name.clone(), value("1"))));
        let withheld = Withheld::new([&mine].into_iter());
        let left = withheld.clean(Frame::<()>::trailers(trailers()));
        assert_eq!(left.trailers_ref().expect("trailers").keys().collect::<Vec<_>>(), [&yours]);
        let all = Withheld::new([].into_iter()).clean(Frame::<()>::trailers(trailers()));
        assert_eq!(all.trailers_ref().expect("trailers").len(), 3);
        for (said, want) in [
            (&["X-Mine, X-Yours"][..], &["X-Yours"][..]),
            (&["x-yours", "a,X-MINE, X_mine"], &["x-yours, a"]),
            (&["x-mine"], &[]),
            (&[], &[]),
        ] {
            let mut headers = HeaderMap::new();
            for said in said {
                headers.append(TRAILER, value(said));
            }
            withheld.clean_announced(&mut headers);
            assert_eq!(headers.get_all(TRAILER).iter().collect::<Vec<_>>(), want);
        }
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
