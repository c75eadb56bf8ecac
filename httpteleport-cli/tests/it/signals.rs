//! The signals that ask a process for something: none of them ends one that serves.

use std::fs;
use std::process::Stdio;

use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::process::Signal;
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe;
use tokio::process::Command;
use tokio::time::timeout;

use crate::client::Client;
use crate::clients::log_has;
use crate::config::File;
use crate::origin::Origin;
use crate::program::{PATIENCE, Program};
use crate::silent_dns::SilentDns;

#[tokio::test]
async fn neither_ends_a_process_that_has_nothing_to_do_for_it() {
    let origin = Origin::start().await;
    let args = ["--in", "http://127.0.0.1:0", "--out", &origin.url()];
    let (mut program, mut log) = Program::logged(&args).await;
    program.signal(Signal::USR1);
    program.signal(Signal::HUP);
    log_has(&mut log, "SIGHUP: certificates and tokens were read again").await;
    assert_eq!(Client::connect(program.address()).await.get("/size/1").await.text(), "x");
    program.signal(Signal::TERM);
    assert_eq!(program.ended().await.code(), Some(0));
}

#[tokio::test]
async fn a_token_of_no_use_is_not_told_as_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let token = folder.path().join("token");
    fs::write(&token, "a-token-that-nobody-guesses").expect("written");
    let token_file = token.to_str().expect("UTF-8");
    let args = ["--in", "http://127.0.0.1:0", "--out", "http://127.0.0.1:1", "--admin", "127.0.0.1:0"];
    let (program, mut log) = Program::logged(&[&args[..], &["--admin-token-file", token_file]].concat()).await;
    fs::write(&token, "").expect("written");
    program.signal(Signal::HUP);
    log_has(&mut log, "the token of before holds").await;
    log_has(&mut log, "SIGHUP: certificates were read again").await;
}

#[tokio::test]
async fn neither_ends_a_demo() {
    let mut program = Program::start(&["demo", "--seconds", "3600"]).await;
    program.signal(Signal::USR1);
    program.signal(Signal::HUP);
    program.read_to(|line| line.contains("calls/s")).await;
    program.signal(Signal::INT);
    program.read_to(|line| line.starts_with("all ")).await;
    assert_eq!(program.ended().await.code(), Some(0));
}

/// The file of settings is a pipe at first, so the process waits for it before it has done anything else.
#[tokio::test]
async fn a_hangup_during_the_start_is_acted_upon_after_it() {
    let (one, two) = (Origin::start().await, Origin::start().await);
    let settings = |origin: &Origin| {
        format!("[listener.a]\nurl = \"http://127.0.0.1:0\"\n[group.a]\nurls = \"{}\"\n", origin.url())
    };
    let file = File::new("");
    fs::remove_file(file.path()).expect("removed");
    mkfifoat(CWD, file.path(), Mode::RUSR | Mode::WUSR).expect("a pipe");
    let mut command = Command::new(env!("CARGO_BIN_EXE_httptp"));
    command.args(["--config", &file.path(), "--admin", ""]).stdout(Stdio::piped()).kill_on_drop(true);
    let mut program = Program::running(command.spawn().expect("the program starts"));
    let reads = async {
        loop {
            match pipe::OpenOptions::new().open_sender(file.path()) {
                Ok(pipe) => return pipe,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    let mut pipe = timeout(PATIENCE, reads).await.expect("it reads its settings");

    program.signal(Signal::USR1);
    program.signal(Signal::HUP);
    file.write(&settings(&two));
    pipe.write_all(settings(&one).as_bytes()).await.expect("written");
    drop(pipe);
    let line = program.next_line().await;
    assert!(line.ends_with(&one.url()), "{line}");
    let line = program.next_line().await;
    assert!(line.ends_with(&two.url()), "{line}");
}

/// DNS says nothing, so the start would take its time.
#[tokio::test]
async fn one_that_starts_is_ended_at_once_and_says_what_it_waits_for() {
    for signal in [Signal::TERM, Signal::INT] {
        let dns = SilentDns::start().await;
        let out = "http://one.test,http://two.test,http://three.test,http://127.0.0.1:1,http://four.test";
        let args = ["--in", "http://127.0.0.1:0", "--out", out, "--resolver", &dns.address];
        let (mut program, mut log) = Program::starting(&args, &[]);
        dns.is_asked().await;
        if signal == Signal::TERM {
            let line = log_has(&mut log, "waiting for DNS").await;
            let want = "waiting for DNS, 5 s at the most: http://one.test:80, http://two.test:80, http://three.test:80 and 1 more";
            assert!(line.ends_with(want), "{line}");
        }
        program.signal(signal);
        log_has(&mut log, "ended by a signal, before anything was served").await;
        assert_eq!(program.ended().await.code(), Some(0));
        assert_eq!(program.said().await, "");
    }
}

#[tokio::test]
async fn an_admin_token_is_read_again() {
    let token = File::new("the-first-token");
    let args = ["--in", "http://127.0.0.1:0", "--out", "http://127.0.0.1:1", "--admin", "127.0.0.1:0"];
    let (mut program, mut log) = Program::logged(&[&args[..], &["--admin-token-file", &token.path()]].concat()).await;
    let admin = program.admin().await;
    let status = async |token: &str| {
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {admin}\r\nAuthorization: Bearer {token}\r\n\r\n");
        Client::connect(&admin).await.ask(request).await.status()
    };
    assert_eq!((status("the-first-token").await, status("the-second-token").await), (200, 401));
    token.write("the-second-token");
    program.signal(Signal::HUP);
    log_has(&mut log, "SIGHUP: certificates and tokens were read again").await;
    assert_eq!((status("the-first-token").await, status("the-second-token").await), (401, 200));
    token.write("short");
    program.signal(Signal::HUP);
    log_has(&mut log, "holds no token; it should have one of 8 to 512 letters").await;
    assert_eq!(status("the-second-token").await, 200);
}
