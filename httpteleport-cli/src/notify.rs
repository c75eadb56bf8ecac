//! What the service manager is told, if one listens (sd_notify(3)): systemd with `Type=notify`.

use sd_notify::NotifyState;

/// Everything serves; settings that were to be read are in force, or refused.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// Settings are read again.
pub(crate) fn reloading() {
    // Some versions of systemd want to know since when.
    let since = NotifyState::monotonic_usec_now().ok();
    tell(&[Some(NotifyState::Reloading), since].into_iter().flatten().collect::<Vec<_>>());
}

/// Draining has begun.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!("NOTIFY_SOCKET: the service manager cannot be told of this process: {error}");
    }
}
