//! The signals that a process serves by: those that end it, and those that ask it for something.

use std::process;

use anyhow::Context as _;
use tokio::runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// The exit code when a second signal ends the program at once.
const CUT_OFF: i32 = 1;

/// Waits for what SIGHUP and SIGUSR1 ask for. From when they are taken neither of them ends the process, and none is lost.
pub(crate) struct Asked {
    /// Read the settings again, and the files that they name.
    pub(crate) reload: Hangups,
    /// Open logs again that were moved away.
    pub(crate) reopen: Reopenings,
}

impl Asked {
    /// Takes over both. It needs no runtime, so that it can be the first thing that a process does.
    ///
    /// # Errors
    ///
    /// The system gives no signal handler.
    pub(crate) fn take() -> anyhow::Result<Asked> {
        // What waits for a signal belongs to no runtime: the next one tells it of what has come meanwhile.
        let first = runtime::Builder::new_current_thread().enable_io().build().context("cannot handle signals")?;
        first.block_on(async {
            let user = take(SignalKind::user_defined1())?;
            Ok(Asked { reload: Hangups::take()?, reopen: Reopenings { user, hangup: Hangups::take()? } })
        })
    }
}

/// The signal that asks for the settings to be read again.
pub(crate) struct Hangups(Signal);

impl Hangups {
    fn take() -> anyhow::Result<Hangups> {
        Ok(Hangups(take(SignalKind::hangup())?))
    }

    /// Waits for the next one. Cancel safe.
    pub(crate) async fn next(&mut self) {
        if self.0.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

/// The signals that tell that logs were moved away: SIGUSR1 and SIGHUP.
pub(crate) struct Reopenings {
    user: Signal,
    hangup: Hangups,
}

impl Reopenings {
    /// Waits for the next one. Cancel safe.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.user.recv() => {}
            () = self.hangup.next() => {}
        }
    }
}

/// The signals that end the program. Made before anything is announced, so that none is lost.
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes over SIGTERM and SIGINT.
    ///
    /// # Errors
    ///
    /// The system gives no signal handler.
    pub(crate) fn take() -> anyhow::Result<Signals> {
        Ok(Signals { terminate: take(SignalKind::terminate())?, interrupt: take(SignalKind::interrupt())? })
    }

    /// Has the next one end the program at once.
    pub(crate) fn end_at_next(mut self) {
        tokio::spawn(async move {
            self.next().await;
            #[expect(clippy::disallowed_methods, reason = "who asks twice wants no more waiting")]
            process::exit(CUT_OFF);
        });
    }

    /// Waits for the next one. Cancel safe.
    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

fn take(kind: SignalKind) -> anyhow::Result<Signal> {
    signal(kind).context("cannot handle signals")
}
