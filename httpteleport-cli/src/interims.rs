//! Interim replies of upstreams, such as 103: they end here, since hyper's server cannot send them on, and are counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use http::{Request, StatusCode};
use hyper::ext::on_informational;

/// Most of them that one request is told on a connection of HTTP/1.1; the wire of teleport has its own limit.
const MOST: u32 = 1000;

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

/// Those of one connection of HTTP/1.1 since its last request.
#[derive(Default)]
pub(crate) struct Heard(Arc<AtomicU32>);

impl Heard {
    /// Counts what comes ahead of the reply to this request, `100 Continue` too.
    pub(crate) fn begin<B>(&self, request: &mut Request<B>, all: &Interims) {
        self.0.store(0, Ordering::Relaxed);
        let (here, all) = (Arc::clone(&self.0), all.clone());
        on_informational(request, move |reply| {
            here.fetch_add(1, Ordering::Relaxed);
            all.dropped(reply.status());
        });
    }

    /// Whether there were more than anybody needs.
    pub(crate) fn too_many(&self) -> bool {
        self.0.load(Ordering::Relaxed) > MOST
    }
}

/// What is wrong with an upstream that sends more of them.
pub(crate) const FLOODED: &str = "it sent more than 1000 interim replies to one request";

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
