//! The handshake of WebSocket (RFC 6455), where one side needs none because it speaks HTTP/2.

use http::header::{HeaderMap, HeaderValue, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};

const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
/// What is put behind the key, so that nobody agrees by chance.
const ANSWER: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A key that nobody has used; it is no secret.
pub(crate) fn key() -> String {
    base64(&fastrand::u128(..).to_be_bytes())
}

/// Puts the key into a request.
pub(crate) fn ask(headers: &mut HeaderMap, key: &str) {
    if let Ok(key) = HeaderValue::from_str(key) {
        headers.insert(SEC_WEBSOCKET_KEY, key);
    }
}

/// Puts the answer to a key into a reply.
pub(crate) fn answer(headers: &mut HeaderMap, key: &[u8]) {
    if let Ok(answer) = HeaderValue::from_str(&answer_to(key)) {
        headers.insert(SEC_WEBSOCKET_ACCEPT, answer);
    }
}

fn answer_to(key: &[u8]) -> String {
    base64(digest(&SHA1_FOR_LEGACY_USE_ONLY, &[key, ANSWER.as_bytes()].concat()).as_ref())
}

/// Whether a reply answers the key; takes the answer out of it.
pub(crate) fn take_answer(headers: &mut HeaderMap, key: &str) -> bool {
    let want = answer_to(key.as_bytes());
    headers.remove(SEC_WEBSOCKET_ACCEPT).is_some_and(|answer| answer == want)
}

fn base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let bits = (0..3).fold(0, |bits, at| bits << 8 | usize::from(three.get(at).copied().unwrap_or(0)));
        for digit in 0..4 {
            let shown = digit <= three.len();
            text.push(if shown { char::from(DIGITS[bits >> (18 - 6 * digit) & 63]) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        let mut headers = HeaderMap::new();
        for (answer, fits) in [("s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", true), ("s3pPLMBiTxaQ9kYGzzhZRbK+xOp=", false)] {
            headers.insert(SEC_WEBSOCKET_ACCEPT, HeaderValue::from_static(answer));
            assert_eq!(take_answer(&mut headers, "dGhlIHNhbXBsZSBub25jZQ=="), fits);
            assert!(headers.is_empty());
        }
        assert!(!take_answer(&mut headers, "dGhlIHNhbXBsZSBub25jZQ=="), "no answer is none");
        answer(&mut headers, b"dGhlIHNhbXBsZSBub25jZQ==");
        assert_eq!(headers[SEC_WEBSOCKET_ACCEPT], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    }

    #[test]
    fn base64_of_every_length() {
        for (bytes, text) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(key().len(), 24);
    }
}
