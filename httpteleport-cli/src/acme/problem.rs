//! What an authority says of an order that it does not like (RFC 8555, 6.7).

use instant_acme::{Error, Problem};

const KIND: &str = "urn:ietf:params:acme:error:";

/// Whether it does not know our account any more.
pub(super) fn is_forgotten(error: &anyhow::Error) -> bool {
    is(error, "accountDoesNotExist")
}

/// Whether it wants the same again with another nonce (RFC 8555, 6.5).
pub(super) fn is_bad_nonce(error: &anyhow::Error) -> bool {
    is(error, "badNonce")
}

/// Whether it wants to be asked more seldom.
pub(super) fn is_limited(error: &anyhow::Error) -> bool {
    is(error, "rateLimited") || problem(error).is_some_and(|problem| matches!(problem.status, Some(429 | 503)))
}

fn is(error: &anyhow::Error, kind: &str) -> bool {
    let said = problem(error).and_then(|problem| problem.r#type.as_deref());
    said.and_then(|said| said.strip_prefix(KIND)) == Some(kind)
}

fn problem(error: &anyhow::Error) -> Option<&Problem> {
    match error.downcast_ref()? {
        Error::Api(problem) => Some(problem),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    fn said(kind: &str, status: u16) -> anyhow::Error {
        let problem = serde_json::json!({ "type": format!("{KIND}{kind}"), "detail": "no", "status": status });
        let problem: Problem = serde_json::from_value(problem).expect("a problem");
        Err::<(), _>(Error::from(problem)).context("no account with the authority").expect_err("it is one")
    }

    #[test]
    fn problems_are_told_apart_whatever_stands_before_them() {
        let kinds = |error| [is_forgotten(&error), is_bad_nonce(&error), is_limited(&error)];
        assert_eq!(kinds(said("accountDoesNotExist", 400)), [true, false, false]);
        assert_eq!(kinds(said("badNonce", 400)), [false, true, false]);
        assert_eq!(kinds(said("rateLimited", 403)), [false, false, true]);
        assert_eq!(kinds(said("serverInternal", 503)), [false, false, true]);
        assert_eq!(kinds(said("malformed", 400)), [false, false, false]);
        assert_eq!(kinds(anyhow::anyhow!("badNonce")), [false, false, false]);
    }
}
