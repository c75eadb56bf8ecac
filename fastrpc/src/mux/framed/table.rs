//! The streams of a connection: found by key from this side, by id from the wire.

use std::collections::VecDeque;

use super::ids::Ids;

/// Names a stream on this side, from before it has an id until nothing holds it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// Finds nothing.
    pub(super) const NONE: Self = Self { index: u32::MAX, generation: 0 };
}

struct Slot<S> {
    generation: u32,
    entry: Option<S>,
}

/// A slab of streams, and the ids of those that the wire may still name.
pub(super) struct Table<S> {
    slots: Vec<Slot<S>>,
    free: Vec<u32>,
    /// The generation of slots that are new: above all of before, whose keys may still lie in some queue.
    base: u32,
    ids: Ids,
}

impl<S> Default for Table<S> {
    fn default() -> Self {
        Self { slots: Vec::new(), free: Vec::new(), base: 0, ids: Ids::default() }
    }
}

impl<S> Table<S> {
    /// Slots kept when all are free.
    const KEEP: usize = 1024;
    /// Keys of streams that are gone that may lie in a queue in any case.
    const UNTIDY: usize = 64;

    pub(super) fn insert(&mut self, entry: S) -> Key {
        if let Some(index) = self.free.pop() {
            let slot = &mut self.slots[index as usize];
            slot.entry = Some(entry);
            return Key { index, generation: slot.generation };
        }
        let index = u32::try_from(self.slots.len()).expect("calls are limited far below 2^32");
        self.slots.push(Slot { generation: self.base, entry: Some(entry) });
        Key { index, generation: self.base }
    }

    /// Forgets a stream, if `unwanted` says so, after `last` has taken what it needs of it.
    pub(super) fn remove<R>(
        &mut self,
        key: Key,
        unwanted: impl FnOnce(&mut S) -> bool,
        last: impl FnOnce(&mut S) -> R,
    ) -> Option<R> {
        let slot = self.slots.get_mut(key.index as usize).filter(|slot| slot.generation == key.generation)?;
        let entry = slot.entry.as_mut()?;
        if !unwanted(entry) {
            return None;
        }
        let result = last(entry);
        slot.entry = None; // Dropped where it lies: it is large.
        slot.generation = slot.generation.wrapping_add(1);
        self.free.push(key.index);
        if self.free.len() == self.slots.len() && self.slots.len() > Self::KEEP {
            let newest = self.slots.iter().map(|slot| slot.generation).max().unwrap_or(self.base);
            *self = Self { base: newest.wrapping_add(1), ..Self::default() };
        }
        Some(result)
    }

    pub(super) fn get(&self, key: Key) -> Option<&S> {
        let slot = self.slots.get(key.index as usize).filter(|slot| slot.generation == key.generation)?;
        slot.entry.as_ref()
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut S> {
        let slot = self.slots.get_mut(key.index as usize).filter(|slot| slot.generation == key.generation)?;
        slot.entry.as_mut()
    }

    /// From here on the wire names it so.
    pub(super) fn name(&mut self, id: u32, key: Key) {
        self.ids.name(id, key);
    }

    /// The wire names it no more.
    pub(super) fn unname(&mut self, id: u32) {
        self.ids.unname(id);
    }

    pub(super) fn key(&self, id: u32) -> Option<Key> {
        self.ids.get(id)
    }

    /// Streams that the wire may still name.
    pub(super) fn named(&self) -> usize {
        self.ids.len()
    }

    /// Streams in all.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Takes keys out of a queue that are not in it for anything any more, if they may be the most: each stream is in it once.
    pub(super) fn tidy(&self, queue: &mut VecDeque<Key>, waits: impl Fn(&S) -> bool) {
        if queue.len() > 2 * self.len() + Self::UNTIDY {
            queue.retain(|key| self.get(*key).is_some_and(&waits));
        }
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &S> {
        self.slots.iter().filter_map(|slot| slot.entry.as_ref())
    }

    pub(super) fn keys(&self) -> Vec<Key> {
        let keys = (0u32..).zip(&self.slots).filter(|(_, slot)| slot.entry.is_some());
        keys.map(|(index, slot)| Key { index, generation: slot.generation }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_before_finds_nothing() {
        let mut table = Table::default();
        let first = table.insert("first");
        table.name(1, first);
        assert_eq!((table.key(1), table.get(first), table.len(), table.named()), (Some(first), Some(&"first"), 1, 1));
        table.unname(1);
        assert_eq!(table.remove(first, |_| false, |_| ()), None);
        assert_eq!(table.remove(first, |_| true, |entry| *entry), Some("first"));
        let second = table.insert("second");
        assert_eq!(table.remove(first, |_| true, |_| ()), None);
        assert_eq!((table.get(first), table.get(second)), (None, Some(&"second")));
        assert_eq!((table.keys(), table.key(1)), (vec![second], None));
    }

    #[test]
    fn memory_of_a_burst_is_given_back() {
        let mut table = Table::default();
        let keys: Vec<_> = (0..5000).map(|n| table.insert(n)).collect();
        keys.iter().for_each(|key| assert!(table.remove(*key, |_| true, |_| ()).is_some()));
        assert_eq!((table.slots.capacity(), table.len()), (0, 0));
        let new = table.insert(5000);
        assert!(keys.iter().all(|key| table.get(*key).is_none() && *key != new), "keys of before find nothing");
    }
}
