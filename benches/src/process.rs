//! What the system knows of a running process: the time it has used, the memory it holds.

use std::fs;
use std::io;
use std::time::Duration;

/// The time that all threads of the process have run so far, in user mode and in the kernel on their behalf.
///
/// From the scheduler's own sums, in nanoseconds; threads that have ended already are not in it.
///
/// # Errors
///
/// There is no such process, or the system has no such sums.
pub fn cpu_time(id: u32) -> io::Result<Duration> {
    let mut total = 0;
    for thread in fs::read_dir(format!("/proc/{id}/task"))? {
        let sums = fs::read_to_string(thread?.path().join("schedstat"))?;
        // Nanoseconds it ran, nanoseconds it waited to run, times it was put on a core.
        let ran = sums.split(' ').next().and_then(|sum| sum.parse::<u64>().ok());
        total += ran.ok_or_else(|| io::Error::other(format!("not understood: {sums:?} of process {id}")))?;
    }
    Ok(Duration::from_nanos(total))
}

/// Bytes of memory that are the process's own part: pages shared with others count by their share.
///
/// # Errors
///
/// There is no such process, or the system does not tell.
pub fn memory(id: u32) -> io::Result<u64> {
    let rollup = fs::read_to_string(format!("/proc/{id}/smaps_rollup"))?;
    let kib =
        rollup.lines().find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| io::Error::other(format!("process {id}: no Pss in its smaps_rollup")))
}

#[cfg(test)]
mod tests {
    use std::process;

    use super::*;

    #[test]
    fn own_figures_are_there_and_plausible() {
        let held = memory(process::id()).expect("this process");
        assert!((64 << 10..4 << 30).contains(&held), "{held}");
        let before = cpu_time(process::id()).expect("this process");
        let mut sum = 0_u64;
        while cpu_time(process::id()).expect("this process") < before + Duration::from_millis(20) {
            sum = std::hint::black_box(sum + 1);
        }
        assert!(sum > 0);
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(cpu_time(u32::MAX).is_err());
        assert!(memory(u32::MAX).is_err());
    }
}
