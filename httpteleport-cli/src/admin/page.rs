//! The page: one file with all that it needs in it, and what it may do.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::HeaderValue;
use ring::digest::{SHA256, digest};

const HTML: &str = include_str!("page.html");

/// The page and its policy.
pub(super) struct Page {
    policy: HeaderValue,
}

impl Page {
    pub(super) fn new() -> Page {
        // Its own script and style by their hashes, its icon, the numbers from where it came, and nothing else.
        let policy = format!(
            "default-src 'none'; script-src '{}'; style-src '{}'; img-src data:; connect-src 'self'; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'",
            hash(inside("<script>", "</script>")),
            hash(inside("<style>", "</style>"))
        );
        Page { policy: HeaderValue::from_str(&policy).expect("base64 and words") }
    }

    pub(super) fn html(&self) -> Bytes {
        Bytes::from_static(HTML.as_bytes())
    }

    /// Its `Content-Security-Policy`.
    pub(super) fn policy(&self) -> HeaderValue {
        self.policy.clone()
    }
}

/// What is between two tags of the page.
fn inside(begin: &str, end: &str) -> &'static str {
    let (_, rest) = HTML.split_once(begin).unwrap_or_default();
    rest.split_once(end).unwrap_or_default().0
}

fn hash(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(digest(&SHA256, text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_asks_nobody_for_anything() {
        assert_eq!(HTML.matches("<script").count(), 1, "one script, whose hash is in the policy");
        assert_eq!(HTML.matches("<style").count(), 1);
        assert!(inside("<script>", "</script>").len() > 1000 && inside("<style>", "</style>").len() > 1000);
        let outside = HTML.replace("http://www.w3.org/2000/svg", "");
        for link in ["http://", "https://", "src=", "@import", "url(", " style=", "onclick", "innerHTML"] {
            assert!(!outside.contains(link), "{link}");
        }
    }

    #[test]
    fn the_policy_names_both_hashes() {
        let policy = Page::new().policy();
        let policy = policy.to_str().expect("ASCII");
        assert_eq!(policy.matches("sha256-").count(), 2, "{policy}");
        assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"), "{policy}");
    }
}
