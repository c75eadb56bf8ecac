//! Requests to an authority, and when it wants the next ones.

use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::RETRY_AFTER;
use http::uri::Scheme;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::Full;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::ClientConfig;
use tokio::time::{Instant, timeout};

use crate::fetch::fetch;
use crate::outbound::one_line;

/// For one request, whole.
const PATIENCE: Duration = Duration::from_secs(30);

/// Makes them.
pub(super) struct Http {
    pub(super) tls: Arc<ClientConfig>,
    pub(super) wish: Arc<Wish>,
}

/// When the authority wants to be asked again, if it has said so.
#[derive(Debug, Default)]
pub(super) struct Wish(Mutex<Option<Instant>>);

impl Wish {
    /// How long it wants to be left alone from now on.
    pub(super) fn left(&self, now: Instant) -> Option<Duration> {
        let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        until.map(|until| until.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }

    /// Notes what a reply says that refuses for now.
    fn note(&self, status: StatusCode, headers: &HeaderMap) {
        let refuses = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        if let Some(pause) = retry_after(headers, SystemTime::now()).filter(|_| refuses) {
            // One that no clock can tell is none.
            *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now().checked_add(pause);
        }
    }
}

/// Seconds, or a date (RFC 9110, 10.2.3).
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(now).ok(),
    }
}

impl HttpClient for Http {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let (tls, wish) = (Arc::clone(&self.tls), Arc::clone(&self.wish));
        Box::pin(async move {
            let uri = request.uri().clone();
            let failed = |why: &dyn Display| Err(Error::Other(format!("the authority at {uri}: {why}").into()));
            if uri.scheme() != Some(&Scheme::HTTPS) {
                return failed(&"its URLs have to be https");
            }
            match timeout(PATIENCE, fetch(Some(&tls), request)).await {
                Ok(Ok(reply)) => {
                    wish.note(reply.status(), reply.headers());
                    Ok(BytesResponse::from(reply.map(Full::new)))
                }
                Ok(Err(error)) => failed(&one_line(&*error)),
                Err(_) => failed(&"it does not answer in time"),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_when_to_ask_again_in_seconds_or_with_a_date() {
        let now = SystemTime::UNIX_EPOCH;
        let after = |text: &str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().expect("a value"))]);
            retry_after(&headers, now).map(|pause| pause.as_secs())
        };
        assert_eq!(after("120"), Some(120));
        assert_eq!(after("Thu, 01 Jan 1970 00:01:00 GMT"), Some(60));
        assert_eq!([after("Wed, 31 Dec 1969 00:00:00 GMT"), after("soon"), after("-1")], [None; 3]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_asked_for_is_over_in_time_and_other_replies_ask_for_nothing() {
        let (wish, now) = (Wish::default(), Instant::now());
        let headers = HeaderMap::from_iter([(RETRY_AFTER, "7".parse().expect("a value"))]);
        // A reply to a poll has it too.
        wish.note(StatusCode::OK, &headers);
        assert_eq!(wish.left(now), None);
        wish.note(StatusCode::TOO_MANY_REQUESTS, &headers);
        let left = [0, 6, 7].map(|gone| wish.left(now + Duration::from_secs(gone)).map(|left| left.as_secs()));
        assert_eq!(left, [Some(7), Some(1), None]);
    }
}
