//! Lines in the log that others can cause at will: no more than one a second, or in whatever time it is, so that nobody fills a disk.

use std::fmt::Display;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until};

/// Between two lines, unless it is said otherwise.
const PAUSE: Duration = Duration::from_secs(1);

/// What was held back is told so long after it could have been, if no other line tells of it: while there are more and more, the next
/// one does. Shorter than any pause.
const GRACE: Duration = Duration::from_millis(500);

/// Writes them. Clones keep the pause together.
#[derive(Clone, Debug)]
pub(crate) struct Seldom {
    pause: Duration,
    said: Arc<Mutex<Said>>,
}

#[derive(Debug, Default)]
struct Said {
    last: Option<Instant>,
    /// Those since then that were not written.
    more: u64,
}

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Turn {
    /// It is written, and tells how many were held back since the last.
    Write(u64),
    /// It is held back.
    Hold,
    /// The same, and it is the first since the last line: at this time it is told at the latest.
    HoldFirst(Instant),
}

/// Writes a line that tells of so many more; `None` for one that is held back, and only there for who wants all of them.
pub(crate) type Write = fn(Option<u64>, &dyn Display);

impl Default for Seldom {
    fn default() -> Seldom {
        Seldom { pause: PAUSE, said: Arc::default() }
    }
}

impl Seldom {
    /// One line in this time.
    #[cfg(feature = "otlp")]
    pub(crate) fn each(pause: Duration) -> Seldom {
        Seldom { pause, ..Seldom::default() }
    }

    /// A warning, or where that would be too many a line that is there for who wants all of them.
    pub(crate) fn warn(&self, line: impl Display) {
        self.say(line, |more, line| match more {
            Some(0) => tracing::warn!("{line}"),
            Some(more) => tracing::warn!("{line} (and {more} more since the last line)"),
            None => tracing::debug!("{line}"),
        });
    }

    /// A line, written so. If none follows, the first of those that were held back is written a little later, and tells of the others.
    pub(crate) fn say(&self, line: impl Display, write: Write) {
        match self.turn(Instant::now()) {
            Turn::Write(more) => write(Some(more), &line),
            Turn::Hold => write(None, &line),
            Turn::HoldFirst(latest) => {
                write(None, &line);
                self.tell_by(latest, line.to_string(), write);
            }
        }
    }

    fn tell_by(&self, latest: Instant, line: String, write: Write) {
        // Without a runtime the next line tells of it.
        let Ok(runtime) = Handle::try_current() else { return };
        let seldom = self.clone();
        runtime.spawn(async move {
            sleep_until(latest).await;
            if let Some(others) = seldom.take_held(Instant::now()) {
                write(Some(others), &line);
            }
        });
    }

    /// Whether a line may be written.
    fn turn(&self, now: Instant) -> Turn {
        let mut said = self.lock();
        match said.last.map(|last| last + self.pause).filter(|next| now < *next) {
            None => {
                said.last = Some(now);
                Turn::Write(std::mem::take(&mut said.more))
            }
            Some(next) => {
                said.more += 1;
                if said.more == 1 { Turn::HoldFirst(next + GRACE) } else { Turn::Hold }
            }
        }
    }

    /// Takes the turn of a line that was held back: how many others were. `None` if another line has told of it.
    fn take_held(&self, now: Instant) -> Option<u64> {
        let mut said = self.lock();
        if said.last.is_some_and(|last| now < last + self.pause) {
            return None;
        }
        let others = said.more.checked_sub(1)?;
        *said = Said { last: Some(now), more: 0 };
        Some(others)
    }

    fn lock(&self) -> MutexGuard<'_, Said> {
        self.said.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use tokio::time::{advance, sleep};

    use super::*;

    thread_local! {
        /// What was written, and after how many milliseconds.
        static WRITTEN: RefCell<(Option<Instant>, Vec<(u128, String)>)> = const { RefCell::new((None, Vec::new())) };
    }

    fn write(more: Option<u64>, line: &dyn Display) {
        let Some(more) = more else { return };
        WRITTEN.with_borrow_mut(|(start, lines)| {
            let at = start.get_or_insert_with(Instant::now).elapsed().as_millis();
            lines.push((at, format!("{line}+{more}")));
        });
    }

    fn written() -> Vec<(u128, String)> {
        WRITTEN.with_borrow_mut(|(_, lines)| std::mem::take(lines))
    }

    fn lines(want: &[(u128, &str)]) -> Vec<(u128, String)> {
        want.iter().map(|(at, line)| (*at, (*line).to_owned())).collect()
    }

    #[test]
    fn a_line_a_second_counts_those_that_were_not_written() {
        let (seldom, start) = (Seldom::default(), Instant::now());
        let at = |ms| start + Duration::from_millis(ms);
        let turns = [0, 10, 999, 1000, 1500, 3000].map(|ms| seldom.turn(at(ms)));
        let (first, second) = (Turn::HoldFirst(at(1500)), Turn::HoldFirst(at(2500)));
        assert_eq!(turns, [Turn::Write(0), first, Turn::Hold, Turn::Write(2), second, Turn::Write(1)]);
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_no_line_follows_are_told_a_little_later() {
        let seldom = Seldom::default();
        for line in ["a", "b", "c", "d"] {
            seldom.say(line, write);
            advance(Duration::from_millis(100)).await;
        }
        assert_eq!(written(), lines(&[(0, "a+0")]));
        sleep(Duration::from_secs(3600)).await;
        assert_eq!(written(), lines(&[(1500, "b+2")]), "once, and nothing after that");
        seldom.say("e", write);
        seldom.say("f", write);
        sleep(Duration::from_secs(1)).await;
        seldom.say("g", write);
        sleep(Duration::from_secs(3600)).await;
        let hour = 3_600_400;
        assert_eq!(written(), lines(&[(hour, "e+0"), (hour + 1000, "g+1")]), "what the next line tells is told once");
    }

    #[tokio::test(start_paused = true)]
    async fn while_there_are_more_each_line_is_of_one_that_has_just_happened() {
        let seldom = Seldom::default();
        for n in 0..35 {
            seldom.say(n, write);
            advance(Duration::from_millis(100)).await;
        }
        sleep(Duration::from_secs(3600)).await;
        let want = [(0, "0+0"), (1000, "10+9"), (2000, "20+9"), (3000, "30+9"), (4500, "31+3")];
        assert_eq!(written(), lines(&want));
    }
}
