//! The elements of `X-Forwarded-For` and `Forwarded`, and what they say.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::header::{FORWARDED, HeaderMap, HeaderName};

/// The elements of this field, the last one first; `None` for each line of it that leaves a quote open.
pub(super) fn backwards<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Vec<Option<&'a str>> {
    let mut elements = Vec::new();
    for line in headers.get_all(name) {
        match line.to_str().ok().and_then(|line| split(line, ',')) {
            Some(of_line) => elements.extend(of_line.into_iter().map(Some)),
            None => elements.push(None),
        }
    }
    elements.reverse();
    elements
}

/// The address that an element of this field names; `None` if it names none.
pub(super) fn node(name: &HeaderName, element: &str) -> Option<IpAddr> {
    if *name == FORWARDED { address(&parameter(element, "for")?) } else { address(element) }
}

/// What an element of `Forwarded` says of this, without quotes.
pub(super) fn parameter(element: &str, name: &str) -> Option<String> {
    let pairs = split(element, ';')?.into_iter().filter_map(|pair| pair.split_once('='));
    let (_, value) = pairs.into_iter().find(|(key, _)| key.trim().eq_ignore_ascii_case(name))?;
    let value = value.trim();
    match value.strip_prefix('"').and_then(|value| value.strip_suffix('"')) {
        Some(quoted) => Some(unescaped(quoted)),
        None => Some(value.to_owned()),
    }
}

/// What stands in a quoted string (RFC 9110, 5.6.4).
fn unescaped(quoted: &str) -> String {
    let mut text = String::with_capacity(quoted.len());
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        text.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    text
}

/// The parts of a text between separators that are not inside of quotes; `None` if a quote has no end. A client may have had a
/// part in what is quoted, such as the host: it must not pass for more than that.
fn split(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ if c == separator && !quoted => {
                parts.push(text[start..at].trim());
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(text[start..].trim());
    (!quoted).then_some(parts)
}

/// An address, with or without a port; one of IPv6 with brackets or, if it has no port, without.
fn address(text: &str) -> Option<IpAddr> {
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    text.parse().ok().or_else(with_port).or_else(bracketed).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn addresses_come_in_many_forms() {
        let is = |text: &str| address(text).map(|address| address.to_string());
        for (text, want) in [
            ("1.2.3.4", "1.2.3.4"),
            ("1.2.3.4:80", "1.2.3.4"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("::ffff:1.2.3.4", "1.2.3.4"),
        ] {
            assert_eq!(is(text).as_deref(), Some(want), "{text}");
        }
        for text in ["", "unknown", "_x", "1.2.3", "1.2.3.4:", "[1.2.3.4]", "1.2.3.4, 5.6.7.8", "[::1", "host:80"] {
            assert_eq!(is(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_quoted_is_one_thing() {
        let all = |line: &'static str| {
            let headers = HeaderMap::from_iter([(FORWARDED, HeaderValue::from_static(line))]);
            let elements = backwards(&headers, &FORWARDED).into_iter();
            let all: Vec<_> =
                elements.map(|element| node(&FORWARDED, element?).map(|address| address.to_string())).collect();
            all
        };
        let some = |text: &str| Some(text.to_owned());
        let forged = "for=1.1.1.1;host=\"a,for=6.6.6.6;x=\", for=3.3.3.3;by=x";
        assert_eq!(all(forged), [some("3.3.3.3"), some("1.1.1.1")]);
        assert_eq!(all("for=1.1.1.1;host=\"a\\\",for=6.6.6.6\""), [some("1.1.1.1")]);
        assert_eq!(all("host=\"for=6.6.6.6;for=6.6.6.6\" ; For = \"[::1]:1\""), [some("::1")]);
        assert_eq!(all("for=1.1.1.1;host=\"a, for=3.3.3.3"), [None], "who leaves a quote open is not believed at all");
    }
    #[test]
    fn parameters_are_read_without_their_quotes() {
        let element = "for=1.1.1.1; Host=\"a\\\"b;proto=x\" ;proto=https;proto=http;by";
        assert_eq!(parameter(element, "proto").as_deref(), Some("https"));
        assert_eq!(parameter(element, "host").as_deref(), Some("a\"b;proto=x"));
        assert_eq!(parameter(element, "by"), None);
    }
}
