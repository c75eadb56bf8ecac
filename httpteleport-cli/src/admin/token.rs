//! What whoever reads has to give, if anything.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use arc_swap::ArcSwap;
use http::header::{AUTHORIZATION, COOKIE, HeaderMap, HeaderValue};
use subtle::ConstantTimeEq as _;

use crate::misfit::Misfit;
use crate::outbound::plain;

/// The cookie of a browser that gave it once.
const COOKIE_NAME: &str = "httptp-token";
/// Characters of a token.
const LENGTHS: std::ops::RangeInclusive<usize> = 8..=512;

/// The token in a file, as it was when that was read last.
pub(crate) struct TokenFile {
    path: PathBuf,
    token: ArcSwap<Token>,
}

impl TokenFile {
    /// Reads it.
    ///
    /// # Errors
    ///
    /// One line that names the file and says what to do.
    pub(super) fn open(path: &Path) -> anyhow::Result<TokenFile> {
        Ok(TokenFile { path: path.to_owned(), token: ArcSwap::from_pointee(Token::read(path)?) })
    }

    /// Reads it again: the token that holds from now on.
    ///
    /// # Errors
    ///
    /// One line that names the file and says what to do; the token of before holds.
    pub(crate) fn read_again(&self) -> anyhow::Result<()> {
        self.token.store(Arc::new(Token::read(&self.path)?));
        Ok(())
    }

    /// The token that holds.
    pub(super) fn token(&self) -> Arc<Token> {
        self.token.load_full()
    }
}

/// A token. It is compared in constant time and never written anywhere but into the cookie of who has given it.
pub(super) struct Token(String);

impl Token {
    /// Reads it from a file, which may end with a line's end.
    ///
    /// # Errors
    ///
    /// One line that names the file and says what to do.
    pub(super) fn read(path: &Path) -> anyhow::Result<Token> {
        let mut bytes = Vec::new();
        let read = File::open(path).and_then(|file| file.take(4096).read_to_end(&mut bytes));
        let named = || format!("--admin-token-file {}", path.display());
        let read = read.map_err(|error| Misfit::new(format!("cannot read the file: {}", plain(&error))));
        read.and_then(|_| Token::of(String::from_utf8_lossy(&bytes).trim())).with_context(named)
    }

    fn of(text: &str) -> Result<Token, Misfit> {
        if LENGTHS.contains(&text.len()) && text.bytes().all(is_of_tokens) {
            return Ok(Token(text.to_owned()));
        }
        let (least, most) = (LENGTHS.start(), LENGTHS.end());
        let why = format!("holds no token; it should have one of {least} to {most} letters, digits and - . _ ~ + / =");
        Err(Misfit::new(why))
    }

    /// Whether a request has it: as `Authorization: Bearer`, or in the cookie.
    pub(super) fn is_in(&self, headers: &HeaderMap) -> bool {
        let bearer = headers.get(AUTHORIZATION).and_then(|value| after_bearer(value.as_bytes()));
        let cookies = headers.get_all(COOKIE).into_iter().filter_map(|value| value.to_str().ok());
        let cookie = cookies.flat_map(|value| value.split(';')).find_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            (name == COOKIE_NAME).then_some(value)
        });
        bearer.is_some_and(|token| self.is(token)) || cookie.is_some_and(|token| self.is(token.as_bytes()))
    }

    /// Whether a query has it, as `token=`.
    pub(super) fn is_in_query(&self, query: &str) -> bool {
        let given = query.split('&').find_map(|pair| pair.strip_prefix("token="));
        given.is_some_and(|token| self.is(token.as_bytes()))
    }

    /// The cookie for the browser that has given it.
    pub(super) fn cookie(&self) -> Option<HeaderValue> {
        let text = format!("{COOKIE_NAME}={}; Path=/; HttpOnly; SameSite=Strict", self.0);
        let mut value = HeaderValue::from_str(&text).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    fn is(&self, given: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(given).into()
    }
}

/// What stands behind the scheme, which is written in any case (RFC 9110, 11.1).
fn after_bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(b"Bearer".len())?;
    let token = token.strip_prefix(b" ").filter(|_| scheme.eq_ignore_ascii_case(b"Bearer"))?;
    Some(token.trim_ascii_start())
}

fn is_of_tokens(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~+/=".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: http::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).expect("a value"))])
    }

    #[test]
    fn it_is_given_in_three_ways() {
        let token = Token::of("s3cret/token=").expect("a token");
        for scheme in ["Bearer", "bearer", "BEARER", "Bearer  "] {
            assert!(token.is_in(&headers(AUTHORIZATION, &format!("{scheme} s3cret/token="))), "{scheme}");
        }
        assert!(token.is_in(&headers(COOKIE, "a=b; httptp-token=s3cret/token=")));
        assert!(token.is_in_query("x=1&token=s3cret/token="));
        let cookie = token.cookie().expect("a cookie");
        assert_eq!(cookie, "httptp-token=s3cret/token=; Path=/; HttpOnly; SameSite=Strict");
    }

    #[test]
    fn anything_else_is_none() {
        let token = Token::of("s3cret-token").expect("a token");
        for (name, value) in [
            (AUTHORIZATION, "Bearer s3cret-toke"),
            (AUTHORIZATION, "Bearer s3cret-token2"),
            (AUTHORIZATION, "Basic s3cret-token"),
            (AUTHORIZATION, "Bearer "),
            (AUTHORIZATION, "Bearers3cret-token"),
            (AUTHORIZATION, "Bear"),
            (COOKIE, "token=s3cret-token"),
            (COOKIE, "httptp-token"),
        ] {
            assert!(!token.is_in(&headers(name, value)), "{value}");
        }
        assert!(!token.is_in(&HeaderMap::new()) && !token.is_in_query("") && !token.is_in_query("token="));
    }

    #[test]
    fn a_file_without_a_token_is_refused() {
        for text in ["", "short", "with space in it", "tokén-of-letters", &"x".repeat(513)] {
            let error = Token::of(text).map(|_| ()).expect_err(text).to_string();
            assert!(error.starts_with("holds no token; it should have one of 8 to 512 letters"), "{error}");
        }
    }
}
