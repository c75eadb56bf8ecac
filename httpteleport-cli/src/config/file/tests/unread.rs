//! What is not said, or cannot be read: it is told, every bit of it, and nothing that would be fine once it is mended.

use super::mistakes;

fn assert_told(text: &str, want: &[&str]) {
    let found = mistakes(text);
    for (found, want) in found.iter().zip(want) {
        assert!(found.starts_with(&format!("web.toml:{want}")), "{text}\n{found}\n{want}");
    }
    assert_eq!(found.len(), want.len(), "{text}\n{found:#?}");
}

const REST: &str = "[group.a]\nurls = \"http://127.0.0.1\"\n";
const WEB: &str = "[listener.web]\nurl = \"http://:1\"\n";

#[test]
fn whoever_says_not_where_it_is_is_told() {
    assert_told(
        "[listener.web]\ntls_cert = \"a\"\n\n[listener.api]\n[group.a]\nca = \"/none.pem\"\n[group.b]\nurl = \"http://h\"\n[[route]]\ngroup = \"a\"\n",
        &[
            "1: listener \"web\": has no url; say where it listens, for example url = \"http://:8080\"",
            "4: listener \"api\": has no url;",
            "5: group \"a\": has no urls; say where its requests go, for example urls = \"http://10.0.0.1:80\"",
            "6: group \"a\": ca /none.pem: cannot read the file",
            "8: group \"b\": unknown key url; did you mean urls?",
        ],
    );
    assert_told(
        &format!("[listener.web]\nulr = \"http://:1\"\n{REST}"),
        &["2: listener \"web\": unknown key ulr; did you mean url?"],
    );
}

#[test]
fn an_address_that_cannot_be_read_is_one_mistake() {
    for more in [
        "tls_cert = \"a\"\ntls_key = \"b\"",
        "autocert_host_regexp = \"a\"",
        "tls_client_ca = \"c\"",
        "delay = \"1ms\"",
    ] {
        assert_told(
            &format!("[listener.web]\nurl = \"htps://:1\"\n{more}\n{REST}"),
            &["2: listener \"web\": url htps://:1: unknown scheme"],
        );
    }
    for more in ["tls_name = \"a\"", "proxy_protocol = 1", "delay = \"1ms\"", "compress = \"zstd\""] {
        assert_told(
            &format!("{WEB}[group.a]\nurls = \"h2://a\"\n{more}\n"),
            &["4: group \"a\": urls h2://a: unknown scheme"],
        );
    }
    // What stands in for it goes nowhere, and in no circle.
    assert_told(
        "[listener.web]\nurl = 1\n[group.a]\nurls = \"http://127.0.0.1:8080\"\n",
        &["2: listener \"web\": url 1: no scheme"],
    );
}

#[test]
fn what_depends_on_a_bad_value_is_no_mistake_of_its_own() {
    let cases = [
        ("client_rate = \"many\"\nclient_burst = 5", "3: listener \"web\": client_rate many: "),
        ("client_rat = 5\nclient_burst = 5", "3: listener \"web\": unknown key client_rat; did you mean client_rate?"),
    ];
    for (lines, want) in cases {
        assert_told(&format!("{WEB}{lines}\n{REST}"), &[want]);
    }
    let group = |lines: &str| format!("{WEB}[group.a]\nurls = \"https://127.0.0.1\"\n{lines}\n");
    assert_told(
        &group("health_check = \"x\"\nhealth_interval = \"2s\""),
        &["5: group \"a\": health_check x: is no path"],
    );
    assert_told(&group("tls_cert = [[]]\ntls_key = \"a\""), &["5: group \"a\": tls_cert: a list in a list"]);
    assert_told(&group("timeout = \"soon\"\ndelay = \"9s\""), &["5: group \"a\": timeout soon: "]);
    assert_told(&group("eject_time = \"x\"\neject_max_time = \"1s\""), &["5: group \"a\": eject_time x: "]);
    assert_told(
        &format!("compress_alone = true\nwire = \"classic\"\nmax_connection_age = \"0s\"\n{WEB}{REST}"),
        &["1: compress_alone: the classic wire cannot do that", "3: max_connection_age 0: no call fits"],
    );
    assert_told(
        &format!(
            "wire = \"go\"\n[listener.t]\nurl = \"teleport://:1\"\ncompress = \"flate\"\ncompress_alone = true\n{REST}"
        ),
        &["1: wire go: use auto, classic or framed"],
    );
}

#[test]
fn every_part_of_a_list_is_looked_at() {
    assert_told(
        &format!("{WEB}allow = [\n  \"10.0.0.0/8\",\n  \"10.0.0\",\n  \"fd00::/129\",\n]\n{REST}"),
        &["5: listener \"web\": allow 10.0.0: ", "6: listener \"web\": allow fd00::/129: "],
    );
    assert_told(
        &format!("{WEB}[group.a]\nurls = \"http://h,far:1,ftp://i\"\n"),
        &["4: group \"a\": urls far:1: no scheme", "4: group \"a\": urls ftp://i: unknown scheme"],
    );
    assert_told(
        &format!("{WEB}{REST}[[route]]\nlistener = [\"wep\", \"web\", \"x\"]\n"),
        &[
            "6: route: listener: there is no listener \"wep\"; did you mean web?",
            "6: route: listener: there is no listener \"x\"",
        ],
    );
}

#[test]
fn every_file_of_certificates_is_looked_at() {
    let tls = "tls_cert = [\"/none.1\", \"/none.2\"]\ntls_key = [\"/none.3\", \"/none.4\"]\ntls_client_ca = \"/none.5\"\nclient_burst = 3\n";
    assert_told(
        &format!("[listener.web]\nurl = \"https://:1\"\n{tls}{REST}"),
        &[
            "3: listener \"web\": tls_cert /none.1: cannot read the file: no such file",
            "3: listener \"web\": tls_cert /none.2: cannot read the file: no such file",
            "4: listener \"web\": tls_key /none.3: cannot read the file: no such file",
            "4: listener \"web\": tls_key /none.4: cannot read the file: no such file",
            "5: listener \"web\": tls_client_ca /none.5: cannot read the file: no such file",
            "6: listener \"web\": client_burst: says nothing without client_rate",
        ],
    );
    assert_told(
        &format!(
            "{WEB}[group.a]\nurls = \"https://127.0.0.1\"\nca = \"/none.1\"\ntls_cert = \"/none.2\"\ntls_key = \"/none.3\"\n"
        ),
        &[
            "5: group \"a\": ca /none.1: cannot read",
            "6: group \"a\": tls_cert /none.2: cannot read",
            "7: group \"a\": tls_key /none.3: cannot read",
        ],
    );
}
