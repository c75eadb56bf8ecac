//! Starts and ends `httptp`.

use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};

/// A bound for things that take milliseconds, for machines that are busy.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A running `httptp`, killed when dropped.
pub(crate) struct Program {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    /// The line it printed at the start.
    pub(crate) line: String,
}

/// With an admin address where a test asks for one alone: the usual one is there but once. Of a file that is checked it is looked at.
fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_httptp"));
    command.args(args).stdin(Stdio::null()).kill_on_drop(true);
    if args.first().is_some_and(|first| *first != "check") {
        command.env("HTTPTP_ADMIN", "");
    }
    command
}

impl Program {
    /// Starts it and waits until it says that it is ready.
    pub(crate) async fn start(args: &[&str]) -> Program {
        Program::within(args, &[]).await
    }

    /// The same with more in its environment.
    pub(crate) async fn within(args: &[&str], environment: &[(&str, &str)]) -> Program {
        let mut command = command(args);
        command.envs(environment.iter().copied());
        Program::spawn(command).await
    }

    /// What a command starts that becomes the program in the end.
    pub(crate) async fn spawn(mut command: Command) -> Program {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the program starts");
        let mut stdout = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let line = tokio::time::timeout(PATIENCE, stdout.next_line()).await.expect("in time").expect("readable");
        Program { child, stdout, line: line.expect("it says what it does before it ends") }
    }

    /// One that runs already; what it says at the start is not heard.
    pub(crate) fn running(mut child: Child) -> Program {
        let stdout = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        Program { child, stdout, line: String::new() }
    }

    /// The same, and the lines of its log.
    pub(crate) async fn logged(args: &[&str]) -> (Program, Lines<BufReader<ChildStderr>>) {
        Program::logged_within(args, &[]).await
    }

    /// The same with more in its environment.
    pub(crate) async fn logged_within(
        args: &[&str],
        environment: &[(&str, &str)],
    ) -> (Program, Lines<BufReader<ChildStderr>>) {
        let (mut program, log) = Program::starting(args, environment);
        program.is_ready().await;
        (program, log)
    }

    /// One that starts, and the lines of its log.
    pub(crate) fn starting(args: &[&str], environment: &[(&str, &str)]) -> (Program, Lines<BufReader<ChildStderr>>) {
        let mut command = command(args);
        command.envs(environment.iter().copied());
        Program::begun(command)
    }

    /// What a command starts that becomes the program in the end, and the lines of its log.
    pub(crate) fn begun(mut command: Command) -> (Program, Lines<BufReader<ChildStderr>>) {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let log = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        (Program::running(child), log)
    }

    /// Waits until one that starts says that it is ready.
    pub(crate) async fn is_ready(&mut self) {
        let line = tokio::time::timeout(PATIENCE, self.stdout.next_line()).await.expect("in time").expect("readable");
        self.line = line.expect("it says what it does before it ends");
    }

    /// One whose stdout is its access log: what it says at the start is on stderr, before its log.
    pub(crate) async fn saying_on_stderr(args: &[&str]) -> (Program, Lines<BufReader<ChildStderr>>) {
        let mut child =
            command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program starts");
        let mut stderr = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let line = logged(&mut stderr, " -> ").await;
        (Program { line, ..Program::running(child) }, stderr)
    }

    /// One input, one output, and more options.
    pub(crate) async fn between(input: &str, out: &str, options: &[&str]) -> Program {
        Program::start(&[&["--in", input, "--out", out], options].concat()).await
    }

    /// An HTTP input on a free port, and one output.
    pub(crate) async fn http(out: &str) -> Program {
        Program::start(&["--in", "http://127.0.0.1:0", "--out", out]).await
    }

    /// The next line that it prints.
    pub(crate) async fn next_line(&mut self) -> String {
        let line = tokio::time::timeout(PATIENCE, self.stdout.next_line()).await.expect("in time").expect("readable");
        line.expect("one more line")
    }

    /// What it has still printed, now that it has ended.
    pub(crate) async fn said(&mut self) -> String {
        let mut said = String::new();
        while let Some(line) = self.stdout.next_line().await.expect("readable") {
            said += &line;
        }
        said
    }

    /// `HOST:PORT` of its input.
    pub(crate) fn address(&self) -> &str {
        address_in(&self.line)
    }

    /// `HOST:PORT` of its admin address.
    pub(crate) async fn admin(&mut self) -> String {
        let told = self.read_to(|line| line.contains("admin page")).await;
        let (_, url) = told.trim_end().rsplit_once("http://").expect("a URL");
        url.trim_end_matches('/').to_owned()
    }

    /// The line of the start and those that follow it now, to the first that is the one, which has to come.
    pub(crate) async fn read_to(&mut self, is_it: impl Fn(&str) -> bool) -> String {
        let mut text = format!("{}\n", self.line);
        loop {
            let line =
                tokio::time::timeout(PATIENCE, self.stdout.next_line()).await.expect("in time").expect("readable");
            let line = line.unwrap_or_else(|| panic!("it ended after:\n{text}"));
            text += &format!("{line}\n");
            if is_it(&line) {
                return text;
            }
        }
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id().expect("it still runs")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.id()).expect("a process id")).expect("not zero");
        kill_process(pid, signal).expect("a signal");
    }

    pub(crate) async fn ended(&mut self) -> ExitStatus {
        tokio::time::timeout(PATIENCE, self.child.wait()).await.expect("it ends").expect("a status")
    }
}

/// `HOST:PORT` of the input that a line of the start names.
pub(crate) fn address_in(line: &str) -> &str {
    let input = line.strip_prefix("httptp: ").and_then(|line| line.split(" -> ").next()).expect("its form");
    // Behind it may stand how a teleport input compresses.
    input.split_once("://").expect("a TCP input").1.split(' ').next().expect("an address")
}

/// Waits for a line of the log.
pub(crate) async fn logged(log: &mut Lines<BufReader<ChildStderr>>, what: &str) -> String {
    loop {
        let line = tokio::time::timeout(PATIENCE, log.next_line()).await.expect("in time").expect("readable");
        let line = line.unwrap_or_else(|| panic!("it ended before it said: {what}"));
        if line.contains(what) {
            return line;
        }
    }
}

/// Runs a line of shell: exit code, stdout.
pub(crate) async fn run_shell(line: &str) -> (Option<i32>, String) {
    let mut shell = Command::new("sh");
    let output = shell.args(["-c", line]).stdin(Stdio::null()).kill_on_drop(true).output();
    let output = tokio::time::timeout(PATIENCE, output).await.expect("it ends").expect("it starts");
    (output.status.code(), String::from_utf8(output.stdout).expect("UTF-8"))
}

/// Runs it to its end: exit code, stdout, stderr.
pub(crate) async fn run(args: &[&str]) -> (Option<i32>, String, String) {
    run_within(args, &[]).await
}

/// The same with more in its environment.
pub(crate) async fn run_within(args: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let output = tokio::time::timeout(PATIENCE, command(args).envs(environment.iter().copied()).output())
        .await
        .expect("it ends")
        .expect("it starts");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (output.status.code(), text(output.stdout), text(output.stderr))
}
