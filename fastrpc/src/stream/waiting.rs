//! Calls that wait for a connection, in the order in which they came.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// All of them.
#[derive(Default)]
pub(super) struct Waiting(Mutex<Calls>);

#[derive(Default)]
struct Calls {
    told: BTreeMap<u64, Arc<Notify>>,
    next: u64,
}

/// One of them, until it is dropped.
pub(super) struct Turn<'a> {
    waiting: &'a Waiting,
    number: u64,
    told: Arc<Notify>,
}

impl Waiting {
    pub(super) fn join(&self) -> Turn<'_> {
        let told = Arc::<Notify>::default();
        let mut calls = self.lock();
        let number = calls.next;
        calls.next += 1;
        calls.told.insert(number, told.clone());
        drop(calls);
        Turn { waiting: self, number, told }
    }

    /// Tells the oldest to give up; whether there was one.
    pub(super) fn displace_oldest(&self) -> bool {
        let oldest = self.lock().told.pop_first();
        oldest.inspect(|(_, told)| told.notify_one()).is_some()
    }

    fn lock(&self) -> MutexGuard<'_, Calls> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Turn<'_> {
    /// Waits until it is told to give up. Cancel safe.
    pub(super) async fn displaced(&mut self) {
        self.told.notified().await;
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.waiting.lock().told.remove(&self.number);
    }
}
