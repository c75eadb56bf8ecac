//! A process that may have few files open.

use std::fs;

use rustix::process::{Pid, Resource, Rlimit, prlimit};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::admin::{get, value};
use crate::client::Client;
use crate::origin::Origin;
use crate::program::Program;

const POST: &str = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n";

/// Starts it with a limit of open files.
async fn limited(files: &str, options: &[&str], out: &str) -> Program {
    let mut command = Command::new("sh");
    let line = "ulimit -n \"$0\" && exec \"$@\"";
    command.args(["-c", line, files, env!("CARGO_BIN_EXE_httptp"), "--in", "http://127.0.0.1:0", "--out", out]);
    command.args(["--admin", "127.0.0.1:0"]).args(options).kill_on_drop(true);
    Program::spawn(command).await
}

#[tokio::test]
async fn silent_clients_shut_nobody_out_where_files_are_few() {
    let origin = Origin::start().await;
    let mut program = limited("200", &[], &origin.url()).await;
    let (address, admin) = (program.address().to_owned(), program.admin().await);
    let mut busy = Client::connect(&address).await;
    busy.send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n").await;
    origin.holds().await;
    let mut flood = Vec::new();
    for _ in 0..400 {
        flood.push(TcpStream::connect(&address).await.expect("a place in the queue"));
    }
    assert_eq!(Client::connect(&address).await.get("/size/2").await.text(), "xx");
    origin.let_go();
    assert_eq!(busy.reply().await.status(), 200);
    assert_eq!(get(&admin, "/healthz").await.status(), 200);
    let metrics = get(&admin, "/metrics").await;
    let of = |name| value(metrics.text(), name, &[]);
    assert!(of("httptp_in_full_total") > 0.0 && of("httptp_in_given_up_total") > 0.0);
    assert!(of("process_open_fds") < 150.0, "those for upstreams are left");
    assert_eq!(of("httptp_in_accept_errors_total"), 0.0);
}

#[tokio::test]
async fn idle_clients_leave_and_the_admin_address_answers_where_none_is_left() {
    let mut program = limited("200", &["--in-get-only"], "http://127.0.0.1:1").await;
    let (address, admin) = (program.address().to_owned(), program.admin().await);
    let mut idle = Client::connect(&address).await;
    assert_eq!(idle.ask(POST).await.status(), 405);
    allow_no_more(program.id());
    let mut other = Client::connect(&address).await;
    assert_eq!(other.ask(POST).await.status(), 405);
    assert_eq!(idle.rest().await, b"");
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(&admin).await.expect("a place in the queue"));
        assert_eq!(get(&admin, "/healthz").await.status(), 200, "beside {} that say nothing", silent.len());
    }
    let metrics = get(&admin, "/metrics").await;
    assert!(value(metrics.text(), "httptp_in_accept_errors_total", &[]) > 0.0);
}

/// Lets a process have no more files open than it has now, of which the client that came last has the highest number.
fn allow_no_more(process: u32) {
    let open = fs::read_dir(format!("/proc/{process}/fd")).expect("its files");
    let open: Vec<u64> = open.filter_map(|file| file.ok()?.file_name().to_str()?.parse().ok()).collect();
    let next = (0..).find(|number| !open.contains(number)).expect("a number");
    let pid = Pid::from_raw(i32::try_from(process).expect("a process id")).expect("not zero");
    prlimit(Some(pid), Resource::Nofile, Rlimit { current: Some(next), maximum: Some(200) }).expect("a limit");
}
