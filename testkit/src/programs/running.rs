//! A child process, its output, and its end.

use std::fmt;
use std::io::{BufRead, BufReader, Read};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::PATIENCE;

/// A running program, killed when dropped. What it prints is kept, and shown when it disappoints.
///
/// The methods that wait block their thread, for 20 seconds at most: in a test on a current-thread runtime, whatever the
/// program needs from that runtime has to be asked for elsewhere.
pub struct Running {
    name: String,
    child: Child,
    output: Arc<Output>,
}

#[derive(Default)]
struct Output {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Default)]
struct Lines {
    lines: Vec<String>,
    closed_streams: usize,
}

impl Running {
    /// Starts `command` with no input.
    ///
    /// # Panics
    ///
    /// It cannot be started.
    pub fn start(mut command: Command) -> Self {
        let name = command.get_program().display().to_string();
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{name} cannot be started: {error}"));
        let output = Arc::<Output>::default();
        collect(child.stdout.take().expect("a piped stdout"), &output);
        collect(child.stderr.take().expect("a piped stderr"), &output);
        Self { name, child, output }
    }

    /// The process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has printed so far on stdout and stderr, lines in the order of their arrival.
    pub fn output(&self) -> Vec<String> {
        self.output.lines.lock().expect("no panic under this lock").lines.clone()
    }

    /// Waits for a line for which `pick` returns something, among those printed already too.
    ///
    /// # Panics
    ///
    /// The program closes its output first, or 20 seconds pass.
    pub fn line<T>(&self, what: &str, pick: impl Fn(&str) -> Option<T>) -> T {
        let guard = self.output.lines.lock().expect("no panic under this lock");
        let waiting = |lines: &mut Lines| lines.closed_streams < 2 && !lines.lines.iter().any(|l| pick(l).is_some());
        let waited = self.output.changed.wait_timeout_while(guard, PATIENCE, waiting);
        let found = waited.expect("no panic under this lock").0.lines.iter().find_map(|line| pick(line));
        found.unwrap_or_else(|| panic!("{self} never printed {what}"))
    }

    /// Waits until `address` accepts connections; false if the program exits before.
    ///
    /// # Panics
    ///
    /// 20 seconds pass.
    pub fn accepts(&mut self, address: SocketAddr) -> bool {
        self.ready(&format!("accepted connections on {address}"), || TcpStream::connect(address).is_ok())
    }

    /// Waits until `ready` returns true, asking often; false if the program exits before.
    ///
    /// # Panics
    ///
    /// 20 seconds pass; the message says that the program never `what`.
    pub fn ready(&mut self, what: &str, ready: impl Fn() -> bool) -> bool {
        let deadline = Instant::now() + PATIENCE;
        while self.exited().is_none() {
            if ready() {
                return true;
            }
            assert!(Instant::now() < deadline, "{self} never {what}");
            pause();
        }
        false
    }

    /// Asks it to stop, as `kill` does (SIGTERM).
    ///
    /// # Panics
    ///
    /// It has stopped and was waited for already.
    pub fn terminate(&self) {
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        kill_process(id, Signal::TERM).unwrap_or_else(|error| panic!("SIGTERM to {self}: {error}"));
    }

    /// Kills it at once (SIGKILL) and waits until it is gone.
    pub fn kill(&mut self) {
        // Both fail only if it is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// How it ended, if it has.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the state of a child")
    }

    /// Waits until it ends.
    ///
    /// # Panics
    ///
    /// 20 seconds pass.
    pub fn wait(&mut self) -> ExitStatus {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.exited() {
                return status;
            }
            assert!(Instant::now() < deadline, "{self} does not end");
            pause();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

impl fmt::Display for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (process {}, which printed {:#?})", self.name, self.id(), self.output())
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Keeps every line of `stream`, on a thread that ends with it.
fn collect(stream: impl Read + Send + 'static, output: &Arc<Output>) {
    let output = Arc::clone(output);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            output.lines.lock().expect("no panic under this lock").lines.push(line);
            output.changed.notify_all();
        }
        output.lines.lock().expect("no panic under this lock").closed_streams += 1;
        output.changed.notify_all();
    });
}

/// Between two looks at something that tells nobody when it changes: a foreign process.
#[expect(clippy::disallowed_methods, reason = "neither an exit nor a listening port of a child can be awaited here")]
fn pause() {
    std::thread::sleep(Duration::from_millis(2));
}
