//! Whoever comes next believes the same, whichever field it reads.

use super::*;
use crate::forwarded::chain;

/// Who hands over what; what is told of that: Forwarded, X-Forwarded-For, -Host and -Proto.
type Case = (Client, &'static [(&'static str, &'static str)], &'static str, &'static str, &'static str, &'static str);

/// From a load balancer, to whoever is told of both.
#[test]
fn what_came_in_one_field_is_told_in_the_other_one_too() {
    let id = Identity { header: None, ..identity("10.0.0.0/8,unix", Which::Both) };
    let lb = peer("10.0.0.1");
    let own = ";host=\"h\";proto=https";
    let cases: &[Case] = &[
        (lb, &[], "for=10.0.0.1{own}", "10.0.0.1", "h", "https"),
        (
            lb,
            &[("x-forwarded-for", "9.9.9.9, 2.2.2.2, 10.0.0.2")],
            "for=2.2.2.2, for=10.0.0.2, for=10.0.0.1{own}",
            "9.9.9.9, 2.2.2.2, 10.0.0.2, 10.0.0.1",
            "h",
            "https",
        ),
        (
            lb,
            &[("x-forwarded-for", "2001:db8::1"), ("x-forwarded-proto", "http"), ("x-forwarded-host", "a\"b")],
            "for=\"[2001:db8::1]\";host=\"a\\\"b\";proto=http, for=10.0.0.1{own}",
            "2001:db8::1, 10.0.0.1",
            "a\"b",
            "http",
        ),
        (
            lb,
            &[("x-forwarded-proto", "http"), ("x-forwarded-host", "a")],
            "for=10.0.0.1;host=\"a\";proto=http",
            "10.0.0.1",
            "a",
            "http",
        ),
        (
            lb,
            &[("x-forwarded-for", "2.2.2.2"), ("x-forwarded-proto", "a;for=6.6.6.6")],
            "for=2.2.2.2, for=10.0.0.1{own}",
            "2.2.2.2, 10.0.0.1",
            "h",
            "a;for=6.6.6.6",
        ),
        (
            lb,
            &[("forwarded", "for=9.9.9.9;proto=x, for=\"2.2.2.2:80\";host=\"a\\\"b\";proto=\"http\", for=10.0.0.2")],
            "for=9.9.9.9;proto=x, for=\"2.2.2.2:80\";host=\"a\\\"b\";proto=\"http\", for=10.0.0.2, for=10.0.0.1{own}",
            "2.2.2.2, 10.0.0.2, 10.0.0.1",
            "a\"b",
            "http",
        ),
        // Who writes Forwarded alone may have passed the rest on as the client made it up.
        (
            lb,
            &[("forwarded", "for=2.2.2.2"), ("x-forwarded-proto", "http"), ("x-forwarded-host", "evil")],
            "for=2.2.2.2, for=10.0.0.1{own}",
            "2.2.2.2, 10.0.0.1",
            "h",
            "https",
        ),
        (lb, &[("forwarded", "for=_hidden;proto=http")], "for=10.0.0.1;host=\"h\";proto=http", "10.0.0.1", "h", "http"),
        (
            lb,
            &[("forwarded", "for=9.9.9.9;proto=x, for=2.2.2.2, for=10.0.0.2;host=a;proto=http")],
            "for=9.9.9.9;proto=x, for=2.2.2.2, for=10.0.0.2;host=a;proto=http, for=10.0.0.1{own}",
            "2.2.2.2, 10.0.0.2, 10.0.0.1",
            "a",
            "http",
        ),
        // Both agree.
        (
            lb,
            &[
                ("x-forwarded-for", "2.2.2.2, 10.0.0.2"),
                ("x-forwarded-host", "a"),
                ("x-forwarded-proto", "http"),
                ("forwarded", "for=2.2.2.2, for=10.0.0.2;host=\"A\";proto=http;by=x"),
            ],
            "for=2.2.2.2, for=10.0.0.2;host=\"A\";proto=http;by=x, for=10.0.0.1{own}",
            "2.2.2.2, 10.0.0.2, 10.0.0.1",
            "a",
            "http",
        ),
        (
            lb,
            &[("x-forwarded-for", "2.2.2.2"), ("forwarded", "for=2.2.2.2;proto=http"), ("x-forwarded-proto", "HTTP")],
            "for=2.2.2.2;proto=http, for=10.0.0.1{own}",
            "2.2.2.2, 10.0.0.1",
            "h",
            "HTTP",
        ),
        (
            lb,
            &[("x-forwarded-for", "2.2.2.2"), ("forwarded", "for=2.2.2.2;host=a;proto=http")],
            "for=2.2.2.2, for=10.0.0.1{own}",
            "2.2.2.2, 10.0.0.1",
            "h",
            "https",
        ),
        (
            lb,
            &[("x-forwarded-for", "2.2.2.2"), ("x-forwarded-host", "a"), ("forwarded", "for=2.2.2.2")],
            "for=2.2.2.2, for=10.0.0.1{own}",
            "2.2.2.2, 10.0.0.1",
            "h",
            "https",
        ),
        // One says more than the other one.
        (
            lb,
            &[("x-forwarded-for", "2.2.2.2"), ("forwarded", "for=2.2.2.2;by=x"), ("x-forwarded-proto", "http")],
            "for=2.2.2.2, for=10.0.0.1{own}",
            "2.2.2.2, 10.0.0.1",
            "h",
            "https",
        ),
        // One has written one of them, the next one both, or the other one.
        (
            lb,
            &[("x-forwarded-for", "2.2.2.2, 10.0.0.2"), ("forwarded", "for=10.0.0.2;proto=http")],
            "for=2.2.2.2, for=10.0.0.2, for=10.0.0.1{own}",
            "2.2.2.2, 10.0.0.2, 10.0.0.1",
            "h",
            "https",
        ),
        (
            lb,
            &[
                ("x-forwarded-for", "10.0.0.2"),
                ("x-forwarded-proto", "https"),
                ("forwarded", "for=2.2.2.2;proto=http, for=10.0.0.2;proto=https"),
            ],
            "for=2.2.2.2;proto=http, for=10.0.0.2;proto=https, for=10.0.0.1{own}",
            "2.2.2.2, 10.0.0.2, 10.0.0.1",
            "h",
            "http",
        ),
        (
            lb,
            &[("x-forwarded-for", "2.2.2.2, 10.0.0.2"), ("forwarded", "for=2.2.2.2")],
            "for=2.2.2.2, for=10.0.0.2, for=10.0.0.1{own}",
            "2.2.2.2, 10.0.0.2, 10.0.0.1",
            "h",
            "https",
        ),
        // They agree on the client, and not on how it came.
        (
            lb,
            &[
                ("x-forwarded-for", "2.2.2.2"),
                ("x-forwarded-proto", "gopher"),
                ("x-forwarded-host", "a"),
                ("forwarded", "for=2.2.2.2;host=a;proto=http"),
            ],
            "for=2.2.2.2;host=\"a\", for=10.0.0.1{own}",
            "2.2.2.2, 10.0.0.1",
            "a",
            "https",
        ),
        // They do not agree on the client: nothing is believed.
        (
            lb,
            &[
                ("x-forwarded-for", "2.2.2.2"),
                ("x-forwarded-proto", "gopher"),
                ("x-forwarded-port", "1"),
                ("forwarded", "for=6.6.6.6, for=10.0.0.2;host=evil"),
            ],
            "for=10.0.0.1{own}",
            "10.0.0.1",
            "h",
            "https",
        ),
        // Lines that must not become another text as one.
        (
            lb,
            &[("forwarded", "for=6.6.6.6;host=\"a"), ("forwarded", "for=2.2.2.2")],
            "for=2.2.2.2, for=10.0.0.1{own}",
            "2.2.2.2, 10.0.0.1",
            "h",
            "https",
        ),
        (
            lb,
            &[("x-forwarded-for", "\""), ("x-forwarded-for", "2.2.2.2")],
            "for=2.2.2.2, for=10.0.0.1{own}",
            "2.2.2.2, 10.0.0.1",
            "h",
            "https",
        ),
        // A unix socket has no address.
        (Client::Unix, &[("x-forwarded-for", "2.2.2.2")], "for=2.2.2.2", "2.2.2.2", "h", "https"),
        (Client::Unix, &[("forwarded", "for=2.2.2.2;proto=http")], "for=2.2.2.2;proto=http", "2.2.2.2", "h", "http"),
        (Client::Unix, &[], "for=_unix{own}", "", "h", "https"),
        // A stranger.
        (
            peer("3.3.3.3"),
            &[("x-forwarded-for", "10.0.0.2"), ("forwarded", "for=10.0.0.2"), ("x-forwarded-proto", "gopher")],
            "for=3.3.3.3{own}",
            "3.3.3.3",
            "h",
            "https",
        ),
    ];
    for (from, fields, standard, x, host, proto) in cases {
        let mut want = vec![
            format!("forwarded: {}", standard.replace("{own}", own)),
            "host: h".to_owned(),
            format!("x-forwarded-for: {x}"),
            format!("x-forwarded-host: {host}"),
            format!("x-forwarded-proto: {proto}"),
        ];
        want.retain(|line| !line.ends_with(": "));
        assert_eq!(told(&id, *from, &[&[("host", "h")], *fields].concat()), want, "{from} {fields:?}");
    }
}

/// All that came together of these, to all kinds of upstreams.
#[test]
fn the_next_one_believes_what_was_believed_here() {
    const NODES: &[&[&str]] = &[
        &[],
        &[""],
        &["2.2.2.2"],
        &["2001:db8::1"],
        &["10.0.0.2"],
        &["9.9.9.9, 2.2.2.2"],
        &["2.2.2.2, 10.0.0.2"],
        &["2.2.2.2, 10.0.0.3, 10.0.0.2"],
        &["2.2.2.2, unknown, 10.0.0.2"],
        &["9.9.9.9", "2.2.2.2"],
        &["\"", "2.2.2.2"],
        &["2.2.2.2, \""],
    ];
    let us = peer("10.9.9.9");
    let next = identity("10.0.0.0/8", Which::None);
    for (x, standard) in NODES.iter().flat_map(|x| NODES.iter().map(move |standard| (x, standard))) {
        for (more, from) in
            [(&[][..], "10.0.0.1"), (&[("x-forwarded-proto", "http")], "10.0.0.1"), (&[], "4.4.4.4"), (&[], "")]
        {
            let from = if from.is_empty() { Client::Unix } else { peer(from) };
            let elements: Vec<_> = standard.iter().map(|line| as_standard(line)).collect();
            let mut fields = vec![("host", "h")];
            fields.extend(x.iter().map(|line| ("x-forwarded-for", *line)));
            fields.extend(elements.iter().map(|line| ("forwarded", line.as_str())));
            fields.extend(more);
            for which in [Which::X, Which::Standard, Which::Both] {
                let id = identity("10.0.0.0/8,unix", which);
                let mut told = headers(&fields);
                let client = id.client(&told, from);
                id.tell(&mut told, from, client, true);
                let want = client.address().or(us.address());
                let read = |told: &HeaderMap| next.client(told, us).address();
                assert_eq!(read(&told), want, "{which:?} {from} {fields:?} {told:?}");
                if which == Which::Both {
                    let first = chain::backwards(&told, &FORWARDED)
                        .into_iter()
                        .flatten()
                        .rfind(|element| element.contains("proto="));
                    let proto = first.and_then(|element| chain::parameter(element, "proto"));
                    let told_in_x = told[&PROTO].to_str().expect("text");
                    // Nobody has told it, and a step from a unix socket is none that can be told.
                    let is_untold = from.address().is_none() && proto.is_none();
                    assert!(is_untold || proto.as_deref() == Some(told_in_x), "{from} {fields:?} {told:?}");
                    for name in [&FOR, &FORWARDED] {
                        let mut one = told.clone();
                        one.remove(name);
                        assert_eq!(read(&one), want, "{from} {fields:?} {one:?}");
                    }
                }
            }
        }
    }
}

/// Such a list, as `Forwarded` has it.
fn as_standard(list: &str) -> String {
    let node = |node: &str| if node.contains(':') { format!("for=\"[{node}]\"") } else { format!("for={node}") };
    list.split(", ").map(node).collect::<Vec<_>>().join(", ")
}
