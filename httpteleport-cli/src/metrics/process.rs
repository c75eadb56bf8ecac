//! What this process takes, as Linux tells it (proc(5)).

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::open_files::{is_of_files, limit};

/// CPU time, memory and files. What a system does not tell is zero.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Process {
    /// In user and kernel mode, all threads.
    pub(crate) cpu: Duration,
    /// Bytes of memory that is there.
    pub(crate) resident: u64,
    /// Bytes of address space.
    pub(crate) address_space: u64,
    /// Files and sockets that are open.
    pub(crate) open_files: u64,
    /// Threads that run.
    pub(crate) threads: u64,
}

impl Process {
    /// As it is now.
    pub(crate) fn now() -> Process {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kib = |name| field(&status, name) * 1024;
        Process {
            cpu: cpu(),
            resident: kib("VmRSS:"),
            address_space: kib("VmSize:"),
            open_files: open_files(),
            threads: field(&status, "Threads:"),
        }
    }
}

/// Where none is left for looking, all are open that may be.
fn open_files() -> u64 {
    match fs::read_dir("/proc/self/fd") {
        Ok(files) => files.count().saturating_sub(1) as u64,
        Err(error) if is_of_files(&error) => limit().unwrap_or_default(),
        Err(_) => 0,
    }
}

fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.try_into().unwrap_or_default()
}

fn field(status: &str, name: &str) -> u64 {
    let value = status.lines().find_map(|line| line.strip_prefix(name));
    value.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

/// Seconds since 1970.
pub(crate) fn unix(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_used_something() {
        let process = Process::now();
        assert!(process.cpu > Duration::ZERO && process.resident > 100_000 && process.address_space > process.resident);
        assert!(process.open_files >= 3 && process.threads >= 1, "{process:?}");
    }
}
