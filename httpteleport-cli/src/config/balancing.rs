//! Which upstreams of a group there are, and who of them gets a request.

use http::StatusCode;

use super::Mistakes;
use crate::cli::BalancingArgs;
use crate::discover::{self, Subset};
use crate::{balance, health, outbound, retry};

/// Who gets the next request, who none, and what is sent again.
pub(super) fn upstreams(args: &BalancingArgs, mistakes: &mut Mistakes) -> outbound::Options {
    let mut options =
        outbound::Options { balance: balance::Options::default(), retry: retry::Options::default(), health: None };
    options.balance.slow_start = args.slow_start.unwrap_or_default();
    if let Some(percent) = args.retry_budget {
        options.retry.percent = percent;
    }
    if let Some(failures) = args.eject_after {
        options.balance.eject.failures = failures;
        // Never is never, however many of all fail.
        options.balance.eject.percent = if failures == 0 { 0 } else { options.balance.eject.percent };
    }
    options.health = health(args, mistakes);
    options
}

fn health(args: &BalancingArgs, mistakes: &mut Mistakes) -> Option<health::Options> {
    let Some(path) = &args.health_check else {
        let beside = [
            ("--health-interval", args.health_interval.is_some()),
            ("--health-timeout", args.health_timeout.is_some()),
            ("--health-status", args.health_status.is_some()),
        ];
        for (option, _) in beside.iter().filter(|option| option.1) {
            mistakes.add(format!("{option}: nothing is checked; add --health-check /healthz, or drop the option"));
        }
        return None;
    };
    let mut health = health::Options::of(path);
    health.status = args.health_status.and_then(|status| StatusCode::from_u16(status).ok());
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
        (Some(size), Some(node)) => Some(Subset::of(size as usize, node)),
    };
    discover::Options { resolver: args.resolver, subset, ..discover::Options::default() }
}
