//! What must not be missed between a driver and those who wake it.

use std::task::Wake;
use std::time::Duration;

use bytes::Bytes;

use super::super::refused::NotEncoded;
use super::super::tag::Waiting;
use super::*;
use crate::wire::framed::settings::Settings;

#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_deadline_that_comes_while_the_driver_is_about_to_wait_is_not_missed() {
    let (now, s) = (Instant::now(), Duration::from_secs(1));
    let settings = Settings::default();
    let shared = Shared::new(Streams::new(Role::Client, settings.clone(), settings, 1 << 20, now));
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    shared.park(&waker, Some(now + s), true);
    // The peer takes something, and the driver runs: it looks at deadlines, of which there are none yet.
    assert_eq!(shared.expire(now, &mut Vec::new()).deadline, None);
    let deadline = Some(now + s * 3);
    let open = |streams: &mut Streams<Tag>, _| {
        let tag = Tag::Waiting(Waiting { deadline, ..Waiting::default() });
        Ok(streams.open(tag, 0, false, |_| Ok::<_, NotEncoded>(()), &Bytes::new(), false)?)
    };
    shared.open(deadline, open).ok().unwrap();
    let before = woken.0.load(Ordering::SeqCst);
    shared.park(&waker, Some(now + s * 4), true);
    assert_eq!(woken.0.load(Ordering::SeqCst), before + 1, "it has to look again");
}

#[test]
fn an_end_that_comes_while_the_driver_runs_is_not_missed() {
    let now = Instant::now();
    let settings = Settings::default();
    let shared = Shared::new(Streams::new(Role::Client, settings.clone(), settings, 1 << 20, now));
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(woken.clone());
    shared.park(&waker, None, true);
    shared.awake(now);
    shared.end_by_program(Error::new(ErrorKind::Closed, "closed"));
    assert_eq!(woken.0.load(Ordering::SeqCst), 0, "it runs already");
    shared.park(&waker, None, true);
    assert_eq!(woken.0.load(Ordering::SeqCst), 1, "it has to look again");
}
