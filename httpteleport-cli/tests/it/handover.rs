//! Restarts at which a new process takes the listening sockets over from the old one.

use std::path::PathBuf;

use rustix::process::Signal;
use tempfile::TempDir;
use testkit::programs::free_address;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::process::ChildStderr;
use tokio::time::timeout;

use crate::client::Client;
use crate::clients::log_has;
use crate::load::Load;
use crate::origin::Origin;
use crate::program::{PATIENCE, Program, run};
use crate::unix::mode;

/// One input that is there through all restarts, in a folder for its files.
pub(crate) struct House {
    folder: TempDir,
    pub(crate) origin: Origin,
    pub(crate) input: String,
}

impl House {
    /// With an input of this scheme.
    pub(crate) async fn new(scheme: &str) -> House {
        let input = format!("{scheme}://{}", free_address());
        House { folder: tempfile::tempdir().expect("a folder"), origin: Origin::start().await, input }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Where one process takes over from another.
    pub(crate) fn path(&self) -> PathBuf {
        self.file("handover")
    }

    /// The options of each process.
    pub(crate) fn args(&self) -> Vec<String> {
        let path = self.path().display().to_string();
        ["--in", &self.input, "--out", &self.origin.url(), "--handover", &path].map(str::to_owned).to_vec()
    }

    /// The next process; it serves when this returns.
    pub(crate) async fn next(&self) -> Program {
        self.next_with(&[]).await
    }

    pub(crate) async fn next_with(&self, more: &[&str]) -> Program {
        Program::start(&words(&self.args(), more)).await
    }

    /// One with its log.
    pub(crate) async fn logged(&self, more: &[&str]) -> (Program, Lines<BufReader<ChildStderr>>) {
        Program::logged(&words(&self.args(), more)).await
    }

    /// Starts one that fails, and expects one line on stderr that begins so.
    async fn fails(&self, more: &[&str], code: i32, want: &str) {
        let (status, stdout, stderr) = run(&words(&self.args(), more)).await;
        let error = stderr.lines().find(|line| line.starts_with("httptp: ")).unwrap_or_default();
        let want = want.replace("PATH", &self.path().display().to_string());
        assert!(error.contains(&want), "{want}: {stderr}");
        assert_eq!((status, stdout.as_str()), (Some(code), ""), "{stderr}");
    }

    pub(crate) fn address(&self) -> &str {
        self.input.split_once("://").expect("a URL").1
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.address()).await
    }

    pub(crate) async fn serves(&self) {
        assert_eq!(self.client().await.get("/size/1").await.text(), "x");
    }
}

pub(crate) fn words<'a>(args: &'a [String], more: &[&'a str]) -> Vec<&'a str> {
    args.iter().map(String::as_str).chain(more.iter().copied()).collect()
}

pub(crate) async fn ends(mut old: Program) {
    assert_eq!(old.ended().await.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restarts_under_load_fail_no_request_and_refuse_no_connection() {
    let far_house = House::new("teleport").await;
    let near_house = House::new("http").await;
    let near_args = |house: &House| {
        let mut args = house.args();
        args[3] = far_house.input.clone();
        args
    };
    let start = async |args: Vec<String>| Program::start(&words(&args, &[])).await;
    let mut far = far_house.next().await;
    let mut near = start(near_args(&near_house)).await;
    let load = Load::start(near_house.address());
    for _ in 0..4 {
        load.served(50).await;
        let next = far_house.next().await;
        ends(std::mem::replace(&mut far, next)).await;
        load.served(50).await;
        let next = start(near_args(&near_house)).await;
        ends(std::mem::replace(&mut near, next)).await;
    }
    load.served(50).await;
    let rate = load.stop().await;
    assert!(rate > 100.0, "the machine was so slow that nothing was under load: {rate}");
}

#[tokio::test]
async fn who_waits_to_be_accepted_is_answered_by_the_new_process() {
    let house = House::new("http").await;
    // It accepts one connection at a time.
    let old = house.next_with(&["--concurrency", "1"]).await;
    let mut held = house.client().await;
    held.send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n").await;
    house.origin.holds().await;
    let mut waiting = Vec::new();
    for _ in 0..20 {
        let mut client = house.client().await;
        client.send("GET /size/3 HTTP/1.1\r\nHost: h\r\n\r\n").await;
        waiting.push(client);
    }
    let _new = house.next().await;
    for client in &mut waiting {
        assert_eq!(client.reply().await.text(), "xxx");
    }
    house.origin.let_go();
    assert_eq!(held.reply().await.status(), 200, "the old one ends what it has begun");
    assert!(held.rest().await.is_empty());
    ends(old).await;
}

#[tokio::test]
async fn the_old_process_has_its_own_time_to_end() {
    let house = House::new("http").await;
    let (old, mut log) = house.logged(&["--drain-timeout", "1s"]).await;
    let (mut idle, mut held) = (house.client().await, house.client().await);
    assert_eq!(idle.get("/size/1").await.status(), 200);
    held.send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n").await;
    house.origin.holds().await;
    let _new = house.next().await;
    log_has(&mut log, "1 connections cut off after 500ms (--drain-timeout 1s)").await;
    assert_eq!(held.reply().await.status(), 502);
    assert!(idle.rest().await.is_empty() && held.rest().await.is_empty());
    ends(old).await;
}

#[tokio::test]
async fn a_process_that_does_not_start_changes_nothing() {
    let house = House::new("http").await;
    let (old, mut log) = house.logged(&[]).await;
    let mut kept = house.client().await;
    assert_eq!(kept.get("/size/1").await.status(), 200);
    let taken = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let taken = taken.local_addr().expect("an address").to_string();
    let want = format!("--admin {taken}: address in use");
    house.fails(&["--admin", &taken], 1, &want).await;
    log_has(&mut log, "has the sockets and starts").await;
    log_has(&mut log, "has ended: unexpected end of file; this one goes on").await;
    house.fails(&["--out-timeout", "0"], 2, "--out-timeout 0").await;
    let lost = house.file("lost.pem").display().to_string();
    house.fails(&["--access-log", "/dev/null/x"], 2, "--access-log").await;
    house.fails(&["--out-ca", &lost], 2, "--out-ca").await;
    assert_eq!(kept.get("/size/2").await.field("connection"), None);
    house.serves().await;

    let new = house.next().await;
    house.serves().await;
    ends(old).await;
    drop(new);
}

#[tokio::test]
async fn files_of_sockets_go_with_the_last_process_that_has_them() {
    let mut house = House::new("http").await;
    let (stays, goes) = (house.file("stays"), house.file("goes"));
    house.input = format!("unix:{}", stays.display());
    let old = house.next_with(&["--in-socket-mode", "600"]).await;
    assert_eq!((mode(&stays), mode(&house.path())), (0o600, 0o600));
    let new = house.next_with(&["--in-socket-mode", "666"]).await;
    ends(old).await;
    assert_eq!((mode(&stays), mode(&house.path())), (0o666, 0o600));
    let mut client = Client::over(UnixStream::connect(&stays).await.expect("it is there"));
    assert_eq!(client.get("/size/2").await.text(), "xx");

    house.input = format!("unix:{}", goes.display());
    let last = house.next().await;
    ends(new).await;
    assert!(goes.exists() && !stays.exists(), "nobody listens there any more");
    last.signal(Signal::TERM);
    ends(last).await;
    assert!(!goes.exists() && !house.path().exists());
}

#[tokio::test]
async fn the_admin_address_goes_along() {
    let house = House::new("http").await;
    let admin = free_address().to_string();
    let (old, mut log) = house.logged(&["--admin", &admin]).await;
    let mut held = house.client().await;
    held.send("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n").await;
    house.origin.holds().await;
    let new = house.next_with(&["--admin", &admin]).await;
    log_has(&mut log, "has taken over; draining").await;
    for _ in 0..8 {
        let reply = Client::connect(&admin).await.get("/readyz").await;
        assert_eq!(reply.text(), "ready\n", "none of them comes to the old one, which drains");
    }
    house.origin.let_go();
    assert_eq!(held.reply().await.status(), 200);
    ends(old).await;
    drop(new);
}

#[tokio::test]
async fn nothing_is_left_open() {
    let house = House::new("http").await;
    let files = |program: &Program| std::fs::read_dir(format!("/proc/{}/fd", program.id())).expect("it runs").count();
    let mut program = house.next().await;
    let mut counts = Vec::new();
    for _ in 0..4 {
        let next = house.next().await;
        ends(std::mem::replace(&mut program, next)).await;
        counts.push(files(&program));
    }
    assert!(counts.iter().all(|count| *count == counts[0]), "{counts:?}");
}

#[tokio::test]
async fn what_a_killed_process_leaves_is_replaced_and_other_files_are_not() {
    let house = House::new("http").await;
    let mut killed = house.next().await;
    killed.signal(Signal::KILL);
    killed.ended().await;
    assert!(house.path().exists());
    let program = house.next().await;
    house.serves().await;
    program.signal(Signal::TERM);
    ends(program).await;
    assert!(!house.path().exists());

    std::fs::write(house.path(), "precious").expect("written");
    let want = "--handover PATH: a file of that name exists and is no socket; remove it or choose another path";
    house.fails(&[], 2, want).await;
    assert_eq!(std::fs::read_to_string(house.path()).expect("readable"), "precious");
}

/// Somebody at the path who says and does what a test wants.
pub(crate) struct Stranger(BufReader<UnixStream>);

impl Stranger {
    pub(crate) async fn connect(house: &House) -> Stranger {
        Stranger(BufReader::new(UnixStream::connect(house.path()).await.expect("somebody listens")))
    }

    pub(crate) async fn says(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).await.expect("sent");
    }

    pub(crate) async fn line(&mut self) -> String {
        let mut line = String::new();
        timeout(PATIENCE, self.0.read_line(&mut line)).await.expect("in time").expect("readable");
        line
    }

    pub(crate) async fn rest(mut self) -> String {
        let mut rest = String::new();
        let _ = timeout(PATIENCE, self.0.read_to_string(&mut rest)).await.expect("in time");
        rest
    }
}

#[tokio::test]
async fn one_takes_over_at_a_time_and_strangers_are_no_matter() {
    let house = House::new("http").await;
    let (old, mut log) = house.logged(&[]).await;
    let _silent = Stranger::connect(&house).await;
    for (words, why) in [
        (&b"GET / HTTP/1.1\r\n\r\n"[..], "is no httptp"),
        (b"httptp-handover\n", "is no httptp"),
        (b"httptp-handover 2 1\n", "speaks version \"2\" of the handover, and this process version 1: end the old one"),
        (&[b'x'; 100], "is no httptp: it says more than that would"),
        (b"httptp-handover 1 1\nx", "says what nobody understands: 0x78"),
        (b"httptp-handover 1 1\ny", "says Yours where nobody expects it"),
    ] {
        let mut stranger = Stranger::connect(&house).await;
        stranger.says(words).await;
        log_has(&mut log, why).await;
        assert!(stranger.line().await.starts_with("httptp-handover 1 "));
        stranger.rest().await;
    }
    // One that has the sockets, and takes its time.
    let mut slow = Stranger::connect(&house).await;
    slow.says(b"httptp-handover 1 1\n").await;
    slow.line().await;
    log_has(&mut log, "has the sockets and starts").await;
    house.fails(&[], 1, "--handover PATH: the process that listens there: is being taken over by another one").await;
    house.serves().await;
    drop(slow);
    log_has(&mut log, "this one goes on").await;
    let _new = house.next().await;
    ends(old).await;
    house.serves().await;
}

#[tokio::test]
async fn only_a_process_that_hands_over_is_replaced() {
    let house = House::new("http").await;
    let listener = UnixListener::bind(house.path()).expect("a socket");
    let cases = [
        (
            &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
            "the process that listens there: is no httptp, or none with --handover",
        ),
        (
            b"httptp-handover 2 77\n",
            "speaks version \"2\" of the handover, and this process version 1: end the old one",
        ),
        (b"httptp-handover 1 77\nr", "says Ready where nobody expects it"),
        (b"httptp-handover 1 77\ns", "says Socket where nobody expects it"),
        (b"httptp-handover 1 77\n", "has ended"),
        (b"", "has hung up without a word"),
    ];
    for (words, want) in cases {
        // Who hangs up is asked again.
        let peer = async {
            loop {
                let (mut stream, _) = listener.accept().await.expect("it asks");
                stream.write_all(words).await.expect("sent");
                stream.shutdown().await.expect("shut down");
                let mut rest = Vec::new();
                let _ = stream.read_to_end(&mut rest).await;
            }
        };
        tokio::select! {
            () = house.fails(&[], 1, want) => {}
            () = peer => {}
        }
    }
}

#[tokio::test]
async fn sockets_of_the_service_manager_are_not_handed_over() {
    let house = House::new("http").await;
    let (args, path) = (house.args(), house.path());
    let mut command = tokio::process::Command::new("systemd-socket-activate");
    command.args(["-l", house.address(), env!("CARGO_BIN_EXE_httptp")]).args(args).kill_on_drop(true);
    let child = command.stderr(std::process::Stdio::piped()).spawn().expect("systemd-socket-activate is there");
    let mut wakes = tokio::net::TcpStream::connect(house.address()).await;
    while wakes.is_err() {
        wakes = tokio::net::TcpStream::connect(house.address()).await;
    }
    let output = timeout(PATIENCE, child.wait_with_output()).await.expect("in time").expect("readable");
    assert_eq!(output.status.code(), Some(2));
    let want =
        format!("httptp: --handover {}: the service manager has opened the sockets of this process", path.display());
    assert!(String::from_utf8_lossy(&output.stderr).contains(&want));
}
