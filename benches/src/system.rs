//! What the system knows of this process, and what it allows it.

use std::fs;
use std::io;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::{Resource, Signal, getrlimit, set_parent_process_death_signal, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};

/// The time that all threads of this process have run so far, in user mode and in the kernel on their behalf.
#[must_use]
pub fn cpu_time() -> Duration {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// Bytes of memory that this process has resident.
///
/// # Errors
///
/// The system does not tell.
pub fn resident() -> anyhow::Result<u64> {
    kib("/proc/self/smaps_rollup", "Rss:")
}

/// The most bytes that this process ever had resident.
///
/// # Errors
///
/// The system does not tell.
pub fn resident_peak() -> anyhow::Result<u64> {
    kib("/proc/self/status", "VmHWM:")
}

/// The figure of the line of `path` that begins with `field`, in bytes.
fn kib(path: &str, field: &str) -> anyhow::Result<u64> {
    let text = fs::read_to_string(path).with_context(|| format!("{path}: memory is not known without it"))?;
    let figure =
        text.lines().find_map(|line| line.strip_prefix(field)?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Ok(figure.with_context(|| format!("{path} has no line {field} in kB"))? * 1024)
}

/// Raises the limit of open files as far as this process may, and gives it.
#[must_use]
pub fn raise_open_files() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where it cannot be raised, what it is now is what there is.
    let _ = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX))
}

/// The cores that this process may run on; `taskset` narrows them.
#[must_use]
pub fn cores() -> Vec<usize> {
    let Ok(set) = sched_getaffinity(None) else { return vec![0] };
    (0..CpuSet::MAX_CPU).filter(|&core| set.is_set(core)).collect()
}

/// Keeps the calling thread, and those it starts from now on, on this core.
///
/// # Errors
///
/// The process may not run there.
pub fn pin(core: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    Ok(sched_setaffinity(None, &set)?)
}

/// Ends this process with the one that started it, however that ends.
///
/// # Errors
///
/// The system cannot do that.
pub fn end_with_parent() -> anyhow::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("this process would outlive its parent")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_of_this_process_is_plausible() {
        let (now, peak) = (resident().expect("memory"), resident_peak().expect("its peak"));
        assert!((64 << 10..4 << 30).contains(&now), "{now}");
        assert!(peak > 64 << 10, "{peak}");
        assert!(raise_open_files() >= 64);
        assert!(!cores().is_empty());
    }

    #[test]
    fn the_cpu_clock_runs_while_this_does() {
        let before = cpu_time();
        let mut turns = 0_u64;
        while cpu_time() < before + Duration::from_millis(5) {
            turns = std::hint::black_box(turns + 1);
        }
        assert!(turns > 0);
    }
}
