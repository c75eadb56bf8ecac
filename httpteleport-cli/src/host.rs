//! Where a request goes: its target, and the host that it is for. Whoever comes next must not be able to see another one.

use http::header::{HOST, HeaderValue};
use http::uri::{Authority, Parts, PathAndQuery, Scheme};
use http::{Method, Request, Uri, Version};

use crate::refusal::{Reason, Refusal};

/// Brings a request's target to origin form, and sees to it that there is exactly one `Host`; the authority of an absolute
/// target wins over it (RFC 9112, 3.2.2).
///
/// `own_address` stands in for a missing `Host` of an HTTP/1.0 client.
///
/// # Errors
///
/// It is a target that such a request cannot have, or there is no host, a bad one, or more than one.
pub(crate) fn settle<B>(request: &mut Request<B>, own_address: impl FnOnce() -> HeaderValue) -> Result<(), Refusal> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (host, more) = (hosts.next(), hosts.next());
    if more.is_some() {
        return Err(malformed("more than one Host header"));
    }
    if request.uri().path() == "*" && request.method() != Method::OPTIONS {
        return Err(malformed("bad target"));
    }
    if let Some(authority) = request.uri().authority() {
        // HTTP/2 has no excuse for two that differ (RFC 9113, 8.3.1).
        let strict = request.version() == Version::HTTP_2;
        let theirs = authority.as_str();
        if strict && host.is_some_and(|host| !host.as_bytes().eq_ignore_ascii_case(theirs.as_bytes())) {
            return Err(malformed("Host is not the authority"));
        }
        if !matches!(request.uri().scheme(), Some(scheme) if *scheme == Scheme::HTTP || *scheme == Scheme::HTTPS) {
            return Err(malformed("bad target"));
        }
        // Nobody sends a user and password to a server in the target, which some take for the host (RFC 9110, 4.2.4).
        let host = HeaderValue::from_str(theirs).ok().filter(is_host).ok_or(malformed("bad target"))?;
        request.headers_mut().insert(HOST, host);
        *request.uri_mut() = origin_form(request.uri());
        return Ok(());
    }
    match host {
        Some(host) if is_host(host) => Ok(()),
        Some(_) => Err(malformed("bad Host header")),
        None if request.version() < Version::HTTP_11 => {
            request.headers_mut().insert(HOST, own_address());
            Ok(())
        }
        None => Err(malformed("no Host header")),
    }
}

/// Host and port of an authority, as `Host` has them.
pub(crate) fn without_user(authority: &Authority) -> &str {
    authority.as_str().rsplit('@').next().unwrap_or_default()
}

const fn malformed(why: &'static str) -> Refusal {
    Refusal::new(Reason::Malformed, why)
}

/// Whether this can be the host, and perhaps the port, of an authority (RFC 3986, 3.2): no user, no path, nothing that
/// would make two of one.
fn is_host(host: &HeaderValue) -> bool {
    let host = host.as_bytes();
    let name = match host.iter().rposition(|byte| *byte == b':') {
        Some(colon) if !host.ends_with(b"]") => {
            if !host[colon + 1..].iter().all(u8::is_ascii_digit) {
                return false;
            }
            &host[..colon]
        }
        _ => host,
    };
    let belongs = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~!$&'()*+;=%".contains(byte);
    match name.strip_prefix(b"[").and_then(|name| name.strip_suffix(b"]")) {
        Some(address) => !address.is_empty() && address.iter().all(|byte| *byte == b':' || belongs(byte)),
        None => !name.is_empty() && name.iter().all(belongs),
    }
}

/// Path and query alone.
fn origin_form(uri: &Uri) -> Uri {
    let mut parts = Parts::default();
    parts.path_and_query = Some(uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/")));
    Uri::from_parts(parts).unwrap_or_else(|_| Uri::from_static("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(uri: &str, hosts: &[&str]) -> Request<()> {
        let request = hosts.iter().fold(Request::get(uri), |request, host| request.header(HOST, *host));
        request.body(()).expect("a request")
    }

    /// The host and target that it is settled on.
    fn settled(mut request: Request<()>) -> Result<(String, String), Refusal> {
        settle(&mut request, || HeaderValue::from_static("10.0.0.1:80"))?;
        let host = request.headers()[HOST].to_str().expect("text").to_owned();
        Ok((host, request.uri().to_string()))
    }

    fn ok(host: &str, target: &str) -> Result<(String, String), Refusal> {
        Ok((host.to_owned(), target.to_owned()))
    }

    #[test]
    fn there_is_one_host() {
        assert_eq!(settled(head("/", &[])), Err(malformed("no Host header")));
        assert_eq!(settled(head("/", &["a", "b"])), Err(malformed("more than one Host header")));
        assert_eq!(settled(head("http://a/", &["a", "b"])), Err(malformed("more than one Host header")));
        for bad in
            ["", "a, b", "a b", "a/b", "b@a", "a?b", "a#b", "a\\b", "\"a\"", "a:b", "a:1:2", "[a", "[]", "[a]b", ":80"]
        {
            assert_eq!(settled(head("/", &[bad])), Err(malformed("bad Host header")), "{bad}");
        }
        for good in ["a", "a.example:80", "a:", "[::1]", "[::1]:80", "a_b", "%41"] {
            assert_eq!(settled(head("/", &[good])), ok(good, "/"));
        }
        let mut old = head("/", &[]);
        *old.version_mut() = Version::HTTP_10;
        assert_eq!(settled(old), ok("10.0.0.1:80", "/"), "1.0 needs none");
    }

    #[test]
    fn an_absolute_target_becomes_origin_form_and_its_host_wins() {
        let absolute = head("http://real.example:81/a%2Fb?q=%20", &["other"]);
        assert_eq!(settled(absolute), ok("real.example:81", "/a%2Fb?q=%20"));
        assert_eq!(settled(head("http://real.example", &[])), ok("real.example", "/"));
    }

    #[test]
    fn of_http_2_both_are_the_same() {
        for (host, want) in [("A", ok("a", "/")), ("b", Err(malformed("Host is not the authority")))] {
            let mut request = head("http://a/", &[host]);
            *request.version_mut() = Version::HTTP_2;
            assert_eq!(settled(request), want);
        }
    }

    #[test]
    fn targets_of_other_requests_are_refused() {
        for target in ["ftp://a/", "a:80", "a", "*", "http://u@a/", "http://u:p@a/", "http://@a/"] {
            assert_eq!(settled(head(target, &["a"])), Err(malformed("bad target")), "{target}");
        }
        let mut request = head("*", &["a"]);
        *request.method_mut() = Method::OPTIONS;
        assert_eq!(settled(request), ok("a", "*"));
    }
}
