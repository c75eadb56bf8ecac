//! What the files given hold.

use std::path::PathBuf;

use anyhow::bail;

use super::cost::recorded::{self, Recording, is_recording};
use super::cost::sample::Sample;
use super::har;

/// What was read of one recording.
pub(super) struct Recorded {
    /// Its exchanges, or the first of them.
    pub(super) sample: Sample,
    /// How many it has, where that is known.
    pub(super) all: Option<usize>,
    /// What could not be carried: why, and how many.
    pub(super) left_out: Vec<(String, usize)>,
    /// Replies that the network carried compressed, and that are taken as they were before.
    pub(super) decoded: usize,
}

/// Reads so many bytes of each recording. Recordings of event streams are told on stderr and left out, as their pieces do not
/// say which reply they continue.
///
/// # Errors
///
/// One line that names the file, or says that nothing is left.
pub(super) fn read(files: &[PathBuf], bytes: usize) -> anyhow::Result<Vec<Recorded>> {
    let (mut all, mut streams) = (Vec::new(), Vec::new());
    // Either file of a pair stands for both.
    let mut pairs: Vec<Recording> = Vec::new();
    for path in files {
        if !(path.is_dir() || is_recording(path)) {
            all.push(har::read(path, bytes)?);
            continue;
        }
        for recording in recorded::find(std::slice::from_ref(path))? {
            if pairs.contains(&recording) {
                continue;
            }
            match recording.read(bytes)? {
                Some(sample) => all.push(Recorded { sample, all: None, left_out: Vec::new(), decoded: 0 }),
                None => streams.push(format!("{}: is a recording of event streams", recording.path().display())),
            }
            pairs.push(recording);
        }
    }
    match streams.first() {
        Some(first) if all.is_empty() => bail!("{first}; give one of whole messages"),
        _ => streams.iter().for_each(|line| eprintln!("httptp: left out: {line}")),
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_another_kind_is_taken_for_a_har() {
        let error = |path: &str| format!("{:#}", read(&[path.into()], 1).map(|_| ()).expect_err(path));
        assert!(error("Cargo.toml").starts_with("Cargo.toml: is no HAR: "), "{}", error("Cargo.toml"));
        assert!(error("src").starts_with("src: holds no NAME.req.zst"), "{}", error("src"));
        assert!(error("none.req.zst").starts_with("none.req.zst: "), "{}", error("none.req.zst"));
    }
}
