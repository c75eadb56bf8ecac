//! Interim replies of upstreams, such as 103: they end here, since hyper's server cannot send them on, and are counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::StatusCode;

/// How many there were. Clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interims(Arc<AtomicU64>);

impl Interims {
    /// One more. `100 Continue` is none: it is hyper's to answer.
    pub(crate) fn dropped(&self, status: StatusCode) {
        if status == StatusCode::CONTINUE {
            return;
        }
        if self.0.fetch_add(1, Ordering::Relaxed) == 0 {
            tracing::info!("an upstream sends interim replies ({}): they end here, and are counted", status.as_u16());
        }
    }

    /// So many so far.
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_count_but_100() {
        let interims = Interims::default();
        for status in [100, 103, 102] {
            interims.dropped(StatusCode::from_u16(status).expect("a status"));
        }
        assert_eq!(interims.clone().count(), 2);
    }
}
