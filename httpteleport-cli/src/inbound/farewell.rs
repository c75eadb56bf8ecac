//! How long a connection of HTTP/2 may stay that was told to leave.

use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::Instant;

use super::activity::Activity;
use crate::timer::LazyTimer;

/// A request of who has never asked for anything may be on its way for so long.
const LEAVE: Duration = Duration::from_secs(1);
/// Of who has: the rest of a reply may lie in hyper until the client makes room for it, which nobody else can see.
const TAKE_THE_REST: Duration = Duration::from_secs(10);

/// Why it was told so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// Its place is wanted.
    Wanted,
    /// It had nothing to do for too long.
    Tired,
    /// The process ends.
    Drain,
}

/// Runs while there is nothing to do.
#[derive(Default)]
pub(super) struct Farewell {
    gone_by: Option<Instant>,
    timer: LazyTimer,
}

impl Farewell {
    /// Ready once it is not waited for any longer: who does not answer the farewell would stay for ever.
    pub(super) fn poll_over(&mut self, cx: &mut Context<'_>, why: Why, activity: &Activity) -> Poll<()> {
        let stays = if why == Why::Drain { activity.is_busy() } else { activity.has_to_stay() };
        if stays {
            // A request was on its way: it has its time, and its reply has too, to be taken.
            self.gone_by = None;
            return Poll::Pending;
        }
        let patience = match (activity.served(), why) {
            // As with a silent one of HTTP/1.1: what has come of it was read just now.
            (0, Why::Wanted) => return Poll::Ready(()),
            (0, _) => LEAVE,
            _ => TAKE_THE_REST,
        };
        let deadline = *self.gone_by.get_or_insert_with(|| Instant::now() + patience);
        self.timer.poll(cx, deadline)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::time::timeout;

    use super::*;

    /// How long it stays, if that is no longer than a minute.
    async fn stays(farewell: &mut Farewell, why: Why, activity: &Activity) -> Option<u64> {
        let start = Instant::now();
        let over = poll_fn(|cx| farewell.poll_over(cx, why, activity));
        timeout(Duration::from_secs(60), over).await.ok().map(|()| start.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_asked_for_nothing_leaves_soon_and_others_have_time_for_what_they_asked_for() {
        let activity = Activity::default();
        for (why, want) in [(Why::Wanted, 0), (Why::Tired, 1), (Why::Drain, 1)] {
            assert_eq!(stays(&mut Farewell::default(), why, &activity).await, Some(want), "{why:?}");
        }
        drop(activity.begin());
        for why in [Why::Wanted, Why::Tired, Why::Drain] {
            assert_eq!(stays(&mut Farewell::default(), why, &activity).await, Some(10), "{why:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_was_on_its_way_has_its_time_and_its_reply_as_well() {
        for why in [Why::Wanted, Why::Tired, Why::Drain] {
            let (activity, mut farewell) = (Activity::default(), Farewell::default());
            drop(activity.begin());
            let soon = timeout(Duration::from_secs(5), stays(&mut farewell, why, &activity)).await;
            assert!(soon.is_err(), "{soon:?}");
            let running = activity.begin();
            assert_eq!(stays(&mut farewell, why, &activity).await, None, "{why:?}");
            drop(running);
            assert_eq!(stays(&mut farewell, why, &activity).await, Some(10), "{why:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_waits_to_be_read_holds_a_drain_up_and_nothing_else() {
        let activity = Activity::default();
        drop(activity.begin());
        activity.note_blocked(true);
        assert_eq!(stays(&mut Farewell::default(), Why::Drain, &activity).await, None);
        assert_eq!(stays(&mut Farewell::default(), Why::Wanted, &activity).await, Some(10));
    }
}
