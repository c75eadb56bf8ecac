//! Which stream the wire means by an id.

use std::collections::{HashMap, VecDeque};

use super::table::Key;

/// Ids only rise, and most streams are short: they lie in a row from the oldest one on. Those that outlive many others are
/// moved out of it.
#[derive(Default)]
pub(super) struct Ids {
    /// The id of the first one in the row: above all that are not in it.
    first: u32,
    row: VecDeque<Option<Key>>,
    old: HashMap<u32, Key>,
    /// How many there are.
    named: usize,
}

impl Ids {
    /// Places in the row for each stream that is named, and some more.
    const SPREAD: usize = 4;
    const LEAST: usize = 1024;

    /// From here on an id means this stream. Most are above all of before.
    pub(super) fn name(&mut self, id: u32, key: Key) {
        if self.row.is_empty() {
            self.first = self.first.max(id);
        }
        if id < self.first || self.place(id).is_some() {
            return self.name_late(id, key);
        }
        let gap = (id - self.first) as usize - self.row.len();
        if gap > 0 {
            self.skip(gap, id);
        }
        self.row.push_back(Some(key));
        self.named += 1;
        while self.row.len() > Self::SPREAD * self.named + Self::LEAST {
            self.move_out();
        }
    }

    /// A call of before becomes a stream.
    fn name_late(&mut self, id: u32, key: Key) {
        let before = match self.place(id) {
            Some(place) => self.row[place].replace(key),
            None => self.old.insert(id, key),
        };
        debug_assert!(before.is_none(), "an id means one stream");
        self.named += 1;
    }

    /// It means none any more.
    pub(super) fn unname(&mut self, id: u32) {
        let found = match self.place(id) {
            Some(place) => self.row[place].take(),
            None => self.old.remove(&id),
        };
        self.named -= usize::from(found.is_some());
        while let Some(None) = self.row.front() {
            self.row.pop_front();
            self.first += 1;
        }
    }

    pub(super) fn get(&self, id: u32) -> Option<Key> {
        match self.place(id) {
            Some(place) => self.row[place],
            None => self.old.get(&id).copied(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.named
    }

    fn place(&self, id: u32) -> Option<usize> {
        let place = id.checked_sub(self.first)? as usize;
        (place < self.row.len()).then_some(place)
    }

    /// So many ids before this one mean none.
    fn skip(&mut self, gap: usize, id: u32) {
        if gap <= Self::LEAST {
            return self.row.extend(std::iter::repeat_n(None, gap));
        }
        while !self.row.is_empty() {
            self.move_out();
        }
        self.first = id;
    }

    /// The oldest one leaves the row.
    fn move_out(&mut self) {
        if let Some(key) = self.row.pop_front() {
            self.old.extend(key.map(|key| (self.first, key)));
            self.first += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::Table;
    use super::*;

    #[test]
    fn an_id_means_its_stream_until_that_is_over() {
        let mut table = Table::default();
        let keys: Vec<_> = (0..5).map(|n| table.insert(n)).collect();
        let mut ids = Ids::default();
        for (id, key) in [1, 2, 5, 6, 5000].into_iter().zip(&keys) {
            ids.name(id, *key);
        }
        assert_eq!([1, 2, 5, 6, 5000].map(|id| ids.get(id)), std::array::from_fn(|at| Some(keys[at])));
        assert_eq!([0, 3, 4, 7, 4999, 5001].map(|id| ids.get(id)), [None; 6]);
        for id in [2, 1, 2, 3, 5000, 9000] {
            ids.unname(id);
        }
        assert_eq!([1, 2, 5, 6, 5000].map(|id| ids.get(id)), [None, None, Some(keys[2]), Some(keys[3]), None]);
        assert_eq!(ids.len(), 2);
    }

    #[test]
    fn one_that_outlives_very_many_is_found_and_holds_no_memory_for_them() {
        let mut table = Table::default();
        let (long, short) = (table.insert("long"), table.insert("short"));
        let mut ids = Ids::default();
        ids.name(1, long);
        for id in 2..100_000 {
            ids.name(id, short);
            assert_eq!((ids.get(id), ids.get(1)), (Some(short), Some(long)));
            ids.unname(id);
        }
        assert!(ids.row.len() < 2000 && ids.old.len() == 1, "{} places", ids.row.len());
        ids.unname(1);
        assert_eq!((ids.get(1), ids.len(), ids.old.len()), (None, 0, 0));
    }

    #[test]
    fn one_that_is_named_late_hides_none_that_has_left_the_row() {
        let mut table = Table::default();
        let keys: Vec<_> = (0..4).map(|n| table.insert(n)).collect();
        let mut ids = Ids::default();
        ids.name(10, keys[0]);
        ids.name(5000, keys[1]); // So far behind that the first one leaves the row.
        ids.unname(5000);
        ids.name(9, keys[2]);
        ids.name(11, keys[3]);
        assert_eq!([9, 10, 11].map(|id| ids.get(id)), [Some(keys[2]), Some(keys[0]), Some(keys[3])]);
        [10, 11, 9].into_iter().for_each(|id| ids.unname(id));
        assert_eq!((ids.len(), ids.old.len()), (0, 0));
    }
}
