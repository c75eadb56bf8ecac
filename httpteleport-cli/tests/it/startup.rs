//! Every reason not to start: its text and its exit code.

use std::fs;
use std::path::PathBuf;

use tokio::net::TcpListener;

use crate::config::File;
use crate::program::{Program, logged, run, run_shell, run_within};
use crate::tls::Identity;
use crate::unix::socket_path;

/// Runs it, and expects one line on stderr that holds `want`.
async fn refuses(args: &[&str], code: i32, want: &str) {
    let (status, stdout, stderr) = run(args).await;
    assert_eq!(status, Some(code), "{args:?}: {stderr}");
    assert_eq!(stdout, "", "{args:?}");
    assert!(stderr.starts_with("httptp: ") && stderr.lines().count() == 1, "{args:?}: {stderr:?}");
    assert!(stderr.contains(want), "{args:?}: {stderr:?}");
}

fn file(name: &str, text: &str) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, text).expect("written");
    path.to_str().expect("UTF-8").to_owned()
}

#[tokio::test]
async fn bad_options_are_2() {
    let schemes = "--in ftp://x: unknown scheme \"ftp\"; use http, https, unix, teleport or teleports";
    refuses(&["--in", "ftp://x"], 2, schemes).await;
    let no_scheme = "--out localhost:80: no scheme; write for example http://localhost:80";
    refuses(&["--out", "http://a,localhost:80"], 2, no_scheme).await;
    refuses(&["--in", "https://:0", "--out", "http://h"], 2, "give PEM files with --in-tls-cert and --in-tls-key")
        .await;
    refuses(&["--out-timeout", "3"], 2, "--out-timeout 3: no unit").await;
    let stray = "httptp: http://***@h: belongs to no option; drop it, or write its option before it";
    refuses(&["--in", "http://:0", "http://u:p@h"], 2, stray).await;
    refuses(&["--in", "http://:0", "check", "x"], 2, "httptp: check: a command stands first").await;
    for name in ["Content-Length", "transfer-encoding", "Host"] {
        let want = format!("--in-client-ip-header {name}: requests need this header for something else");
        refuses(&["--in-client-ip-header", name], 2, &want).await;
    }
    refuses(&["--inn", "http://:0"], 2, "httptp: --inn: unknown option; did you mean --in?").await;
    refuses(&["-inAllow=10.0.0.1"], 2, "httptp: -inAllow: unknown flag; did you mean -inAllowIP?").await;
    refuses(&["demo", "--secnds", "5"], 2, "httptp: --secnds: unknown option; did you mean --seconds?").await;
    refuses(&["--in", ""], 2, "httptp: --in: an address is empty; write for example 127.0.0.1:8080").await;
    refuses(&["--out", ""], 2, "httptp: --out: an address is empty; write for example 127.0.0.1:8043").await;
    refuses(&["--out", "http://h,"], 2, "httptp: --out: is empty; write for example http://127.0.0.1:8080").await;
    let (code, _, stderr) = run(&[]).await;
    assert_eq!(code, Some(2));
    assert!(stderr.contains("Usage: httptp --in URL --out URL"), "{stderr}");
}

#[tokio::test]
async fn help_and_version_are_0() {
    for option in ["--help", "-h", "--version", "-V"] {
        let (code, stdout, stderr) = run(&[option]).await;
        assert_eq!((code, stderr.as_str()), (Some(0), ""), "{option}");
        assert!(stdout.contains("httptp"), "{option}");
    }
}

#[tokio::test]
async fn variables_that_are_nearly_options_are_mistakes_and_others_are_told() {
    let args = ["--in", "http://127.0.0.1:0", "--out", "http://127.0.0.1:1"];
    let (code, _, told) = run_within(&args, &[("HTTPTP_IN_ALOW", "10.0.0.1")]).await;
    let want = "httptp: HTTPTP_IN_ALOW: is no option; did you mean HTTPTP_IN_ALLOW?\n";
    assert_eq!((code, told.as_str()), (Some(2), want));
    let service = [("HTTPTP_SERVICE_HOST", "10.0.0.1"), ("HTTPTP_PORT_80_TCP", "tcp://10.0.0.1:80")];
    let others = [service[0], service[1], ("HTTPTP_VERSION", "7")];
    let (_program, mut log) = Program::logged_within(&args, &others).await;
    let line = logged(&mut log, "HTTPTP_").await;
    assert!(line.contains("HTTPTP_VERSION has no effect: the environment has no such option"), "{line}");
}

#[tokio::test]
async fn more_threads_than_can_be_started_are_told() {
    let line = format!(
        "ulimit -v 1500000; {} --threads 1024 --in http://127.0.0.1:0 --out http://127.0.0.1:1 2>&1; echo $?",
        env!("CARGO_BIN_EXE_httptp")
    );
    let (_, told) = run_shell(&line).await;
    assert!(told.starts_with("httptp: --threads 1024: only ") && told.ends_with("\n1\n"), "{told}");
    assert!(told.contains("use fewer with --threads, or raise the limits") && told.lines().count() == 2, "{told}");
}

#[tokio::test]
async fn as_many_files_may_be_open_as_the_system_allows() {
    let program =
        format!("{} --in http://127.0.0.1:0 --out http://127.0.0.1:1 --admin ''", env!("CARGO_BIN_EXE_httptp"));
    let look = "read pid; read ready; grep 'Max open files' /proc/$pid/limits; kill $pid";
    let line = format!(
        "ulimit -Sn 70; ulimit -Hn 90; sh -c 'echo $$; exec {}' 2>&1 | {{ {look}; }}",
        program.replace("''", "\"\"")
    );
    let (code, limits) = run_shell(&line).await;
    assert_eq!(code, Some(0), "{limits}");
    let limits: Vec<_> = limits.split_whitespace().collect();
    assert_eq!(limits, ["Max", "open", "files", "90", "90", "files"]);
}

#[tokio::test]
async fn addresses() {
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let input = format!("http://{}", taken.local_addr().expect("an address"));
    let want = format!("--in {input}: address in use: another program listens there; stop it or choose another");
    refuses(&["--in", &input, "--out", "http://127.0.0.1:1"], 1, &want).await;
    // 192.0.2.0/24 belongs to documents, and `.invalid` to nobody.
    let want = "--in http://192.0.2.1:80: not an address of this machine";
    refuses(&["--in", "http://192.0.2.1:80", "--out", "http://127.0.0.1:1"], 1, want).await;
    let want = "--in http://nowhere.invalid:80: cannot find the address of \"nowhere.invalid\"";
    refuses(&["--in", "http://nowhere.invalid", "--out", "http://127.0.0.1:1"], 1, want).await;
}

/// What stands in a file is told with its place there; what was typed beside it, or is nobody's, as that.
#[tokio::test]
async fn mistakes_of_a_file_have_its_words() {
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let taken = taken.local_addr().expect("an address");
    let settings = |url: &str, urls: &str| {
        File::new(&format!("[listener.a]\nurl = \"{url}\"\n[group.g]\nurls = [\"http://127.0.0.1:1\", \"{urls}\"]\n"))
    };
    let free = "http://127.0.0.1:0";
    for (url, urls, more, code, want) in [
        (
            &*format!("http://{taken}"),
            "http://127.0.0.1:2",
            "",
            1,
            format!("FILE:2: listener \"a\": url http://{taken}: address in use: another"),
        ),
        (
            free,
            "unix:/dev/null#backup",
            "",
            2,
            "FILE:4: group \"g\": urls unix:/dev/null#backup: is not a socket".to_owned(),
        ),
        (
            free,
            "file:/nonexistent/urls",
            "",
            2,
            "FILE:4: group \"g\": urls file:/nonexistent/urls: no such file".to_owned(),
        ),
        (
            free,
            "http://127.0.0.1:2",
            &*format!("--in=http://{taken}"),
            1,
            format!("--in http://{taken}: address in use"),
        ),
        (free, "http://127.0.0.1:2", &*format!("--admin={taken}"), 1, format!("--admin {taken}: address in use")),
    ] {
        let file = settings(url, urls);
        let path = file.path();
        let args = [&["--config", &path][..], &[more][..usize::from(!more.is_empty())]].concat();
        let (status, _, stderr) = run(&args).await;
        let want = format!("httptp: {}", want.replace("FILE", &path));
        assert!(stderr.starts_with(&want) && stderr.lines().count() == 1, "{stderr:?}\n{want}");
        assert_eq!(status, Some(code), "{stderr}");
    }
}

#[tokio::test]
async fn unix_sockets() {
    let missing = socket_path("missing");
    let out = format!("unix:{}", file("no_socket", "x"));
    if out.len() < 100 {
        refuses(&["--in", "http://127.0.0.1:0", "--out", &out], 2, "is not a socket").await;
    }
    let input = format!("unix:{}/x", missing.display());
    refuses(&["--in", &input, "--out", "http://127.0.0.1:1"], 2, "its directory does not exist; create it").await;
}

#[tokio::test]
async fn certificates() {
    let (one, two) = (Identity::new("startup_one"), Identity::new("startup_two"));
    let (cert, key) = (one.cert.to_str().expect("UTF-8"), one.key.to_str().expect("UTF-8"));
    let other_key = two.key.to_str().expect("UTF-8");
    let empty = file("empty.pem", "nothing in here\n");
    let broken = file("broken.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n");
    let garbled = file("garbled.pem", "-----BEGIN CERTIFICATE-----\n&&&&\n-----END CERTIFICATE-----\n");
    let cut = file("cut.pem", "-----BEGIN CERTIFICATE-----\nMIIB\n");
    let weak = file("weak.pem", "-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n");
    let missing = "/nonexistent/x.pem";
    let cases = [
        (missing, key, "--in-tls-cert /nonexistent/x.pem: cannot read the file: no such file"),
        (cert, missing, "--in-tls-key /nonexistent/x.pem: cannot read the file: no such file"),
        (&empty, key, "empty.pem: holds no certificate; it should have a PEM block"),
        (cert, &empty, "empty.pem: holds no private key; it should have"),
        (key, key, "startup_one.key.pem: holds no certificate"),
        (cert, cert, "startup_one.cert.pem: holds no private key"),
        (&broken, key, "broken.pem: holds no certificate that can be read; copy the file again"),
        (&garbled, key, "garbled.pem: is not valid PEM: a block in it is damaged; copy the file again"),
        (&cut, key, "cut.pem: is not valid PEM: a block in it has no end; copy the file again, whole"),
        (cert, &weak, "weak.pem: holds no key that can be used; make one of RSA with 2048 bits or more,"),
        (cert, other_key, "startup_two.key.pem: is not the key of the certificate in "),
    ];
    for (cert, key, want) in cases {
        let args =
            ["--in", "https://127.0.0.1:0", "--out", "http://127.0.0.1:1", "--in-tls-cert", cert, "--in-tls-key", key];
        refuses(&args, 2, want).await;
    }
    for (ca, want) in [(missing, "--out-ca /nonexistent/x.pem: cannot read"), (&empty, "holds no certificate")] {
        refuses(&["--in", "http://127.0.0.1:0", "--out", "https://127.0.0.1:1", "--out-ca", ca], 2, want).await;
    }
}
