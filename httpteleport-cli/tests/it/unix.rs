//! Unix sockets on either side.

use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use tokio::net::{UnixListener, UnixStream};

use crate::client::Client;
use crate::config::File;
use crate::origin::Origin;
use crate::program::{Program, run};

/// A path for a socket that is not there. Short, as such paths must be.
pub(crate) fn socket_path(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("httptp-{}-{name}", std::process::id()));
    let _ = std::fs::remove_file(&path);
    path
}

async fn connect(path: &Path) -> Client<UnixStream> {
    Client::over(UnixStream::connect(path).await.expect("a connection"))
}

#[tokio::test]
async fn in_and_out() {
    let (front, back) = (socket_path("front"), socket_path("back"));
    let origin = Origin::unix(UnixListener::bind(&back).expect("a socket"));
    let (input, output) = (format!("unix:{}", front.display()), format!("unix://{}", back.display()));
    let mut program = Program::start(&["--in", &input, "--out", &output]).await;
    assert_eq!(program.line, format!("httptp: {input} -> unix:{}", back.display()));

    let mut client = connect(&front).await;
    for n in 0..3 {
        assert_eq!(client.get(&format!("/size/{n}")).await.body.len(), n);
    }
    let reply = connect(&front).await.ask("GET /echo HTTP/1.0\r\n\r\n").await;
    assert_eq!(reply.text(), "GET /echo HTTP/1.1\nhost: localhost\n\n");
    assert_eq!(origin.connections(), 1);

    std::fs::remove_file(&back).expect("removed");
    program.signal(Signal::TERM);
    assert_eq!(program.ended().await.code(), Some(0));
    assert!(!front.exists(), "it takes its socket with it");
}

#[tokio::test]
async fn a_stale_socket_is_replaced() {
    let path = socket_path("stale");
    drop(StdUnixListener::bind(&path).expect("a socket"));
    assert!(path.exists());
    let origin = Origin::start().await;
    let _program = Program::start(&["--in", &format!("unix:{}", path.display()), "--out", &origin.url()]).await;
    assert_eq!(connect(&path).await.get("/size/1").await.status(), 200);
}

#[tokio::test]
async fn a_socket_in_use_and_other_files_are_left_alone() {
    let path = socket_path("used");
    let input = format!("unix:{}", path.display());
    let live = StdUnixListener::bind(&path).expect("a socket");
    let (code, _, stderr) = run(&["--in", &input, "--out", "http://127.0.0.1:1"]).await;
    assert_eq!(code, Some(1));
    let want = "address in use: another program listens there; stop it or choose another path";
    assert_eq!(stderr, format!("httptp: --in {input}: {want}\n"));
    drop(live);

    std::fs::remove_file(&path).expect("removed");
    std::fs::write(&path, "precious").expect("written");
    let (code, _, stderr) = run(&["--in", &input, "--out", "http://127.0.0.1:1"]).await;
    assert_eq!(code, Some(2));
    assert!(stderr.contains("is no socket; remove it or choose another path"), "{stderr}");
    assert_eq!(std::fs::read_to_string(&path).expect("readable"), "precious");
    std::fs::remove_file(&path).expect("removed");
}

pub(crate) fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("it is there").permissions().mode() & 0o7777
}

#[tokio::test]
async fn a_mode_says_who_may_connect() {
    let origin = Origin::start().await;
    let path = socket_path("mode");
    let input = format!("unix:{}", path.display());
    // Wider for the group and narrower for others than any usual umask leaves it.
    for wanted in ["0660", "606"] {
        let mut program = Program::between(&input, &origin.url(), &["--in-socket-mode", wanted]).await;
        assert_eq!(format!("{:o}", mode(&path)), wanted.trim_start_matches('0'));
        assert_eq!(connect(&path).await.get("/size/1").await.status(), 200);
        program.signal(Signal::TERM);
        assert_eq!(program.ended().await.code(), Some(0));
    }
    let file =
        |mode: &str| format!("[listener.a]\nurl = \"{input}\"\n{mode}\n[group.a]\nurls = \"{}\"\n", origin.url());
    let settings = File::new(&file("socket_mode = 600"));
    let mut program = Program::start(&["--config", &settings.path()]).await;
    assert_eq!(mode(&path), 0o600);
    let mut client = connect(&path).await;
    settings.write(&file("socket_mode = \"666\""));
    program.signal(Signal::HUP);
    program.next_line().await;
    assert_eq!(mode(&path), 0o666, "it changes with the settings");
    assert_eq!(client.get("/size/1").await.status(), 200, "on the same socket");

    settings.write(&file("socket_mode = 0o660"));
    program.signal(Signal::HUP);
    program.next_line().await;
    assert_eq!(mode(&path), 0o660, "as TOML writes it");
    settings.write(&file("socket_mode = 432"));
    let (code, _, stderr) = run(&["check", &settings.path()]).await;
    assert_eq!(code, Some(2));
    let want = ":3: listener \"a\": socket_mode 432: is no mode of a socket; write three octal digits";
    assert!(stderr.contains(want), "{stderr}");
}
