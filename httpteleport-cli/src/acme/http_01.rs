//! Proofs that a name is ours, for an authority that asks by HTTP (RFC 8555, 8.3).

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Method, Request, Response};
use http_body::Body as HttpBody;

use crate::body::Body;

/// Where an authority asks, before the token.
const PLACE: &str = "/.well-known/acme-challenge/";

type Proofs = Arc<ArcSwap<HashMap<String, Bytes>>>;

/// The proofs that are given now, by their tokens. All inputs of the process that speak HTTP in clear text give them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tokens(Proofs);

/// Ends the giving when it is dropped.
pub(super) struct Shown {
    proofs: Proofs,
    token: String,
}

impl Tokens {
    /// Gives this proof to whoever asks for the token.
    pub(super) fn show(&self, token: &str, proof: &str) -> Shown {
        let (token, proof) = (token.to_owned(), Bytes::copy_from_slice(proof.as_bytes()));
        self.0.rcu(|proofs| {
            let mut proofs = HashMap::clone(proofs);
            proofs.insert(token.clone(), proof.clone());
            proofs
        });
        Shown { proofs: Arc::clone(&self.0), token }
    }

    /// The reply to a request for a proof that is given now: exactly that path, and nothing in the request but its head. All other
    /// requests are none of ours.
    pub(crate) fn reply<B: HttpBody>(&self, request: &Request<B>) -> Option<Response<Body>> {
        let token = request.uri().path().strip_prefix(PLACE)?;
        let asks = matches!(*request.method(), Method::GET | Method::HEAD);
        if !asks || request.uri().query().is_some() || !request.body().is_end_stream() {
            return None;
        }
        let proof = self.0.load().get(token)?.clone();
        let mut reply = Response::new(Body::from(proof));
        reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
        Some(reply)
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.proofs.rcu(|proofs| {
            let mut proofs = HashMap::clone(proofs);
            proofs.remove(&self.token);
            proofs
        });
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Empty, Full};

    use super::*;

    const TOKEN: &str = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr-oA";

    fn asks(method: Method, target: &str) -> Request<Empty<Bytes>> {
        Request::builder().method(method).uri(target).body(Empty::new()).expect("a request")
    }

    #[tokio::test]
    async fn a_proof_is_given_as_long_as_it_is_shown() {
        let tokens = Tokens::default();
        let target = format!("{PLACE}{TOKEN}");
        assert!(tokens.reply(&asks(Method::GET, &target)).is_none(), "nothing is shown yet");
        let other = tokens.show("other", "proof of another");
        let shown = tokens.show(TOKEN, "the proof");
        for request in [
            asks(Method::GET, &target),
            asks(Method::HEAD, &target),
            asks(Method::GET, &format!("http://a.example{target}")),
        ] {
            let reply = tokens.clone().reply(&request).expect("it is given");
            assert_eq!(reply.headers()[CONTENT_TYPE], "application/octet-stream");
            let body = reply.into_body().collect().await.expect("whole").to_bytes();
            assert_eq!(body, "the proof");
        }
        drop(shown);
        assert!(tokens.reply(&asks(Method::GET, &target)).is_none(), "it is over");
        assert!(tokens.reply(&asks(Method::GET, &format!("{PLACE}other"))).is_some());
        drop(other);
        assert!(tokens.0.load().is_empty());
    }

    #[test]
    fn what_asks_for_anything_else_is_not_ours() {
        let tokens = Tokens::default();
        let _shown = tokens.show(TOKEN, "the proof");
        let long = format!("{PLACE}{}", "x".repeat(60_000));
        for target in [
            "/".to_owned(),
            PLACE.to_owned(),
            PLACE.trim_end_matches('/').to_owned(),
            long,
            format!("{PLACE}{TOKEN}/"),
            format!("{PLACE}{TOKEN}x"),
            format!("{PLACE}{}", &TOKEN[1..]),
            format!("{PLACE}{}", TOKEN.to_lowercase()),
            format!("{PLACE}/{TOKEN}"),
            format!("{PLACE}./{TOKEN}"),
            format!("{PLACE}../acme-challenge/{TOKEN}"),
            format!("{PLACE}%2e%2e/{TOKEN}"),
            format!("{PLACE}%65{}", &TOKEN[1..]),
            format!("/.well-known%2Facme-challenge/{TOKEN}"),
            format!("/.well-known/acme-challenge%2f{TOKEN}"),
            format!("//.well-known/acme-challenge/{TOKEN}"),
            format!("/x/../.well-known/acme-challenge/{TOKEN}"),
            format!("{PLACE}{TOKEN}?x"),
        ] {
            assert!(tokens.reply(&asks(Method::GET, &target)).is_none(), "{target}");
        }
        let target = format!("{PLACE}{TOKEN}");
        assert!(tokens.reply(&asks(Method::POST, &target)).is_none());
        let body = Request::get(&target).body(Full::new(Bytes::from("x"))).expect("a request");
        assert!(tokens.reply(&body).is_none());
    }
}
