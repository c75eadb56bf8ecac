//! Active health checks: each upstream is asked now and then whether it is well.

use std::sync::{Arc, Weak};
use std::time::Duration;

use http::HeaderValue;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::outbound::{Ill, Target};

mod statuses;

pub(crate) use statuses::Statuses;

/// Upstreams have something else to do as well.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(100);

/// How upstreams are checked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options {
    /// What HTTP upstreams are asked for; teleport ones are asked whether they are there.
    pub(crate) path: String,
    /// The `Host` that they are asked in the name of. Default: their own.
    pub(crate) host: Option<HeaderValue>,
    /// Between two checks, a tenth more or less. Default: 5 s.
    pub(crate) interval: Duration,
    /// The longest one may take. Default: 2 s.
    pub(crate) timeout: Duration,
    /// So many good ones in a row make it well. Default: 2.
    pub(crate) healthy: u32,
    /// So many bad ones in a row make it ill. Default: 3.
    pub(crate) unhealthy: u32,
    /// The statuses that are good. Default: 200 to 399.
    pub(crate) good: Statuses,
}

impl Options {
    /// Checks of a path, with the defaults for the rest.
    pub(crate) fn of(path: impl Into<String>) -> Options {
        Options {
            path: path.into(),
            host: None,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            healthy: 2,
            unhealthy: 3,
            good: Statuses::default(),
        }
    }

    /// Checks so often.
    ///
    /// # Errors
    ///
    /// The time, and what is wrong with it.
    pub(crate) fn set_interval(&mut self, interval: Duration) -> Result<(), String> {
        if interval < SHORTEST_INTERVAL {
            return Err(format!("{interval:?}: too often; use {SHORTEST_INTERVAL:?} or more"));
        }
        self.interval = interval;
        self.timeout = self.timeout.min(interval);
        Ok(())
    }
}

/// Checks the upstream until what is returned is dropped, or the upstream is.
pub(crate) fn watch(target: &Arc<Target>, options: Options) -> DropGuard {
    let over = CancellationToken::new();
    let (weak, ended) = (Arc::downgrade(target), over.clone());
    tokio::spawn(async move { ended.run_until_cancelled(check(weak, options)).await });
    over.drop_guard()
}

async fn check(target: Weak<Target>, options: Options) {
    // Those of a group, and of many nodes, do not come all at once.
    sleep(options.interval.mul_f64(fastrand::f64() / 10.0)).await;
    let mut opinion = Opinion::default();
    while let Some(target) = target.upgrade() {
        let outcome = timeout(options.timeout, target.upstream().probe(&options)).await;
        let outcome = outcome.unwrap_or_else(|_| Err(Ill::Bad(format!("no answer in {:?}", options.timeout))));
        note(&target, &mut opinion, &options, outcome);
        drop(target);
        sleep(options.interval.mul_f64(0.9 + fastrand::f64() / 5.0)).await;
    }
}

/// One more check has ended.
fn note(target: &Target, opinion: &mut Opinion, options: &Options, outcome: Result<(), Ill>) {
    let why = match outcome {
        Ok(()) => None,
        Err(Ill::Bad(why)) => Some(why),
        // It says nothing of the upstream; requests tell people of it.
        Err(Ill::Unasked(why)) => return tracing::debug!("{} could not be checked: {why}", target.name()),
    };
    if let Some(ill) = opinion.learn(why.is_none(), options)
        && target.set_ill(ill, Instant::now())
    {
        match why {
            None => tracing::info!("{} is healthy", target.name()),
            Some(why) => tracing::warn!(
                "{} is unhealthy: {why}; it gets nothing until it is well, unless no other can be used",
                target.name()
            ),
        }
    }
}

/// What the checks so far have shown.
#[derive(Debug, Default)]
struct Opinion {
    ill: bool,
    /// Checks in a row that say otherwise.
    against: u32,
}

impl Opinion {
    /// One more check. Tells whether the upstream is ill, if that has changed.
    fn learn(&mut self, good: bool, options: &Options) -> Option<bool> {
        if good != self.ill {
            self.against = 0;
            return None;
        }
        self.against += 1;
        let enough = if self.ill { options.healthy } else { options.unhealthy };
        if self.against < enough {
            return None;
        }
        *self = Opinion { ill: !self.ill, against: 0 };
        Some(self.ill)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_some_checks_in_a_row_to_change_an_opinion() {
        let (mut opinion, options) = (Opinion::default(), Options::of("/"));
        let mut learn = |checks: &str| checks.bytes().map(|c| opinion.learn(c == b'+', &options)).collect::<Vec<_>>();
        assert_eq!(learn("+--+--"), [None; 6]);
        assert_eq!(learn("-"), [Some(true)]);
        assert_eq!(learn("--+-+"), [None; 5]);
        assert_eq!(learn("++"), [Some(false), None]);
    }

    #[test]
    fn how_many_it_takes_can_be_said() {
        let options = Options { healthy: 1, unhealthy: 2, ..Options::of("/") };
        let mut opinion = Opinion::default();
        let mut learn = |checks: &str| checks.bytes().map(|c| opinion.learn(c == b'+', &options)).collect::<Vec<_>>();
        assert_eq!(learn("-+--+-"), [None, None, None, Some(true), Some(false), None]);
    }
}
