//! Which upstreams of a group there are, and who of them gets a request.

use std::time::Duration;

use super::Mistakes;
use crate::balance::Eject;
use crate::cli::BalancingArgs;
use crate::discover::{self, Families, Subset};
use crate::{balance, health, outbound, retry};

/// What is shorter is over before others are asked.
const SHORTEST_EJECTION: Duration = Duration::from_millis(100);

/// Who gets the next request, who none, and what is sent again.
pub(super) fn upstreams(args: &BalancingArgs, mistakes: &mut Mistakes) -> outbound::Options {
    let mut retry = retry::Options::default();
    if let Some(percent) = args.retry_budget {
        retry.percent = percent;
    }
    let slow_start = args.slow_start.unwrap_or_default();
    let balance = balance::Options { slow_start, eject: eject(args, mistakes) };
    outbound::Options { balance, retry, health: health(args, mistakes) }
}

/// Who is left alone for what it fails.
fn eject(args: &BalancingArgs, mistakes: &mut Mistakes) -> Eject {
    let default = Eject::default();
    let failures = args.eject_after.unwrap_or(default.failures);
    // Never is never, however many of all fail.
    let percent = args.eject_share.unwrap_or(if failures == 0 { 0 } else { default.percent });
    let first = args.eject_time.unwrap_or(default.first);
    let longest = args.eject_max_time.unwrap_or(default.longest.max(first));
    if (failures, percent) == (0, 0) {
        let beside = [
            ("--eject-time", args.eject_time.is_some()),
            ("--eject-max-time", args.eject_max_time.is_some()),
            ("--eject-most", args.eject_most.is_some()),
        ];
        for (option, _) in beside.iter().filter(|option| option.1) {
            mistakes.add(format!("{option}: --eject-after 0 leaves nobody alone; drop one of them"));
        }
    }
    if first < SHORTEST_EJECTION {
        mistakes.add(format!(
            "--eject-time {first:?}: too short to change anything; use {SHORTEST_EJECTION:?} or more, or --eject-after 0 for never"
        ));
    } else if longest < first {
        let why = format!("is shorter than the first time, {first:?}");
        mistakes.add(format!("--eject-max-time {longest:?}: {why}; use that or more, or a shorter --eject-time"));
    }
    let most = args.eject_most.unwrap_or(default.most);
    Eject { failures, percent, first, longest, most, ..default }
}

fn health(args: &BalancingArgs, mistakes: &mut Mistakes) -> Option<health::Options> {
    let Some(path) = &args.health_check else {
        let beside = [
            ("--health-host", args.health_host.is_some()),
            ("--health-interval", args.health_interval.is_some()),
            ("--health-timeout", args.health_timeout.is_some()),
            ("--health-status", args.health_status.is_some()),
            ("--health-passes", args.health_passes.is_some()),
            ("--health-fails", args.health_fails.is_some()),
        ];
        for (option, _) in beside.iter().filter(|option| option.1) {
            mistakes.add(format!("{option}: nothing is checked; add --health-check /healthz, or drop the option"));
        }
        return None;
    };
    let mut health = health::Options::of(path);
    health.host = args.health_host.clone();
    health.good = args.health_status.clone().unwrap_or_default();
    health.healthy = args.health_passes.unwrap_or(health.healthy);
    health.unhealthy = args.health_fails.unwrap_or(health.unhealthy);
    if let Some(interval) = args.health_interval
        && let Err(why) = health.set_interval(interval)
    {
        mistakes.add(format!("--health-interval {why}"));
    }
    match args.health_timeout {
        Some(timeout) if timeout.is_zero() => {
            mistakes.add("--health-timeout 0: nobody answers in no time; write for example 1s".to_owned());
        }
        Some(timeout) => health.timeout = timeout,
        None => {}
    }
    Some(health)
}

/// How upstreams are found.
pub(super) fn discover(args: &BalancingArgs, mistakes: &mut Mistakes) -> discover::Options {
    let subset = match (args.subset, &args.node_id) {
        (None, None) => None,
        (None, Some(_)) => {
            mistakes.add("--node-id: is for a part of the upstreams; add --subset 20, or drop the option".to_owned());
            None
        }
        (Some(_), None) => {
            mistakes.add("--subset: needs to know which node this is; add --node-id 7, or a name".to_owned());
            None
        }
        (Some(_), Some(node)) if node.is_empty() => {
            mistakes
                .add("--node-id: is empty, so all nodes would use the same part; give a number, or a name".to_owned());
            None
        }
        (Some(size), Some(node)) => Some(Subset::of(size as usize, node)),
    };
    let families = args.out_address_family.unwrap_or(Families::ANY);
    discover::Options { resolver: args.resolver, families, subset, ..discover::Options::default() }
}
