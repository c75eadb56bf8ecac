//! What becomes of files, from one look at them to the next.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A file that is missed so many times in a row is gone. Before that it is about to be there: whoever replaces one may remove it first.
const GONE: u32 = 3;

/// What tells a file from another that was there before.
type Stamp = (u64, u64, SystemTime);
/// Those of the files that are there.
pub(super) type Stamps = HashMap<PathBuf, Stamp>;

/// Something to do about files.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum News {
    /// They are others than those that were read, and nobody writes them any more.
    Changed,
    /// These are gone, of which nothing was told.
    Gone(Vec<PathBuf>),
}

/// Files, and what they were.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// When they were read.
    read: Stamps,
    /// At the last look.
    last: Stamps,
    /// Looks in a row at which one was missing.
    missing: u32,
    /// Those of which it was told that they are gone. They are read when they are back, be it as they were.
    gone: Vec<PathBuf>,
}

impl Looks {
    /// Follows these files from now on, those that are new among them as read.
    pub(super) fn follow(&mut self, files: &[PathBuf]) {
        self.read.retain(|known, _| files.contains(known));
        self.gone.retain(|known| files.contains(known));
        for file in files {
            if let Some(stamp) = stamp(file).filter(|_| !self.read.contains_key(file)) {
                self.read.insert(file.clone(), stamp);
            }
        }
        self.last.clone_from(&self.read);
        self.missing = 0;
    }

    /// Looks at files that are so now.
    pub(super) fn look(&mut self, files: &[PathBuf], now: Stamps) -> Option<News> {
        let is_at_rest = now == self.last;
        self.last = now;
        let missing: Vec<_> = files.iter().filter(|file| !self.last.contains_key(*file)).cloned().collect();
        if missing.is_empty() {
            self.missing = 0;
            let is_new = self.last != self.read || !self.gone.is_empty();
            return (is_at_rest && is_new).then_some(News::Changed);
        }
        self.missing += 1;
        let untold: Vec<_> = missing.into_iter().filter(|file| !self.gone.contains(file)).collect();
        if self.missing < GONE || untold.is_empty() {
            return None;
        }
        self.gone.extend(untold.iter().cloned());
        Some(News::Gone(untold))
    }

    /// They are about to be read as they are now. Of what is missing that tells.
    pub(super) fn read(&mut self, files: &[PathBuf]) {
        self.read = stamps(files);
        self.gone = files.iter().filter(|file| !self.read.contains_key(*file)).cloned().collect();
    }
}

/// How files look now.
pub(super) fn stamps(files: &[PathBuf]) -> Stamps {
    files.iter().filter_map(|file| Some((file.clone(), stamp(file)?))).collect()
}

fn stamp(file: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(file).ok()?;
    Some((metadata.ino(), metadata.len(), metadata.modified().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two files that were read, in a folder.
    fn two() -> (tempfile::TempDir, Vec<PathBuf>, Looks) {
        let folder = tempfile::tempdir().expect("a folder");
        let files: Vec<_> = ["a", "b"].iter().map(|name| folder.path().join(name)).collect();
        files.iter().for_each(|file| fs::write(file, "x").expect("written"));
        let mut looks = Looks::default();
        looks.follow(&files);
        (folder, files, looks)
    }

    #[test]
    fn what_is_missing_for_a_moment_is_replaced() {
        let (_folder, files, mut looks) = two();
        assert_eq!(looks.look(&files, stamps(&files)), None);
        fs::remove_file(&files[0]).expect("removed");
        for _ in 1..GONE {
            assert_eq!(looks.look(&files, stamps(&files)), None);
        }
        fs::write(&files[0], "new").expect("written");
        assert_eq!(looks.look(&files, stamps(&files)), None, "it may be half written");
        assert_eq!(looks.look(&files, stamps(&files)), Some(News::Changed));
        looks.read(&files);
        assert_eq!(looks.look(&files, stamps(&files)), None);
    }

    #[test]
    fn what_is_gone_is_told_once_and_read_when_it_is_back() {
        let (folder, files, mut looks) = two();
        let away = folder.path().join("away");
        fs::rename(&files[1], &away).expect("moved");
        let told: Vec<_> = (0..9).filter_map(|_| looks.look(&files, stamps(&files))).collect();
        assert_eq!(told, [News::Gone(vec![files[1].clone()])]);
        fs::remove_file(&files[0]).expect("removed");
        assert_eq!(looks.look(&files, stamps(&files)), Some(News::Gone(vec![files[0].clone()])), "the other one too");
        fs::write(&files[0], "x").expect("written");
        assert_eq!(looks.look(&files, stamps(&files)), None, "one of them is back");
        fs::rename(&away, &files[1]).expect("moved");
        // Meanwhile it may be that somebody asks what there is to follow.
        looks.follow(&files);
        assert_eq!(looks.look(&files, stamps(&files)), None);
        assert_eq!(looks.look(&files, stamps(&files)), Some(News::Changed));
        looks.read(&files);
        assert_eq!(looks.look(&files, stamps(&files)), None);
    }

    #[test]
    fn what_comes_back_as_it_was_is_read() {
        let (folder, files, mut looks) = two();
        let away = folder.path().join("away");
        fs::rename(&files[0], &away).expect("moved");
        for _ in 0..GONE {
            looks.look(&files, stamps(&files));
        }
        fs::rename(&away, &files[0]).expect("moved");
        looks.follow(&files);
        assert_eq!(looks.look(&files, stamps(&files)), Some(News::Changed));
    }

    #[test]
    fn what_was_missing_when_it_was_read_is_told_already() {
        let (_folder, files, mut looks) = two();
        fs::remove_file(&files[0]).expect("removed");
        looks.read(&files);
        looks.follow(&files);
        assert!((0..9).all(|_| looks.look(&files, stamps(&files)).is_none()));
        looks.follow(&files[1..]);
        assert!((0..9).all(|_| looks.look(&files[1..], stamps(&files)).is_none()), "nobody follows it");
    }
}
