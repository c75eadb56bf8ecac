//! Whose a request is, and what upstreams are told.

use std::net::SocketAddr;

use super::*;

mod agree;

fn headers(fields: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::try_from(*value).expect("a value"));
    }
    headers
}

fn peer(address: &str) -> Client {
    Client::Tcp(SocketAddr::new(address.parse().expect("an address"), 4711))
}

fn identity(trusted: &str, which: Which) -> Identity {
    let trusted = if trusted.is_empty() { Networks::default() } else { Networks::parse_peers(trusted).expect("fine") };
    Identity { trusted, which, header: Some(HeaderName::from_static("x-client")) }
}

#[test]
fn the_client_is_the_last_one_who_is_not_trusted() {
    let id = identity("10.0.0.0/8,unix", Which::X);
    let cases = [
        // What strangers say does not count.
        ("1.1.1.1", &[("x-forwarded-for", "2.2.2.2")][..], "1.1.1.1:4711"),
        ("10.0.0.1", &[], "10.0.0.1:4711"),
        ("10.0.0.1", &[("x-forwarded-for", "2.2.2.2")], "2.2.2.2"),
        // What the stranger said before does not, either.
        ("10.0.0.1", &[("x-forwarded-for", "9.9.9.9, 2.2.2.2, 10.0.0.2")], "2.2.2.2"),
        ("10.0.0.1", &[("x-forwarded-for", "9.9.9.9"), ("x-forwarded-for", "2.2.2.2")], "2.2.2.2"),
        ("10.0.0.1", &[("x-forwarded-for", "10.0.0.3,10.0.0.2")], "10.0.0.3"),
        ("10.0.0.1", &[("x-forwarded-for", "2.2.2.2, what, 10.0.0.2")], "10.0.0.2"),
        ("10.0.0.1", &[("x-forwarded-for", "[2001:db8::1]:80")], "2001:db8::1"),
        ("10.0.0.1", &[("x-forwarded-for", "2.2.2.2, 10.0.0.2"), ("forwarded", "for=9.9.9.9, for=2.2.2.2")], "2.2.2.2"),
        // One of them is the client's own, and nobody can tell which.
        ("10.0.0.1", &[("x-forwarded-for", "2.2.2.2"), ("forwarded", "for=3.3.3.3")], "10.0.0.1:4711"),
        ("10.0.0.1", &[("x-forwarded-for", ""), ("forwarded", "for=3.3.3.3")], "10.0.0.1:4711"),
        ("10.0.0.1", &[("x-forwarded-for", "2.2.2.2"), ("forwarded", "for=_hidden")], "10.0.0.1:4711"),
        ("10.0.0.1", &[("forwarded", "for=9.9.9.9, For=\"[2001:db8::1]:80\";proto=http")], "2001:db8::1"),
        ("10.0.0.1", &[("forwarded", "for=2.2.2.2, for=_hidden, for=10.0.0.2")], "10.0.0.2"),
        ("::ffff:10.0.0.1", &[("x-forwarded-for", "::ffff:2.2.2.2")], "2.2.2.2"),
    ];
    for (from, fields, want) in cases {
        assert_eq!(id.client(&headers(fields), peer(from)).to_string(), want, "{from} {fields:?}");
    }
    let said = headers(&[("x-forwarded-for", "2.2.2.2")]);
    assert_eq!(id.client(&said, Client::Unix).to_string(), "2.2.2.2");
    assert_eq!(identity("10.0.0.0/8", Which::X).client(&said, Client::Unix).to_string(), "unix");
}

/// What upstreams see of a request of this peer.
fn told(id: &Identity, from: Client, fields: &[(&'static str, &str)]) -> Vec<String> {
    let mut headers = headers(fields);
    let client = id.client(&headers, from);
    id.tell(&mut headers, from, client, true);
    let mut lines: Vec<_> =
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().expect("text"))).collect();
    lines.sort();
    lines
}

#[test]
fn a_stranger_cannot_forge_and_a_proxy_is_gone_on_from() {
    let forged = [
        ("host", "h:1"),
        ("x-forwarded-for", "9.9.9.9"),
        ("x-forwarded-proto", "gopher"),
        ("x-forwarded-host", "e"),
        ("x-forwarded-port", "1"),
        ("x-forwarded-prefix", "/e"),
        ("x-forwarded-server", "e"),
        ("forwarded", "for=9.9.9.9"),
        ("x-client", "9.9.9.9"),
    ];
    let x = identity("10.0.0.1", Which::X);
    let want = [
        "host: h:1",
        "x-client: 1.1.1.1",
        "x-forwarded-for: 1.1.1.1",
        "x-forwarded-host: h:1",
        "x-forwarded-proto: https",
    ];
    assert_eq!(told(&x, peer("1.1.1.1"), &forged), want);
    assert_eq!(told(&identity("", Which::X), peer("1.1.1.1"), &forged), want);
    let standard = identity("10.0.0.1", Which::Standard);
    let want = ["forwarded: for=1.1.1.1;host=\"h:1\";proto=https", "host: h:1", "x-client: 1.1.1.1"];
    assert_eq!(told(&standard, peer("1.1.1.1"), &forged), want);

    let said = [
        ("host", "h"),
        ("x-forwarded-for", "9.9.9.9"),
        ("x-forwarded-for", "2.2.2.2"),
        ("x-forwarded-proto", "http"),
        ("forwarded", "for=2.2.2.2;proto=http"),
    ];
    let both = identity("10.0.0.1", Which::Both);
    let want = [
        "forwarded: for=2.2.2.2;proto=http, for=10.0.0.1;host=\"h\";proto=https",
        "host: h",
        "x-client: 2.2.2.2",
        "x-forwarded-for: 9.9.9.9, 2.2.2.2, 10.0.0.1",
        "x-forwarded-host: h",
        "x-forwarded-proto: http",
    ];
    assert_eq!(told(&both, peer("10.0.0.1"), &said), want);
}

#[test]
fn who_is_told_nothing_gets_what_came() {
    let id = Identity::default();
    let fields = [("x-forwarded-for", "9.9.9.9"), ("forwarded", "for=9.9.9.9")];
    assert_eq!(told(&id, peer("1.1.1.1"), &fields), ["forwarded: for=9.9.9.9", "x-forwarded-for: 9.9.9.9"]);
}

#[test]
fn other_peers_have_other_names() {
    let standard = identity("", Which::Standard);
    assert_eq!(told(&standard, peer("2001:db8::1"), &[])[0], "forwarded: for=\"[2001:db8::1]\";proto=https");
    assert_eq!(told(&standard, Client::Unix, &[("x-client", "1.1.1.1")]), ["forwarded: for=_unix;proto=https"]);
    assert_eq!(
        told(&identity("", Which::X), Client::Unix, &[("x-forwarded-for", "9.9.9.9")]),
        ["x-forwarded-proto: https"]
    );
}
