//! The addresses that a request has come from, as its head names them.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue};

/// The addresses of this field, which is `X-Forwarded-For` or `Forwarded`, the last one first; `None` for what is no address.
pub(super) fn backwards(headers: &HeaderMap, name: &HeaderName) -> impl Iterator<Item = Option<IpAddr>> {
    let read = if *name == FORWARDED { of_element } else { address };
    let mut lines: Vec<&HeaderValue> = headers.get_all(name).iter().collect();
    lines.reverse();
    lines.into_iter().flat_map(move |line| match line.to_str().ok().and_then(|line| split(line, ',')) {
        Some(elements) => elements.into_iter().rev().map(read).collect(),
        None => vec![None],
    })
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

/// The address of `for` in an element of `Forwarded`.
fn of_element(element: &str) -> Option<IpAddr> {
    let pairs = split(element, ';')?.into_iter().filter_map(|pair| pair.split_once('='));
    let (_, node) = pairs.into_iter().find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    let node = node.trim();
    address(node.strip_prefix('"').and_then(|node| node.strip_suffix('"')).unwrap_or(node))
}

/// An address, with or without a port; one of IPv6 with brackets or, if it has no port, without.
fn address(text: &str) -> Option<IpAddr> {
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    text.parse().ok().or_else(with_port).or_else(bracketed).map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
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
            let all: Vec<_> =
                backwards(&headers, &FORWARDED).map(|address| address.map(|address| address.to_string())).collect();
            all
        };
        let some = |text: &str| Some(text.to_owned());
        let forged = "for=1.1.1.1;host=\"a,for=6.6.6.6;x=\", for=3.3.3.3;by=x";
        assert_eq!(all(forged), [some("3.3.3.3"), some("1.1.1.1")]);
        assert_eq!(all("for=1.1.1.1;host=\"a\\\",for=6.6.6.6\""), [some("1.1.1.1")]);
        assert_eq!(all("host=\"for=6.6.6.6;for=6.6.6.6\" ; For = \"[::1]:1\""), [some("::1")]);
        assert_eq!(all("for=1.1.1.1;host=\"a, for=3.3.3.3"), [None], "who leaves a quote open is not believed at all");
    }
}
