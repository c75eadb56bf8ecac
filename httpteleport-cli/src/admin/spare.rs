//! Files that are held back for the admin address, which is wanted most when there are none left.

use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};

/// Files that are held.
const HELD: usize = 8;
/// Files that a connection needs: itself, and what is read to answer.
const NEEDED: usize = 2;

/// Files that others cannot have.
pub(super) struct Spare(Mutex<Vec<File>>);

impl Spare {
    /// Holds as many as it should, as far as there are any.
    pub(super) fn new() -> Spare {
        let spare = Spare(Mutex::default());
        spare.fill();
        spare
    }

    /// Lets go of so many as one connection needs; says whether there were any.
    pub(super) fn let_go(&self) -> bool {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = held.len().saturating_sub(NEEDED);
        let some = !held.is_empty();
        held.truncate(left);
        some
    }

    /// Holds as many as it should again, as far as there are any.
    pub(super) fn fill(&self) {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while held.len() < HELD {
            match File::open("/dev/null") {
                Ok(file) => held.push(file),
                Err(_) => return,
            }
        }
    }
}

/// Files that are held again once this is dropped.
pub(super) struct Refilled(pub(super) Arc<Spare>);

impl Drop for Refilled {
    fn drop(&mut self) {
        self.0.fill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_lets_go_until_there_are_none_and_holds_them_again() {
        let spare = Spare::new();
        assert_eq!((0..6).map(|_| spare.let_go()).collect::<Vec<_>>(), [true, true, true, true, false, false]);
        spare.fill();
        assert!(spare.let_go());
    }
}
