//! What is in the files of certificates and keys, to know whether that has changed.

use std::path::Path;

use ring::digest::{Context, SHA256};

/// Tells what is in some files from anything else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Digest(Vec<u8>);

/// What is in these files now. One that cannot be read counts as one that is empty; whoever needs it says why.
pub(crate) fn digest<'a>(files: impl IntoIterator<Item = &'a Path>) -> Digest {
    let mut all = Context::new(&SHA256);
    for file in files {
        let bytes = std::fs::read(file).unwrap_or_default();
        all.update(&(bytes.len() as u64).to_le_bytes());
        all.update(&bytes);
    }
    Digest(all.finish().as_ref().to_vec())
}
