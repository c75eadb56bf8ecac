//! `httptp cert`, and the link that the README sets up with it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Output};

use testkit::programs::{Curl, Running};

use crate::node::Files;
use crate::origin::Origin;

const README: &str = include_str!("../../../README.md");
const NAMES: [&str; 6] = ["ca.crt", "ca.key", "far.crt", "far.key", "near.crt", "near.key"];

/// Runs `httptp` with these words in the folder, to its end.
fn run(folder: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_httptp"));
    command.args(words).current_dir(folder).output().expect("it starts")
}

fn make(folder: &Path, words: &[&str]) -> (Option<i32>, String, String) {
    let output = run(folder, &[&["cert", "--for", "localhost,127.0.0.1"], words].concat());
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// What is in the files now, in the order of their names.
fn contents(folder: &Path) -> Vec<String> {
    NAMES.iter().map(|name| fs::read_to_string(folder.join(name)).expect(name)).collect()
}

/// The command lines of a text, each without its line ends.
fn commands(text: &str) -> Vec<String> {
    let text = text.replace("\\\n", " ");
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.filter(|line| line.starts_with("httptp --in") || line.starts_with("httptp cert --for")).collect()
}

/// Starts a command line in the folder; where it listens.
fn start(folder: &Path, line: &str) -> (Running, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_httptp"));
    command.args(line.split(' ').skip(1)).current_dir(folder);
    let running = Running::start(command);
    let url = running.line("where it listens", |line| {
        line.strip_prefix("httptp: ")?.split_once(" -> ")?.0.split(' ').next().map(str::to_owned)
    });
    (running, url)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_link_of_the_readme_is_set_up_as_it_says() {
    let (files, origin) = (Files::new(), Origin::start().await);
    let folder = files.path("");
    let section = README.split("Over a network that is not yours").nth(1).expect("the section");
    let section = section.split("For browsers").next().expect("its end");
    let [cert, far, near] = <[String; 3]>::try_from(commands(section)).expect("three commands");

    let printed = run(&folder, &cert.split(' ').skip(1).collect::<Vec<_>>());
    let printed = String::from_utf8(printed.stdout).expect("UTF-8");
    assert_eq!(commands(&printed), [far.clone(), near.clone()], "it prints what the README says");

    // The same on this machine: the name is not ours to resolve, and ports are to be free.
    let far = far.replace("teleports://:4443", "teleports://127.0.0.1:0").replace("http://127.0.0.1:80", &origin.url);
    let (far, url) = start(&folder, &far);
    let near = near.replace("127.0.0.1:8080", "127.0.0.1:0").replace("teleports://far.example.com:4443", &url);
    let (_near, front) = start(&folder, &format!("{near} --out-tls-name far.example.com"));
    let reply = Curl::new(&format!("{front}/through")).run().await;
    assert_eq!((reply.exit, reply.status, &reply.body[..]), (0, 200, &b"GET /through"[..]), "{reply:?}");

    // Whoever has no certificate of the authority stays outside, and its log says so.
    let bare = near.split(" --out-tls-cert").next().expect("the rest");
    let (bare, front) = start(&folder, &format!("{bare} --out-tls-name far.example.com --log-all-errors"));
    let reply = Curl::new(&front).run().await;
    assert_eq!(reply.status, 502, "{reply:?}");
    tokio::task::block_in_place(|| {
        bare.line("why", |line| line.contains("CertificateRequired").then_some(()));
        far.line("the refusal", |line| line.contains("it shows no certificate").then_some(()));
    });
}

#[test]
fn keys_are_their_owners_and_nothing_is_overwritten_by_accident() {
    let files = Files::new();
    let folder = files.path("certs");
    let (code, stdout, stderr) = make(&files.path(""), &[]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{stdout}");
    let mode = |name: &str| fs::metadata(folder.join(name)).expect(name).permissions().mode() & 0o777;
    for name in NAMES {
        assert_eq!(mode(name), if name.ends_with(".key") { 0o600 } else { 0o644 }, "{name}");
    }
    let first = contents(&folder);

    let (code, _, stderr) = make(&files.path(""), &[]);
    let want = "httptp: --dir certs: ca.crt is there already; give another folder, --renew to keep its authority and replace the \
                certificates, or --overwrite to replace all\n";
    assert_eq!((code, stderr.as_str()), (Some(2), want));
    assert_eq!(contents(&folder), first);

    let (code, _, stderr) = make(&files.path(""), &["--renew"]);
    assert_eq!((code, stderr.as_str()), (Some(0), ""));
    let second = contents(&folder);
    assert_eq!(second[..2], first[..2], "the authority stays");
    for (name, (new, old)) in NAMES.iter().zip(second.iter().zip(&first)).skip(2) {
        assert_ne!(new, old, "{name}");
        assert!(name.ends_with(".crt") || mode(name) == 0o600, "{name}");
    }

    let (code, _, _) = make(&files.path(""), &["--overwrite"]);
    assert_eq!(code, Some(0));
    assert!(contents(&folder).iter().zip(&second).all(|(new, old)| new != old));
    let left = fs::read_dir(&folder).expect("the folder").count();
    assert_eq!(left, NAMES.len(), "nothing else is left there");
}

#[test]
fn mistakes_are_a_line_each() {
    let files = Files::new();
    let folder = files.path("");
    let cases: [(&[&str], i32, &str); 7] = [
        (&["--for", "x", "--dir", "/dev/null"], 2, "--dir /dev/null: /dev/null is no folder"),
        (&["--for", "a b"], 2, "--for a b: cannot be the name in a certificate; write for example far.example.com"),
        (&["--for", "*.x"], 2, "--for *.x: cannot be the name in a certificate; write for example far.example.com"),
        (&["--for", "x", "--near", "a/b"], 2, "--near a/b: is no DNS name; write for example near.example.com"),
        (&["--for", "x", "--days", "0"], 2, "--days 0: give a whole number from 1 to 3650"),
        (&["--for", "x", "--dir", "/proc/none"], 1, "--dir /proc/none: cannot make the folder: no such file"),
        (&["--for", "x", "--renew"], 2, "--renew: certs/ca.crt: cannot read the file: no such file"),
    ];
    for (words, code, want) in cases {
        let output = run(&folder, &[&["cert"], words].concat());
        let stderr = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!((output.status.code(), stderr), (Some(code), format!("httptp: {want}\n")), "{words:?}");
    }
}

#[test]
fn an_authority_of_somebody_else_is_not_renewed() {
    let files = Files::new();
    let folder = files.path("");
    make(&folder, &[]);
    let certs = folder.join("certs");
    let before = contents(&certs);
    fs::copy(certs.join("near.key"), certs.join("ca.key")).expect("copied");
    let (code, _, stderr) = make(&folder, &["--renew"]);
    assert_eq!(
        (code, stderr.as_str()),
        (Some(2), "httptp: --renew: certs/ca.key: is not the key of the certificate in certs/ca.crt\n")
    );
    // A pair, and yet no authority.
    fs::copy(certs.join("near.crt"), certs.join("ca.crt")).expect("copied");
    let (code, _, stderr) = make(&folder, &["--renew"]);
    let want = "httptp: --renew: certs/ca.crt: is of no authority that httptp cert has made, or is over\n";
    assert_eq!((code, stderr.as_str()), (Some(2), want));
    assert_eq!(contents(&certs)[2..], before[2..]);
}
