//! Under a service manager: sockets that it has opened, and what it is told.

use std::net::SocketAddr;
use std::process::Stdio;

use rustix::process::Signal;
use testkit::programs::free_address;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::{TcpStream, UnixDatagram, UnixStream};
use tokio::process::{ChildStderr, Command};
use tokio::time::timeout;

use crate::client::Client;
use crate::config::File;
use crate::load::Load;
use crate::origin::Origin;
use crate::program::{PATIENCE, Program};
use crate::unix::socket_path;

const GET: &str = "GET /size/7 HTTP/1.1\r\nHost: h\r\n\r\n";

/// systemd's own tool: it opens sockets, waits for the first connection, and becomes the program.
struct Activator {
    child: tokio::process::Child,
    errors: Lines<BufReader<ChildStderr>>,
}

impl Activator {
    /// Listens at these places; the program gets these options.
    async fn start(sockets: &[&str], args: &[&str]) -> Activator {
        let mut command = Command::new("systemd-socket-activate");
        command.args(sockets.iter().flat_map(|socket| ["-l", socket])).args(["-E", "HTTPTP_ADMIN="]);
        Activator::run(command, sockets.len(), args).await
    }

    async fn run(mut command: Command, sockets: usize, args: &[&str]) -> Activator {
        command.arg(env!("CARGO_BIN_EXE_httptp")).args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().expect("systemd-socket-activate is there: `cargo xtask test` gets it");
        let errors = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let mut activator = Activator { child, errors };
        for _ in 0..sockets {
            assert!(activator.line().await.expect("a line for each").starts_with("Listening on "));
        }
        activator
    }

    /// The next line that it, or the program, says on stderr.
    async fn line(&mut self) -> Option<String> {
        timeout(PATIENCE, self.errors.next_line()).await.expect("in time").expect("readable")
    }

    /// What the program says in the end, and its exit code.
    async fn refusal(mut self) -> (Option<i32>, String) {
        let mut last = String::new();
        while let Some(line) = self.line().await {
            last = line;
        }
        (timeout(PATIENCE, self.child.wait()).await.expect("in time").expect("a status").code(), last)
    }

    /// It was waited for that the program runs.
    fn into_program(self) -> Program {
        Program::running(self.child)
    }
}

async fn knock(address: SocketAddr) -> Client {
    Client::connect(&address.to_string()).await
}

#[tokio::test]
async fn what_waited_before_the_start_is_answered() {
    let origin = Origin::start().await;
    let (address, path) = (free_address(), socket_path("activated"));
    let (address_text, path_text) = (address.to_string(), path.display().to_string());
    let file = File::new(&format!(
        "[listener.tcp]\nurl = \"http://{address}\"\n[listener.unix]\nurl = \"unix:{path_text}\"\nsocket_mode = 600\n\
         [group.a]\nurls = \"{}\"\n",
        origin.url()
    ));
    let activator = Activator::start(&[&path_text, &address_text], &["--config", &file.path()]).await;
    let (mut one, mut two) = (knock(address).await, knock(address).await);
    let mut three = Client::over(UnixStream::connect(&path).await.expect("a connection"));
    for client in [&mut one, &mut two] {
        client.send(GET).await;
    }
    three.send(GET).await;
    for client in [&mut one, &mut two] {
        assert_eq!(client.reply().await.text(), "xxxxxxx");
    }
    assert_eq!(three.reply().await.text(), "xxxxxxx");
    let mut program = activator.into_program();
    assert_eq!(crate::unix::mode(&path), 0o600);
    program.signal(Signal::TERM);
    // Sockets that outlive the program: a connection that is open may bring one more request, and is told that it was the last.
    while one.get("/size/2").await.field("connection") != Some("close") {}
    assert!(one.rest().await.is_empty());
    assert!(two.rest().await.is_empty() && three.rest().await.is_empty(), "those that bring none end");
    assert_eq!(program.ended().await.code(), Some(0));
    assert!(path.exists(), "it belongs to who has made it");
    std::fs::remove_file(&path).expect("removed");
}

#[tokio::test]
async fn the_admin_address_and_all_addresses_are_taken_too() {
    let origin = Origin::start().await;
    let (input, admin) = (free_address().port().to_string(), free_address().to_string());
    // systemd opens a port alone for IPv6 and IPv4 together.
    let own = format!("http://:{input}");
    let args = ["--in", &own, "--out", &origin.url(), "--admin", &admin];
    let _activator = Activator::start(&[&admin, &input], &args).await;
    let mut client = Client::connect(&format!("127.0.0.1:{input}")).await;
    assert_eq!(client.get("/size/1").await.status(), 200);
    assert_eq!(Client::connect(&admin).await.get("/readyz").await.status(), 200);
}

#[tokio::test]
async fn what_does_not_fit_is_told() {
    let out = "http://127.0.0.1:1";
    let (named, other) = (free_address(), free_address());
    let (input, sockets) = (format!("http://{named}"), [named.to_string(), other.to_string()]);
    let activator = Activator::start(&[&sockets[0], &sockets[1]], &["--in", &input, "--out", out]).await;
    let _wakes = TcpStream::connect(other).await.expect("it listens");
    let want = format!(
        "httptp: sockets were handed to this process that no listener and no admin address names: {other}; name them with --in or \
         --admin, or take them out of the socket unit"
    );
    assert_eq!(activator.refusal().await, (Some(2), want));

    let mut command = Command::new("systemd-socket-activate");
    command.args(["--datagram", "-l", &sockets[0]]);
    let activator = Activator::run(command, 1, &["--in", &input, "--out", out]).await;
    let wakes = tokio::net::UdpSocket::bind("127.0.0.1:0").await.expect("a port");
    wakes.send_to(b"x", named).await.expect("sent");
    let want = "httptp: the inherited file 3 is no socket of TCP or unix; correct the socket unit";
    assert_eq!(activator.refusal().await, (Some(2), want.to_owned()));
}

#[tokio::test]
async fn variables_for_another_process_mean_nothing() {
    let origin = Origin::start().await;
    let args = ["--in", "http://127.0.0.1:0", "--out", &origin.url()];
    let program = Program::within(&args, &[("LISTEN_FDS", "7"), ("LISTEN_PID", "1")]).await;
    assert_eq!(Client::connect(program.address()).await.get("/size/1").await.status(), 200);
}

#[tokio::test]
async fn the_service_manager_is_told() {
    let origin = Origin::start().await;
    let path = socket_path("notify");
    let told = UnixDatagram::bind(&path).expect("a socket");
    let next = async || {
        let mut text = [0; 500];
        let length = timeout(PATIENCE, told.recv(&mut text)).await.expect("in time").expect("a message");
        String::from_utf8(text[..length].to_vec()).expect("UTF-8")
    };
    let file =
        File::new(&format!("[listener.a]\nurl = \"http://127.0.0.1:0\"\n[group.a]\nurls = \"{}\"\n", origin.url()));
    let path = path.to_str().expect("UTF-8");
    let mut program = Program::within(&["--config", &file.path()], &[("NOTIFY_SOCKET", path)]).await;
    assert_eq!(next().await, "READY=1\n");
    assert_eq!(Client::connect(program.address()).await.get("/size/1").await.status(), 200);
    for text in ["nonsense", "[listener.a]\nurl = \"http://127.0.0.1:0\"\n[group.a]\nurls = \"http://127.0.0.1:1\"\n"] {
        file.write(text);
        program.signal(Signal::HUP);
        let reloading = next().await;
        assert!(reloading.starts_with("RELOADING=1\nMONOTONIC_USEC="), "{reloading}");
        assert_eq!(next().await, "READY=1\n");
    }
    program.signal(Signal::TERM);
    assert_eq!(next().await, "STOPPING=1\n");
    assert_eq!(program.ended().await.code(), Some(0));
    std::fs::remove_file(path).expect("removed");
}

/// Keeps a socket, runs the program on it, and starts it anew for each line that it reads. Its end is that of its input.
const MANAGER: &str = r#"
import os, signal, socket, sys
listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
address = "127.0.0.1:%d" % listener.getsockname()[1]
print(address, flush=True)
more = True
while more:
    child = os.fork()
    if child == 0:
        os.dup2(listener.fileno(), 3)
        os.set_inheritable(3, True)
        os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
        os.execv(sys.argv[1], ["httptp", "--in", "http://" + address, "--out", sys.argv[2]])
    more = sys.stdin.readline()
    os.kill(child, signal.SIGTERM)
    print("status", os.waitpid(child, 0)[1], flush=True)
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_under_load_fail_no_request() {
    let origin = Origin::start().await;
    let mut command = Command::new("python3");
    command.args(["-c", MANAGER, env!("CARGO_BIN_EXE_httptp"), &origin.url()]).env("HTTPTP_ADMIN", "");
    let mut manager = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("python3 is there");
    let mut stdin = manager.stdin.take().expect("a pipe");
    let mut lines = BufReader::new(manager.stdout.take().expect("a pipe")).lines();
    let mut line =
        async || timeout(PATIENCE, lines.next_line()).await.expect("in time").expect("readable").expect("a line");
    let address = line().await;
    let load = Load::start(&address);
    for _ in 0..3 {
        load.served(50).await;
        assert!(line().await.starts_with("httptp: http://127.0.0.1:"));
        stdin.write_all(b"\n").await.expect("it reads");
        assert_eq!(line().await, "status 0");
    }
    load.served(50).await;
    load.stop().await;
    drop(stdin);
    assert!(line().await.starts_with("httptp: http://127.0.0.1:"));
    assert_eq!(line().await, "status 0");
}
