//! One run of wrk, and what it prints, understood.

use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use testkit::programs::installed;
use tokio::process::Command;
use tokio::time::timeout;

use super::tied::tied;

/// Connections, all busy all the time.
pub const CONNECTIONS: usize = 64;
/// What a run may take longer than asked for.
const PATIENCE: Duration = Duration::from_secs(20);

/// What one run came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Requests that were answered, all of them well.
    pub requests: f64,
    /// Per second.
    pub rate: f64,
    /// Half of the replies came within this.
    pub p50: Duration,
    /// All but one in a hundred came within this.
    pub p99: Duration,
}

/// Loads `address` with one thread and 64 connections for `seconds`. Dropping the future ends wrk.
///
/// # Errors
///
/// A request failed or was answered with an error, or wrk itself failed: one line.
pub async fn run(address: SocketAddr, seconds: u64) -> Result<Load, String> {
    let program = installed("wrk").ok_or("wrk is not installed: get it with `apt-get install wrk`")?;
    let mut command = Command::from(tied(&program));
    command.args(["--threads", "1", "--latency", "--connections", &CONNECTIONS.to_string()]);
    command.args(["--duration", &format!("{seconds}s"), &format!("http://{address}/foo/bar")]);
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(Duration::from_secs(seconds) + PATIENCE, command.output()).await;
    let output = output.map_err(|_| "wrk did not end in time")?.map_err(|error| format!("wrk: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(format!("wrk failed: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    parse(&text)
}

/// Understands the output of `wrk --latency`.
///
/// # Errors
///
/// It tells of errors, or something is missing in it: one line.
pub fn parse(text: &str) -> Result<Load, String> {
    for line in text.lines().map(str::trim) {
        if line.starts_with("Socket errors:") || line.starts_with("Non-2xx or 3xx responses:") {
            return Err(format!("wrk saw errors: {line}"));
        }
    }
    let value = |what: &str, pick: &dyn Fn(&str) -> Option<f64>| {
        text.lines().find_map(|line| pick(line.trim())).ok_or_else(|| format!("wrk printed no {what}: {text:?}"))
    };
    let percentile =
        |name: &'static str| value(name, &|line| seconds(line.strip_prefix(name)?.trim())).map(Duration::from_secs_f64);
    Ok(Load {
        requests: value("requests", &|line| line.split_once(" requests in ")?.0.parse().ok())?,
        rate: value("rate", &|line| line.strip_prefix("Requests/sec:")?.trim().parse().ok())?,
        p50: percentile("50%")?,
        p99: percentile("99%")?,
    })
}

/// A time as wrk prints it: `1.40ms`.
fn seconds(text: &str) -> Option<f64> {
    let (unit, scale) = [("us", 1e-6), ("ms", 1e-3), ("s", 1.0)].into_iter().find(|(unit, _)| text.ends_with(unit))?;
    Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "Running 4s test @ http://127.0.0.1:9/\n  1 threads and 64 connections\n  \
        Thread Stats   Avg      Stdev     Max   +/- Stdev\n    Latency     1.21ms  210.11us  12.63ms   92.21%\n    \
        Req/Sec    52.93k     2.31k   56.03k    80.00%\n  Latency Distribution\n     50%    1.19ms\n     75%    1.24ms\n     \
        90%    1.31ms\n     99%  856.00us\n  210779 requests in 4.00s, 83.63MB read\nRequests/sec:  52687.35\n\
        Transfer/sec:     20.90MB\n";

    #[test]
    fn a_good_run_is_understood() {
        let load = parse(OUTPUT).expect("a good run");
        assert_eq!((load.requests, load.rate), (210_779.0, 52_687.35));
        assert_eq!((load.p50, load.p99), (Duration::from_micros(1190), Duration::from_micros(856)));
    }

    #[test]
    fn errors_and_gaps_are_told() {
        for bad in ["  Socket errors: connect 0, read 3, write 0, timeout 0", "  Non-2xx or 3xx responses: 7"] {
            let error = parse(&format!("{OUTPUT}{bad}\n")).expect_err(bad);
            assert!(error.contains(bad.trim()), "{error}");
        }
        assert!(parse("").expect_err("nothing").contains("requests"));
    }
}
