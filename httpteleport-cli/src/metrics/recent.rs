//! What went wrong lately, for whoever looks: a few lines, each with how often it happened.

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

/// Lines kept.
const MOST: usize = 50;
/// Characters of a line.
const LONGEST: usize = 240;

/// The last things that went wrong. Its size does not depend on how many there are.
#[derive(Debug, Default)]
pub(crate) struct Recent(Mutex<Vec<Trouble>>);

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// In one line.
    pub(crate) what: String,
    /// How often it happened since it was last forgotten.
    pub(crate) count: u64,
    /// The first time and the last.
    pub(crate) first: SystemTime,
    pub(crate) last: SystemTime,
}

impl Recent {
    /// It has happened, perhaps again. While somebody else notes something it is not noted: nobody waits for this.
    pub(crate) fn note(&self, what: impl FnOnce() -> String) {
        let Ok(mut troubles) = self.0.try_lock() else { return };
        let what = short(what());
        let now = SystemTime::now();
        if let Some(index) = troubles.iter().position(|trouble| trouble.what == what) {
            let mut trouble = troubles.remove(index);
            trouble.count += 1;
            trouble.last = now;
            return troubles.push(trouble);
        }
        if troubles.len() == MOST {
            troubles.remove(0);
        }
        troubles.push(Trouble { what, count: 1, first: now, last: now });
    }

    /// All that are kept, the last one first.
    pub(crate) fn all(&self) -> Vec<Trouble> {
        let troubles = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        troubles.iter().rev().cloned().collect()
    }
}

fn short(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(LONGEST) {
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happens_again_is_one_line_and_old_ones_go() {
        let recent = Recent::default();
        for n in 0..MOST + 5 {
            recent.note(|| format!("trouble {n}"));
            recent.note(|| "the same".to_owned());
        }
        let all = recent.all();
        assert_eq!(all.len(), MOST);
        assert_eq!((all[0].what.as_str(), all[0].count), ("the same", MOST as u64 + 5));
        assert_eq!(all[1].what, format!("trouble {}", MOST + 4));
        assert!(!all.iter().any(|trouble| trouble.what == "trouble 3"));
    }

    #[test]
    fn a_line_has_an_end() {
        let recent = Recent::default();
        recent.note(|| "ü".repeat(10_000));
        assert_eq!(recent.all()[0].what.chars().count(), LONGEST + 1);
    }
}
