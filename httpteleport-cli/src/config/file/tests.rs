use std::fs;
use std::time::Duration;

use tempfile::TempDir;

use super::*;
use crate::config::Host;

mod damaged;
mod twice;
mod unread;

/// A file of this text, in a folder that goes with the test.
fn file(text: &str, typed: Typed) -> (TempDir, ConfigFile) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("web.toml");
    fs::write(&path, text).expect("written");
    (folder, ConfigFile { path, typed })
}

fn load(text: &str) -> Result<Settings, Vec<String>> {
    let (folder, file) = file(text, Typed::default());
    let folder = format!("{}/", folder.path().display());
    let told = |lines: Vec<String>| lines.into_iter().map(|line| line.replace(&folder, "")).collect::<Vec<_>>();
    let loaded = file.load().map_err(told)?;
    Ok(Settings { idle_options: told(loaded.0.idle_options), ..loaded.0 })
}

fn mistakes(text: &str) -> Vec<String> {
    load(text).err().unwrap_or_default()
}

const DOCS: &str = include_str!("../../../../docs/config.md");

#[test]
fn the_example_of_the_docs_is_what_it_says() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    for name in ["web", "shop"] {
        let made = rcgen::generate_simple_self_signed([format!("{name}.example.com")]).expect("a certificate");
        fs::write(folder.join(format!("{name}.crt")), made.cert.pem()).expect("written");
        fs::write(folder.join(format!("{name}.key")), made.signing_key.serialize_pem()).expect("written");
    }
    let example = DOCS.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let text = example.replace("/etc/httptp", folder.to_str().expect("UTF-8"));
    let settings = load(&text).expect("no mistakes");

    assert_eq!(settings.summary(), "2 listeners, 2 groups, 2 routes");
    assert_eq!(settings.process.concurrency, 50_000);
    assert!(settings.process.admin.is_some_and(|admin| admin.address == ("localhost".to_owned(), 8040)));
    let [web, inside] = &settings.listeners[..] else { panic!("two") };
    assert_eq!(
        (web.endpoint.to_string(), inside.endpoint.to_string()),
        ("https://:443".into(), "teleport://:9876".into())
    );
    assert_eq!(web.tls.as_ref().map(|identity| identity.pairs.len()), Some(2));
    assert_eq!((web.limits.max_body_size, web.limits.client.rate), (1_048_576, Some((100, 100))));
    assert_eq!(inside.access.allow.as_ref().map(ToString::to_string).as_deref(), Some("10.0.0.0/8,fd00::/8"));
    assert_eq!((inside.teleport.wire, web.teleport.wire), (httpteleport::Wire::Framed, httpteleport::Wire::Auto));
    assert_eq!(inside.teleport.ping, Some(Duration::from_secs(5)));
    let [far, pages] = &settings.groups[..] else { panic!("two") };
    assert_eq!(
        (far.name.as_str(), far.sources.len(), far.timeout, far.conns_per_addr),
        ("far", 2, Duration::from_secs(10), 2)
    );
    assert_eq!((pages.sources.len(), pages.timeout), (1, Duration::from_secs(3)));
    let [api, rest] = &settings.routes[..] else { panic!("two") };
    assert_eq!(
        (api.listener, &api.host, api.path.as_str(), api.group),
        (Some(0), &Host::Is("shop.example.com".into()), "/api", 0)
    );
    assert_eq!(
        (api.edit.fields.set.len(), api.edit.fields.remove.len(), api.reply.set.len(), api.reply.remove.len()),
        (1, 1, 1, 1)
    );
    assert_eq!(api.edit.host.as_ref().map(http::HeaderValue::as_bytes), Some(&b"api.internal:8080"[..]));
    assert_eq!((rest.listener, &rest.host, rest.path.as_str(), rest.group), (None, &Host::Any, "/", 1));
}

#[test]
fn mistakes_are_told_as_the_docs_say() {
    let text = "concurrency = 5\n[listener.web]\nurl = \"http://:23\"\nmax_body = 5\n\n[group.far]\nurls = \"http://h\"\n\n[group.near]\nurls = \"http://127.0.0.1\"\n[[route]]\n\
                group = \"fra\"\n";
    let told = DOCS.split("```text\n").nth(1).and_then(|rest| rest.split("```").next()).expect("an example");
    let want: Vec<_> = told.lines().map(|line| line.strip_prefix("httptp: ").expect("a line of the program")).collect();
    assert_eq!(mistakes(text), want);
}

#[test]
fn every_key_is_in_the_docs() {
    let kinds = [(kinds::top(), "the top"), (kinds::listener(), "listener"), (kinds::group(), "group")];
    for (kind, table) in kinds {
        for key in kind.known() {
            assert!(DOCS.contains(&format!("`{key}`")), "{table}: {key}");
        }
    }
}

#[test]
fn all_mistakes_are_told_with_their_lines_and_a_guess() {
    let text = r#"conncurrency = 5
threads = 0
wire = "go"
[listener.web]
url = "http://:80"
max_body = 7
max_header_size = "huge"
tls_cert = "x.pem"
allow = ["10.0.0.0/8", "10.0.0"]
get_only = "maybe"
client_burst = 4
[listener.api]
url = 80
delay = 1.5
[group.far]
urls = ["teleport://far:9876", "far:1"]
timeout = "0"
[group.near]
urls = "http://near"
[[route]]
listener = "wep"
group = "fra"
[[route]]
hots = "a"
host = "a b"
path = "api"
set_headers = { Content-Length = "1", X-A = "b\u0001", "a b" = "1", X-Good = "1" }
remove_headers = ["Host", "X-Good", "a:b"]
rewrite_host = "a/b"
[[route]]
"#;
    let want = [
        "web.toml:1: unknown key conncurrency; did you mean concurrency?",
        "web.toml:2: threads 0: give a whole number from 1 to 1024",
        "web.toml:3: wire go: use auto, classic or framed",
        "web.toml:6: listener \"web\": unknown key max_body; did you mean max_body_size?",
        "web.toml:7: listener \"web\": max_header_size huge: is no size; write bytes, such as 65536, or 64KiB, 4MiB, 1GiB",
        "web.toml:8: listener \"web\": tls_cert: the input http://:80 does not use TLS; use https:// or teleports://, or drop the option",
        "web.toml:9: listener \"web\": allow 10.0.0: \"10.0.0\" is no network; write an address such as 10.0.0.1 or a network such as 10.0.0.0/8 or 2001:db8::/32",
        "web.toml:10: listener \"web\": get_only maybe: use true or false",
        "web.toml:11: listener \"web\": client_burst: says nothing without client_rate; give that as well",
        "web.toml:13: listener \"api\": url 80: no scheme; write for example http://80, or use http, https, unix, teleport or teleports",
        "web.toml:14: listener \"api\": delay: a float does not fit here; write a text, a number, true or false, or a list",
        "web.toml:16: group \"far\": urls far:1: no scheme; write for example http://far:1, or use http, https, h2c for HTTP/2 and gRPC without TLS, unix, teleport or \
         teleports, with +srv for an SRV record, or file:PATH",
        "web.toml:17: group \"far\": timeout 0: no reply comes in no time; write for example 3s",
        "web.toml:21: route: listener: there is no listener \"wep\"; did you mean web?",
        "web.toml:22: route: group: there is no group \"fra\"; did you mean far?",
        "web.toml:24: route: unknown key hots; did you mean host?",
        "web.toml:25: route: host: \"a b\" is no host; write a name without port, such as example.com, or *.example.com for all below it",
        "web.toml:26: route: path: \"api\" is no path that others begin with; write for example /api",
        "web.toml:27: route: set_headers: Content-Length is of the connection, and no route can change it",
        "web.toml:27: route: set_headers: \"b\\u{1}\" cannot be the value of a header",
        "web.toml:27: route: set_headers: \"a b\" is no name of a header; write for example X-Tenant",
        "web.toml:28: route: remove_headers: Host is changed by rewrite_host",
        "web.toml:28: route: remove_headers: \"a:b\" is no name of a header; write for example X-Tenant",
        "web.toml:29: route: rewrite_host: \"a/b\" is no host; write for example inner.example.com:8080",
        "web.toml:30: route: has no group; say where its requests go with group",
    ];
    let found = mistakes(text);
    for (found, want) in found.iter().zip(want) {
        assert_eq!(found, want);
    }
    assert_eq!(found.len(), want.len(), "{found:#?}");
}

#[test]
fn what_does_not_fit_together_is_told() {
    let cases = [
        (
            "",
            &[
                "web.toml:1: there is no listener; write a table [listener.NAME]",
                "web.toml:1: there is no group; write a table [group.NAME]",
            ][..],
        ),
        ("listener = 5\n[group.a]\nurls = \"http://a\"", &["web.toml:1: listener: is no table; write [listener.NAME]"]),
        (
            "[listener]\nurl = \"http://:80\"\n[group.a]\nurls = \"http://127.0.0.1\"",
            &["web.toml:2: listener: it has no name; write [listener.NAME]"],
        ),
        (
            "[listener.\"a b\"]\nurl = \"http://:1\"\n[group.a]\nurls = \"http://127.0.0.1\"",
            &["web.toml:1: listener \"a b\": is no name"],
        ),
        (
            "[listener.a]\nurl = \"htp://:1\"\n[listener.b]\nurl = 5\n[listener.c]\nurl = \"http://:3\"\n[group.a]\nurls = \"http://127.0.0.1\"",
            &[
                "web.toml:2: listener \"a\": url htp://:1: unknown scheme",
                "web.toml:4: listener \"b\": url 5: no scheme",
            ],
        ),
        (
            "[listener.a]\nurl = \"http://:1\"\n[group.a]\nurls = \"http://127.0.0.1\"\n[[route]]\nhost = [\"h\"]\npath = 5",
            &[
                "web.toml:6: route: host: a list does not fit here; write a text in quotes",
                "web.toml:7: route: path: an integer does not fit here; write a text in quotes",
            ],
        ),
        (
            "[listener.a]\nurl = \"http://:1\"\nclient_ip_header = \"transfer-encoding\"\n[group.a]\nurls = \"http://127.0.0.1\"",
            &[
                "web.toml:3: listener \"a\": client_ip_header transfer-encoding: requests need this header for something else; write for example X-Real-IP",
            ],
        ),
        (
            "[listener.a]\nurl = \"http://:1\"\n[group.a]\nurls = \"http://127.0.0.1\"\n[group.b]\nurls = \"http://127.0.0.1\"",
            &["web.toml:1: there is no route to several groups; write tables [[route]]"],
        ),
        (
            "[listener.a]\nurl = \"http://:1\"\n[listener.b]\nurl = \"http://:81\"\n[group.a]\nurls = \"http://127.0.0.1\"\n[[route]]\nlistener = \"a\"",
            &["web.toml:1: listener \"b\": no route takes its requests; write a [[route]] for it"],
        ),
        (
            "[listener.a]\nurl = \"http://:1\"\n[group.a]\nurls = \"http://127.0.0.1\"\n[[route]]\n[[route]]\npath = \"/\"",
            &["web.toml:6: route: takes what that in line 5 takes; change its listener, host or path"],
        ),
        (
            "[listener.a]\nurl = \"http://:1\"\n[listener.c]\nurl = \"http://:81\"\n[group.a]\nurls = \"http://127.0.0.1\"\n[[route]]\n[[route]]\nlistener = [\"a\", \"a\"]",
            &["web.toml:9: route: listener: names a twice; drop one"],
        ),
        (
            "[listener.a]\nurl = \"http://:1\"\n[listener.c]\nurl = \"http://:81\"\n[group.a]\nurls = \"http://127.0.0.1\"\n[[route]]\n[[route]]\nlistener = 1",
            &["web.toml:9: route: listener: an integer does not fit here; write a text in quotes"],
        ),
        (
            "[listener.a]\nurl = \"http://:1\"\n[listener.b]\nurl = \"http://:81\"\n[group.a]\nurls = \"http://127.0.0.1\"\n[[route]]\n[[route]]\nlistener = [\"a\", \"b\"]\npath = \"/\"",
            &["web.toml:7: route: takes nothing: each listener has a route of its own for that"],
        ),
        (
            "[listener.a]\nurl = \"http://:1\"\n[group.a]\nurls = \"http://127.0.0.1\"\n[[route]]\npath = \"/ä\"",
            &[
                "web.toml:6: route: path: \"/ä\" is not how clients send it, with which it is compared; write \"/%C3%A4\"",
            ],
        ),
        (
            "[listener.a]\nurl = \"http://h:1\"\n[group.g]\nurls = \"http://h:1\"",
            &[
                "web.toml:4: group \"g\": urls http://h:1: is a listener that has a route to it; requests would go round in circles",
            ],
        ),
        (
            "[listener.a]\nurl = \"https://:1\"\nautocert_host_regexp = \"a\"\nacme_challenge = \"http\"\n[group.a]\nurls = \"http://127.0.0.1\"",
            &[
                "web.toml:4: listener \"a\": acme_challenge: the authority asks a listener that is http, and there is none; add one with \
                 url = \"http://:80\", or use tls-alpn",
            ],
        ),
        (
            "[listener.a]\nurl = \"https://:1\"\n[group.a]\nurls = \"http://127.0.0.1\"",
            &[
                "web.toml:2: listener \"a\": url https://:1: needs a certificate; give PEM files with tls_cert and tls_key, or have one ordered",
            ],
        ),
        (
            "[listener.a]\nurl = \"https://:1\"\ntls_cert = \"/none.pem\"\ntls_key = \"/none.pem\"\n[group.a]\nurls = \"http://127.0.0.1\"",
            &[
                "web.toml:3: listener \"a\": tls_cert /none.pem: cannot read the file: no such file",
                "web.toml:4: listener \"a\": tls_key /none.pem: cannot read the file: no such file",
            ],
        ),
        (
            "[listener.a]\nurl = \"http://:1\"\n[group.a]\nurls = \"https://h\"\nca = \"/none.pem\"",
            &["web.toml:5: group \"a\": ca /none.pem: cannot read the file: no such file"],
        ),
        (
            "[listener.a]\nurl = \"http://:1\"\ndeny = [[\"x\"]]\n[group.a]\nurls = \"http://127.0.0.1\"",
            &["web.toml:3: listener \"a\": deny: a list in a list does not fit here"],
        ),
        (
            "[listener.a]\nurl = \"http://:1\"\ntls_cert = [\"a,b\"]\n[group.a]\nurls = \"http://127.0.0.1\"",
            &["web.toml:3: listener \"a\": tls_cert: what is in the list may have no comma in it"],
        ),
        (
            "[listener.a]\nurl = \"http://:1\"\nmax_body_size = 99999999999999999999\n[group.a]\nurls = \"http://127.0.0.1\"",
            &["web.toml:3: listener \"a\": max_body_size: the number is too large"],
        ),
        (
            "route = 1\n[listener.a]\nurl = \"http://:1\"\n[group.a]\nurls = \"http://127.0.0.1\"",
            &["web.toml:1: route: is no list of tables; write [[route]]"],
        ),
        ("[listener.a\n[group.a]\nurls =\n", &["web.toml:1: ", "web.toml:3: "]),
    ];
    for (text, want) in cases {
        let found = mistakes(text);
        for (found, want) in found.iter().zip(want) {
            assert!(found.starts_with(want), "{text}\n{found}\n{want}");
        }
        assert_eq!(found.len(), want.len(), "{text}\n{found:#?}");
    }
}

#[test]
fn what_a_file_may_hold_has_bounds() {
    let listeners = |count| {
        (0..count).fold(String::new(), |text, n| text + &format!("[listener.l{n}]\nurl = \"http://:{}\"\n", n + 1))
    };
    let groups = |count| (0..count).fold(String::new(), |text, n| text + &format!("[group.g{n}]\n"));
    let fine = "urls = \"http://h\"\n";
    let tables = format!("{}{}", listeners(1_001), groups(10_001));
    let want = [
        "web.toml:1: listener: there are 1001 of them, and 1000 are the most; divide them among processes",
        "web.toml:2003: group: there are 10001 of them, and 10000 are the most; divide them among processes",
    ];
    assert_eq!(mistakes(&tables), want);

    // Each of them is one for each of so many listeners.
    let (head, every) = (format!("{}[group.a]\n{fine}", listeners(250)), 400);
    let route = |n| format!("[[route]]\npath = \"/{n}\"\n");
    let most = (0..every).fold(head, |text, n| text + &route(n));
    assert_eq!(load(&most).map(|settings| settings.routes.len()), Ok(every));
    let more = format!("{most}{}[[route]]\nhots = \"not looked at\"\n", route(every));
    let line = format!("web.toml:{}: ", most.lines().count() + 1);
    let want = line
        + "route: there are too many: 100000 are the most, each counted for every listener whose requests it takes";
    assert_eq!(mistakes(&more), [want]);

    let host = |length: usize| {
        format!("[listener.a]\nurl = \"http://:1\"\n[group.a]\n{fine}[[route]]\nhost = \"{}\"\n", "h".repeat(length))
    };
    assert!(load(&host(254)).is_ok());
    assert!(mistakes(&host(255))[0].starts_with("web.toml:6: route: host: \"hhh"));
}

#[test]
fn one_group_needs_no_routes_and_what_does_nothing_is_told() {
    let settings =
        load("[listener.a]\nurl = \"http://:1\"\ndelay = \"1ms\"\nsocket_mode = 660\n[group.a]\nurls = \"http://h\"\ngroup_by = \"X-A\"")
            .expect("fine");
    assert_eq!(settings.routes.len(), 1);
    assert_eq!(
        settings.idle_options,
        [
            "web.toml:3: listener \"a\": delay has no effect: the input is not teleport",
            "web.toml:4: listener \"a\": socket_mode has no effect: the input is no unix socket",
            "web.toml:7: group \"a\": group_by has no effect: the outputs are not teleport"
        ]
    );
    let text = "[listener.a]\nurl = \"http://:1\"\n[group.a]\nurls = \"http://h\"\n[group.b]\nurls = \"http://i\"\n[[route]]\ngroup = \"a\"";
    assert_eq!(
        load(text).expect("fine").idle_options,
        ["web.toml:5: group \"b\": has no effect: no route leads to it"]
    );
}

#[test]
fn what_was_typed_wins_and_its_mistakes_are_told_as_such() {
    let word = |option: &str, value: &str| Word { option: option.to_owned(), value: value.to_owned() };
    let typed = Typed {
        listener: vec![word("--in-max-body-size", "7")],
        group: vec![word("--out-timeout", "9s")],
        process: vec![word("--concurrency", "3"), word("--wire", "classic")],
    };
    let text = "concurrency = 5\n[listener.a]\nurl = \"http://:1\"\nmax_body_size = 1\n[listener.b]\nurl = \"http://:81\"\n[group.a]\nurls = \"http://127.0.0.1\"\ntimeout = \"1s\"";
    let (_folder, config) = file(text, typed);
    let (settings, located) = config.load().expect("fine");
    assert_eq!(located.name(Part::Listener(1), "--in").as_deref(), Some("listener \"b\" (line 6)"));
    assert_eq!(located.name(Part::Process, "--concurrency"), None, "that was typed");
    assert_eq!(located.name(Part::Process, "--admin"), None, "nobody says it");
    assert!(settings.listeners.iter().all(|listener| listener.limits.max_body_size == 7));
    assert_eq!((settings.groups[0].timeout, settings.process.concurrency), (Duration::from_secs(9), 3));
    assert_eq!(settings.groups[0].teleport.wire, httpteleport::Wire::Classic);

    let typed = Typed {
        listener: vec![word("--in", "http://:82"), word("--client-burst", "2")],
        group: vec![word("--out-ca", "x.pem")],
        process: Vec::new(),
    };
    let (_folder, config) = file(text, typed);
    let lines = config.load().expect_err("mistakes");
    let want = [
        "--client-burst: says nothing",
        "--out-ca: no output uses TLS",
        "--in: says not which of the 2 listeners is meant",
    ];
    for want in want {
        assert!(lines.iter().any(|line| line.contains(want)), "{want}: {lines:#?}");
    }
}
