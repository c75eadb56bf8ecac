//! Runs the program under callgrind and reads how many instructions it took.

use std::fs;
use std::io::Read;
use std::num::NonZero;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::Row;
use super::figures::Counts;
use crate::process::{root, shown};

/// A run takes about a second; one that hangs is ended.
const LIMIT: Duration = Duration::from_secs(120);

/// `rep movsb` counts as one instruction for each byte, and glibc uses it from some thousand bytes on: never, here.
const GLIBC: &str = "glibc.cpu.x86_rep_movsb_threshold=1000000000:glibc.cpu.x86_rep_stosb_threshold=1000000000";

/// Fails where the figures mean nothing.
///
/// # Errors
///
/// It is another kind of processor than that of the figures.
pub(super) fn check_processor() -> Result<()> {
    // Valgrind shows programs one and the same processor wherever the real one has AVX2, so that the libraries that choose
    // by its features (glibc, memchr, zlib-rs) choose the same everywhere.
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    let known = std::is_x86_feature_detected!("avx2");
    #[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
    let known = false;
    ensure!(known, "the figures are of Linux on x86-64 with AVX2, which this machine is not: count on one that is");
    Ok(())
}

/// Counts the instructions of rows.
pub(super) struct Counter {
    program: PathBuf,
    /// Where callgrind's files go, one a row.
    folder: PathBuf,
}

impl Counter {
    /// Counts those of `program`.
    pub(super) fn new(program: PathBuf) -> Result<Self> {
        let folder = root().join("target/instructions");
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        Ok(Self { program, folder })
    }

    /// Instructions of each row for each time it is done. As many at once as there are cores: counts do not mind company.
    pub(super) fn count(&self, rows: &[Row]) -> Result<Counts> {
        let threads = thread::available_parallelism().map_or(1, NonZero::get);
        let left = Mutex::new(rows.iter());
        let work = || {
            let mut counts = Vec::new();
            while let Some(row) = left.lock().expect("no thread panics with it").next() {
                counts.push((row.name.clone(), self.count_row(row)?));
            }
            Ok(counts)
        };
        let counts = thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            workers
                .into_iter()
                .map(|worker| worker.join().expect("a worker does not panic"))
                .collect::<Result<Vec<_>>>()
        })?;
        Ok(counts.into_iter().flatten().collect())
    }

    fn count_row(&self, row: &Row) -> Result<f64> {
        let (few, many) = row.times;
        ensure!(few < many, "{}: its second run must be longer than its first", row.name);
        let difference = self.total(row, many)?.checked_sub(self.total(row, few)?);
        let difference = difference.with_context(|| format!("{}: doing it more often took less", row.name))?;
        Ok(difference as f64 / (many - few) as f64)
    }

    /// All instructions of one run.
    fn total(&self, row: &Row, times: u64) -> Result<u64> {
        let file = format!("{}.{times}.out", row.name.replace('/', "."));
        let mut command = Command::new("valgrind");
        command.args(["--quiet", "--tool=callgrind", &format!("--callgrind-out-file={file}")]);
        command.arg(&self.program).args([&row.name, &times.to_string()]).current_dir(&self.folder);
        // Nothing else of the environment, which can set up malloc or the runtime.
        command.env_clear().env("GLIBC_TUNABLES", GLIBC).envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        finish(command)?;
        let file = self.folder.join(file);
        let place = || format!("cannot read {}", file.display());
        read_total(&fs::read_to_string(&file).with_context(place)?).with_context(place)
    }
}

/// Waits for the end of `command`, though not for ever.
fn finish(mut command: Command) -> Result<()> {
    let name = shown(&command);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("`{name}` cannot be started"))?;
    let mut stderr = child.stderr.take().expect("a piped stderr");
    let (ended, end) = sync_channel(1);
    // The pipe closes when the program ends.
    thread::spawn(move || {
        let mut text = Vec::new();
        let read = stderr.read_to_end(&mut text).map(|_| text);
        let _ = ended.send(read); // Nobody waits for it any more if the time is over.
    });
    let Ok(said) = end.recv_timeout(LIMIT) else {
        let _ = child.kill(); // It may have ended this moment.
        child.wait()?;
        bail!("`{name}` was not done after {} s and was ended", LIMIT.as_secs());
    };
    let (said, status) = (said?, child.wait()?);
    ensure!(status.success(), "`{name}` failed ({status}):\n{}", String::from_utf8_lossy(&said).trim_end());
    Ok(())
}

/// The total in callgrind's format: the line `totals: NUMBER` at its end.
fn read_total(text: &str) -> Result<u64> {
    let total = text.lines().rev().find_map(|line| line.strip_prefix("totals: "));
    let total = total.context("it has no line of totals; is it callgrind's?")?;
    total.trim().parse().with_context(|| format!("its total is {total:?}, which is no number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_read() {
        let text = "# callgrind format\nevents: Ir\nsummary: 12\n\nfn=(1) main\n3 12\n\ntotals: 12\n";
        assert_eq!(read_total(text).unwrap(), 12);
        assert!(read_total("events: Ir\n").is_err());
        assert!(read_total("totals: 1 2\n").is_err());
    }

    #[test]
    fn a_failure_says_what_the_program_said() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such row >&2; exit 3"]);
        let error = finish(command).unwrap_err().to_string();
        assert!(error.contains("no such row") && error.contains('3'), "{error}");
    }
}
