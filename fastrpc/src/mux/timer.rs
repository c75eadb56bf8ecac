//! The clocks of a connection: one coarse timer for all limits, one fine timer for batches.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::time::{Instant, Sleep, sleep_until};

use crate::config::BatchTimer;

/// Fires at the time asked for. Moving it later costs nothing: it fires early, and is set anew only then.
#[derive(Default)]
pub(crate) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
    armed: Option<Instant>,
}

impl Alarm {
    /// Arranges a wake-up not after `due`. Ready when `due` has come.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, due: Option<Instant>, now: Instant) -> Poll<()> {
        let Some(due) = due else { return Poll::Pending };
        if due <= now {
            self.armed = None;
            return Poll::Ready(());
        }
        let passed = self.armed.is_none_or(|armed| armed <= now);
        if passed || self.armed.is_some_and(|armed| due < armed) {
            self.arm(due);
        }
        while self.sleep.as_mut().is_some_and(|sleep| sleep.as_mut().poll(cx).is_ready()) {
            if due <= Instant::now() {
                self.armed = None;
                return Poll::Ready(());
            }
            self.arm(due); // It was set for an earlier time.
        }
        Poll::Pending
    }

    fn arm(&mut self, due: Instant) {
        self.armed = Some(due);
        match &mut self.sleep {
            Some(sleep) => sleep.as_mut().reset(due),
            None => self.sleep = Some(Box::pin(sleep_until(due))),
        }
    }
}

/// Times batch delays, which are often shorter than the 1 ms steps of tokio's timer. Made when a delay is first waited
/// for: connections without one need no descriptor.
pub(crate) struct BatchAlarm {
    kind: BatchTimer,
    timer: Option<BatchClock>,
}

enum BatchClock {
    Tokio(Alarm),
    #[cfg(target_os = "linux")]
    Fine(fine::TimerFd),
}

impl BatchClock {
    fn new(kind: BatchTimer) -> Self {
        match kind {
            #[cfg(target_os = "linux")]
            BatchTimer::Fine => fine::TimerFd::new().map_or_else(|_| Self::Tokio(Alarm::default()), Self::Fine),
            _ => Self::Tokio(Alarm::default()),
        }
    }
}

impl BatchAlarm {
    pub(crate) fn new(kind: BatchTimer) -> Self {
        Self { kind, timer: None }
    }

    /// Ready when `due` has come.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, due: Instant, now: Instant) -> Poll<()> {
        match self.timer.get_or_insert_with(|| BatchClock::new(self.kind)) {
            BatchClock::Tokio(alarm) => alarm.poll(cx, Some(due), now),
            #[cfg(target_os = "linux")]
            BatchClock::Fine(timer) => timer.poll(cx, due, now),
        }
    }
}

#[cfg(target_os = "linux")]
mod fine {
    use std::io;
    use std::os::fd::OwnedFd;
    use std::task::{Context, Poll};

    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
    };
    use tokio::io::Interest;
    use tokio::io::unix::AsyncFd;
    use tokio::time::Instant;

    /// A kernel timer that the runtime watches like a socket: no steps but the clock's own.
    pub(crate) struct TimerFd {
        fd: AsyncFd<OwnedFd>,
        armed: Option<Instant>,
    }

    impl TimerFd {
        pub(super) fn new() -> io::Result<Self> {
            let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
            // Deprecated for types that may close their descriptor early; an OwnedFd keeps it open, and the successor
            // is an unsafe function.
            #[expect(deprecated, reason = "sound for OwnedFd")]
            let fd = AsyncFd::with_interest(fd, Interest::READABLE)?;
            Ok(Self { fd, armed: None })
        }

        pub(super) fn poll(&mut self, cx: &mut Context<'_>, due: Instant, now: Instant) -> Poll<()> {
            if due <= now {
                self.armed = None;
                return Poll::Ready(());
            }
            if self.armed != Some(due) && self.arm(due, now).is_err() {
                return Poll::Ready(()); // A batch that goes out early is better than one that never does.
            }
            loop {
                let Poll::Ready(ready) = self.fd.poll_read_ready(cx) else { return Poll::Pending };
                let Ok(mut ready) = ready else { return Poll::Ready(()) };
                let mut expirations = [0; 8];
                match rustix::io::read(self.fd.get_ref(), &mut expirations) {
                    Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
                    _ => {
                        ready.clear_ready();
                        self.armed = None;
                        return Poll::Ready(());
                    }
                }
            }
        }

        fn arm(&mut self, due: Instant, now: Instant) -> io::Result<()> {
            let delay = due - now;
            let value = Timespec {
                tv_sec: delay.as_secs().try_into().map_err(io::Error::other)?,
                tv_nsec: delay.subsec_nanos().into(),
            };
            let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
            timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &once)?;
            self.armed = Some(due);
            Ok(())
        }
    }
}
