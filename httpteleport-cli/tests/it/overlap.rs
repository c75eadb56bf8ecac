//! Places that one process would need twice: told by a check, by a start and by a reload alike, before anything is opened.

use std::fs;
use std::process::Stdio;

use rustix::process::Signal;
use testkit::programs::free_address;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::client::Client;
use crate::clients::log_has;
use crate::config::File;
use crate::origin::Origin;
use crate::program::{PATIENCE, Program, run};
use crate::unix::socket_path;

const GROUP: &str = "[group.g]\nurls = \"http://127.0.0.1:1\"\n";

fn two(urls: [&str; 2], more: &str) -> String {
    format!("[listener.a]\nurl = \"{}\"\n{more}\n[listener.b]\nurl = \"{}\"\n{more}\n{GROUP}", urls[0], urls[1])
}

/// What a check of a file says, and what a start says that does not come to pass: exit code, and lines without the folder.
async fn check_and_start(text: &str) -> [(Option<i32>, Vec<String>); 2] {
    let file = File::new(text);
    let path = file.path();
    let folder = format!("httptp: {}", path.trim_end_matches("web.toml"));
    let said = async |args: &[&str]| {
        // The file has the word on the admin address.
        let mut command = Command::new(env!("CARGO_BIN_EXE_httptp"));
        let output = command.args(args).kill_on_drop(true).output();
        let output = timeout(PATIENCE, output).await.expect("it ends").expect("it starts");
        let errors = String::from_utf8(output.stderr).expect("UTF-8");
        (output.status.code(), errors.lines().map(|line| line.replace(&folder, "")).collect())
    };
    [said(&["check", &path]).await, said(&["--config", &path]).await]
}

/// Which of them are to be had together is the system's to say: the start tells.
#[tokio::test]
async fn what_a_check_says_of_ports_is_what_a_start_does() {
    let pairs = [
        ("http://:PORT", "http://127.0.0.1:PORT"),
        ("teleport://127.0.0.1:PORT", "http://:PORT"),
        ("http://[::]:PORT", "http://127.0.0.1:PORT"),
        ("http://127.0.0.1:PORT", "teleport://[::]:PORT"),
        ("http://[::]:PORT", "http://:PORT"),
        ("http://localhost:PORT", "http://127.0.0.1:PORT"),
        ("http://127.0.0.1:PORT", "http://localhost:PORT"),
        ("http://localhost:PORT", "http://[::1]:PORT"),
        ("http://[::ffff:127.0.0.1]:PORT", "http://127.0.0.1:PORT"),
        ("http://[::1]:PORT", "http://127.0.0.1:PORT"),
        ("http://127.0.0.2:PORT", "http://127.0.0.1:PORT"),
    ];
    for (one, other) in pairs {
        for shared in ["", "reuse_port = true"] {
            let port = free_address().port().to_string();
            let text = two([&one.replace("PORT", &port), &other.replace("PORT", &port)], shared);
            let file = File::new(&text);
            let (code, _, told) = run(&["check", &file.path()]).await;
            if code == Some(0) {
                let mut program = Program::start(&["--config", &file.path()]).await;
                let second = program.next_line().await;
                assert!(second.starts_with("httptp: "), "{text}: {second}");
                program.signal(Signal::TERM);
                assert_eq!(program.ended().await.code(), Some(0), "{text}");
                continue;
            }
            let (start, _, said) = run(&["--config", &file.path()]).await;
            // A machine without IPv6 has no such addresses.
            let is_here = !told.contains("not an address of this machine");
            assert_eq!((code, start), (Some(2), Some(if is_here { 2 } else { 1 })), "{text}: {told}{said}");
            if is_here {
                assert!(told == said && told.contains("(line 2)") && told.lines().count() == 1, "{told}{said}");
            }
        }
    }
}

#[tokio::test]
async fn both_places_are_named_with_their_lines() {
    let port = free_address().port();
    let folder = tempfile::tempdir().expect("a folder");
    let here = folder.path().to_str().expect("UTF-8");
    let [all, loopback] = [format!("http://:{port}"), format!("http://127.0.0.1:{port}")];
    let unix = format!("[listener.a]\nurl = \"unix:{here}/a.sock\"\n{GROUP}");
    let cases = [
        (
            two([&all, &loopback], ""),
            format!(
                "web.toml:5: listener \"b\": url {loopback}: listens where listener \"a\" (line 2) does, which is at every address of IPv4; give one of them another port"
            ),
        ),
        (
            two([&loopback, &all], ""),
            format!(
                "web.toml:5: listener \"b\": url {all}: listens at every address of IPv4, so where listener \"a\" (line 2) does as well; give one of them another port"
            ),
        ),
        (
            two([&loopback, &loopback.replace("http", "teleport")], "reuse_port = true"),
            format!(
                "web.toml:5: listener \"b\": url teleport://127.0.0.1:{port}: listens where listener \"a\" (line 2) does; give one of them another port"
            ),
        ),
        (
            format!("admin = \"127.0.0.1:{port}\"\n[listener.a]\nurl = \"{loopback}\"\nreuse_port = true\n{GROUP}"),
            format!(
                "web.toml:1: admin 127.0.0.1:{port}: listens where listener \"a\" (line 3) does; give one of them another port"
            ),
        ),
        (
            two(
                [
                    &format!("unix:{here}/a.sock"),
                    &format!("unix:{here}/../{}/a.sock", here.rsplit('/').next().expect("a name")),
                ],
                "",
            ),
            "b\": url unix:".to_owned(),
        ),
        (
            format!("handover = \"{here}/a.sock\"\n{unix}"),
            format!(
                "web.toml:1: handover {here}/a.sock: is the path of listener \"a\" (line 3) as well; give one of them another path"
            ),
        ),
        (
            format!("access_log = \"{here}/a.sock\"\n{unix}"),
            format!(
                "web.toml:3: listener \"a\": url unix:{here}/a.sock: is the path of access_log (line 1) as well; give one of them another path"
            ),
        ),
    ];
    for (text, want) in cases {
        let [check, start] = check_and_start(&text).await;
        assert_eq!(check, start, "{text}");
        assert_eq!(check.0, Some(2), "{text}");
        assert!(check.1.len() == 1 && check.1[0].contains(&want), "{text}\n{:#?}\n{want}", check.1);
        assert_eq!(fs::read_dir(folder.path()).expect("it is there").count(), 0, "{text}: nothing is made");
    }
}

#[tokio::test]
async fn options_are_named_by_what_was_typed() {
    let (port, path) = (free_address().port(), socket_path("overlap"));
    let path = path.to_str().expect("UTF-8");
    let (input, unix) = (format!("http://127.0.0.1:{port}"), format!("unix:{path}"));
    let cases = [
        (
            ["--in", &input, "--admin", &format!(":{port}")],
            format!(
                "--admin :{port}: listens at every address of IPv4, so where --in {input} does as well; give one of them another port"
            ),
        ),
        (
            ["--in", &unix, "--handover", path],
            format!("--handover {path}: is the path of --in {unix} as well; give one of them another path"),
        ),
        (
            ["-in", &format!("127.0.0.1:{port}"), "-expvarAddr", &format!("127.0.0.1:{port}")],
            format!("--admin 127.0.0.1:{port}: listens where --in {input} does; give one of them another port"),
        ),
    ];
    for (args, want) in cases {
        let (code, stdout, stderr) = run(&[&args[..], &["--out", "http://127.0.0.1:1"]].concat()).await;
        assert_eq!((code, stdout.as_str(), stderr), (Some(2), "", format!("httptp: {want}\n")), "{args:?}");
    }
    // What was typed beside a file has no line there.
    let file = File::new(&format!("[listener.a]\nurl = \"{input}\"\n{GROUP}"));
    let (code, _, stderr) = run(&["--config", &file.path(), "--admin", &format!("127.0.0.1:{port}")]).await;
    let want = format!(
        "httptp: --admin 127.0.0.1:{port}: listens where listener \"a\" (line 2) does; give one of them another port\n"
    );
    assert_eq!((code, stderr), (Some(2), want));
}

/// It gives way, as nobody has asked for it. Somebody else may have that port now, be it another test, which the start tells after that.
#[tokio::test]
async fn the_usual_admin_address_gives_way_to_a_listener_and_both_say_so() {
    let listener = "the admin page and metrics have no address: listener \"a\" (line 2) has localhost:8040; \
                    set admin to another address, or to \"\" for none";
    for url in ["http://127.0.0.1:8040", "teleport://:8040", "http://localhost:8040"] {
        let text = format!("[listener.a]\nurl = \"{url}\"\n{GROUP}");
        let file = File::new(&text);
        let (code, _, told) = run(&["check", &file.path()]).await;
        assert_eq!((code, told), (Some(0), format!("httptp: warning: {listener}\n")));
        warns_at_start(&["--config", &file.path()], listener).await;
        let none = File::new(&format!("admin = \"\"\n{text}"));
        assert_eq!(run(&["check", &none.path()]).await.2, "");
    }
    let typed = "the admin page and metrics have no address: --in http://127.0.0.1:8040 has localhost:8040; \
                 choose another address with --admin, or none with --admin ''";
    warns_at_start(&["--in", "http://127.0.0.1:8040", "--out", "http://127.0.0.1:1"], typed).await;
}

async fn warns_at_start(args: &[&str], want: &str) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_httptp"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut program = command.spawn().expect("the program starts");
    let mut log = BufReader::new(program.stderr.take().expect("a pipe")).lines();
    log_has(&mut log, &format!("WARN {want}")).await;
}

#[tokio::test]
async fn a_reload_that_would_open_what_is_had_changes_nothing() {
    let origin = Origin::start().await;
    let (port, admin) = (free_address().port(), free_address());
    let group = format!("[group.g]\nurls = \"{}\"\n", origin.url());
    let with = |more: &str| format!("[listener.a]\nurl = \"http://127.0.0.1:{port}\"\n{more}{group}");
    let file = File::new(&with(""));
    let address = admin.to_string();
    let (program, mut log) = Program::logged_within(&["--config", &file.path()], &[("HTTPTP_ADMIN", &address)]).await;
    let listener = |url: &str| format!("[listener.b]\nurl = \"{url}\"\n");
    let cases = [
        (
            listener(&format!("teleport://:{port}")),
            ":4: listener \"b\": url teleport://:{port}: listens at every address of IPv4, so where listener \"a\" (line 2) does as well",
        ),
        (
            listener(&format!("http://[::ffff:127.0.0.1]:{port}")),
            "listener \"b\": url http://[::ffff:127.0.0.1]:{port}: listens where listener \"a\" (line 2) does",
        ),
        (
            listener(&format!("http://:{}", admin.port())),
            ":4: listener \"b\": url http://:{admin}: listens at every address of IPv4, so where --admin 127.0.0.1:{admin} does as well",
        ),
        (
            listener("unix:/tmp/../tmp/httptp-a.sock") + "[listener.c]\nurl = \"unix:/tmp/httptp-a.sock\"\n",
            "listener \"c\": url unix:/tmp/httptp-a.sock: is the path of",
        ),
    ];
    for (more, want) in cases {
        file.write(&with(&more));
        program.signal(Signal::HUP);
        let want = want.replace("{port}", &port.to_string()).replace("{admin}", &admin.port().to_string());
        log_has(&mut log, &want).await;
        log_has(&mut log, "not applied; what was said before holds").await;
        assert_eq!(Client::connect(program.address()).await.get("/size/1").await.text(), "x", "{want}");
    }
    // What is open stays so, beside what is new.
    file.write(&with(&listener("http://127.0.0.1:0")));
    program.signal(Signal::HUP);
    log_has(&mut log, "applied: 2 listeners").await;
}
