//! All routes in turn, again and again, so that a machine that slows down slows all of them.

use std::time::Duration;

use super::hop::Started;
use super::wrk::{self, Load};
use crate::process::cpu_time;

/// Load before the first round: connections, caches and buffers are there when it begins.
const WARM_UP_SECONDS: u64 = 1;

/// One round of one route.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// Microseconds of CPU per request, of its proxies alone.
    pub cpu_us: f64,
    /// What the load program saw.
    pub load: Load,
}

/// Runs `rounds` rounds of `round` (in whole seconds, rounded up); gives those of each route.
///
/// # Errors
///
/// A request failed, or a proxy ended: one line with the route's name.
pub async fn run(routes: &[Started], rounds: usize, round: Duration) -> Result<Vec<Vec<Round>>, String> {
    let seconds = round.as_millis().div_ceil(1000);
    let seconds = u64::try_from(seconds).map_err(|_| "a round cannot be that long")?;
    for route in routes {
        one(route, WARM_UP_SECONDS).await?;
    }
    let mut all = vec![Vec::with_capacity(rounds); routes.len()];
    for _ in 0..rounds {
        for (route, rounds) in routes.iter().zip(&mut all) {
            rounds.push(one(route, seconds).await?);
        }
    }
    Ok(all)
}

async fn one(route: &Started, seconds: u64) -> Result<Round, String> {
    let before = cpu(route)?;
    let load = wrk::run(route.address, seconds).await.map_err(|error| format!("{}: {error}", route.name))?;
    let used = cpu(route)?.saturating_sub(before);
    Ok(Round { cpu_us: used.as_secs_f64() * 1e6 / load.requests, load })
}

fn cpu(route: &Started) -> Result<Duration, String> {
    let sum = route.ids().map(cpu_time).sum::<std::io::Result<Duration>>();
    sum.map_err(|error| format!("{}: the CPU time of its processes: {error}", route.name))
}
