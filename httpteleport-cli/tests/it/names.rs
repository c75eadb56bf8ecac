//! Names that have several addresses of this machine.

use std::fs;
use std::net::SocketAddr;
use std::process::Stdio;

use rustix::process::Signal;
use tempfile::TempDir;
use testkit::programs::free_address;
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::admin::get;
use crate::client::Client;
use crate::clients::log_has;
use crate::config::File;
use crate::origin::Origin;

use crate::program::{PATIENCE, Program};

/// 192.0.2.0/24 belongs to documents: no machine has such an address.
const HOSTS: &str = "127.0.0.1 localhost two.test\n127.0.0.2 two.test\n192.0.2.1 two.test\n";

/// A folder with what this machine's hosts are for the programs of a test.
struct Hosts(TempDir);

impl Hosts {
    fn new() -> Hosts {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("hosts"), HOSTS).expect("written");
        Hosts(folder)
    }

    /// The program, which finds them in the usual place.
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--map-root-user", "--mount", "sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\""]);
        command.arg(self.0.path().join("hosts")).arg(env!("CARGO_BIN_EXE_httptp")).args(args);
        command.env("HTTPTP_ADMIN", "").stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    async fn start(&self, args: &[&str]) -> Program {
        Program::spawn(self.command(args)).await
    }

    /// Runs it to its end: exit code, stderr.
    async fn run(&self, args: &[&str]) -> (Option<i32>, String) {
        let output = tokio::time::timeout(PATIENCE, self.command(args).output()).await.expect("it ends");
        let output = output.expect("it starts");
        (output.status.code(), String::from_utf8(output.stderr).expect("UTF-8"))
    }
}

/// A port, and the addresses of the name.
fn both() -> (u16, [SocketAddr; 2]) {
    let port = free_address().port();
    (port, [1, 2].map(|last| SocketAddr::from(([127, 0, 0, last], port))))
}

async fn serve(addresses: [SocketAddr; 2]) {
    for address in addresses {
        assert_eq!(Client::connect(&address.to_string()).await.get("/size/1").await.text(), "x", "{address}");
    }
}

#[tokio::test]
async fn a_listener_is_at_all_of_them_or_says_which_is_taken() {
    let (hosts, origin, (port, addresses)) = (Hosts::new(), Origin::start().await, both());
    let input = format!("http://two.test:{port}");
    let args = ["--in", &input, "--out", &origin.url()];
    {
        let program = hosts.start(&args).await;
        for address in addresses {
            assert!(program.line.contains(&address.to_string()), "{}", program.line);
        }
        serve(addresses).await;
        let (code, told) = hosts.run(&args).await;
        assert!(code == Some(1) && told.contains(&format!("--in {input}: 127.0.0.")), "{told}");
    }
    let (port, addresses) = both();
    let input = format!("http://two.test:{port}");
    for address in addresses {
        let _taken = TcpListener::bind(address).await.expect("it is free");
        let (code, told) = hosts.run(&["--in", &input, "--out", "http://127.0.0.1:1"]).await;
        let want = format!("httptp: --in {input}: {address}: address in use: another program listens there; stop it");
        assert!(code == Some(1) && told.starts_with(&want), "{told}");
    }
}

#[tokio::test]
async fn so_is_the_admin_address() {
    let (hosts, (port, addresses)) = (Hosts::new(), both());
    let admin = format!("two.test:{port}");
    let args = ["--in", "http://127.0.0.1:0", "--out", "http://127.0.0.1:1", "--admin", &admin];
    let mut program = hosts.start(&args).await;
    program.admin().await;
    for address in addresses {
        assert_eq!(get(&address.to_string(), "/healthz").await.status(), 200, "{address}");
    }
    let (code, told) = hosts.run(&args).await;
    assert!(code == Some(1) && told.contains(&format!("--admin {admin}: 127.0.0.")), "{told}");
}

#[tokio::test]
async fn the_next_process_takes_all_of_them_over() {
    let (hosts, origin, (port, addresses), (other, admins)) = (Hosts::new(), Origin::start().await, both(), both());
    let path = hosts.0.path().join("next.sock");
    let (input, admin) = (format!("http://two.test:{port}"), format!("two.test:{other}"));
    let handover = path.to_str().expect("UTF-8");
    let args = ["--in", &input, "--out", &origin.url(), "--admin", &admin, "--handover", handover];
    let mut program = hosts.start(&args).await;
    for _ in 0..2 {
        let next = hosts.start(&args).await;
        assert_eq!(std::mem::replace(&mut program, next).ended().await.code(), Some(0));
        serve(addresses).await;
        for address in admins {
            assert_eq!(get(&address.to_string(), "/readyz").await.status(), 200, "{address}");
        }
    }
}

#[tokio::test]
async fn settings_that_are_read_again_open_no_others_and_say_so() {
    let (hosts, origin, (port, addresses)) = (Hosts::new(), Origin::start().await, both());
    let file =
        File::new(&format!("[listener.a]\nurl = \"http://two.test:{port}\"\n[group.a]\nurls = \"{}\"\n", origin.url()));
    let args = ["--in", &format!("http://two.test:{port}"), "--out", &origin.url()];
    for (args, place) in [
        (&args[..], "--in".to_owned()),
        (&["--config", &file.path()], format!("{}:2: listener \"a\": url", file.path())),
    ] {
        fs::write(hosts.0.path().join("hosts"), HOSTS).expect("written");
        let (mut program, mut log) = Program::begun(hosts.command(args));
        program.is_ready().await;
        let want = format!(
            "WARN {place} http://two.test:{port}: its name has other addresses now, which a restart alone follows: "
        );
        for (now, what) in [
            ("127.0.0.2 two.test\n127.0.0.3 two.test\n", "nothing listens at 127.0.0.3; still open is 127.0.0.1"),
            ("127.0.0.2 two.test\n", "still open is 127.0.0.1"),
        ] {
            fs::write(hosts.0.path().join("hosts"), now).expect("written");
            program.signal(Signal::HUP);
            let line = log_has(&mut log, "its name has other addresses now").await;
            assert!(line.ends_with(&format!("{want}{what}")), "{line}");
        }
        fs::write(hosts.0.path().join("hosts"), HOSTS).expect("written");
        program.signal(Signal::HUP);
        // What it says before that is nothing of names.
        loop {
            let line = log_has(&mut log, "").await;
            assert!(!line.contains("its name has"), "{line}");
            if line.contains("applied: ") || line.contains("were read again") {
                break;
            }
        }
        serve(addresses).await;
    }
}

#[tokio::test]
async fn what_would_be_opened_twice_is_told_and_a_reload_keeps_what_is_open() {
    let (hosts, origin, (port, addresses)) = (Hosts::new(), Origin::start().await, both());
    let settings = |more: &str| {
        let listener = format!("[listener.a]\nurl = \"http://two.test:{port}\"\n");
        format!("{listener}{more}[group.a]\nurls = \"{}\"\n", origin.url())
    };
    let file = File::new(&settings(&format!("[listener.b]\nurl = \"http://127.0.0.2:{port}\"\n")));
    for args in [["check", &file.path()], ["--config", &file.path()]] {
        let (code, told) = hosts.run(&args).await;
        assert!(code == Some(2) && told.contains("listens where listener \"a\" (line 2) does"), "{told}");
    }
    file.write(&settings(""));
    let mut program = hosts.start(&["--config", &file.path()]).await;
    serve(addresses).await;
    file.write(&settings("[listener.b]\nurl = \"http://127.0.0.1:0\"\n"));
    program.signal(Signal::HUP);
    for _ in 0..2 {
        program.next_line().await;
    }
    serve(addresses).await;
}
