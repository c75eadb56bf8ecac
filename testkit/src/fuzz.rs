//! The bodies of the fuzz targets, and the runner of their committed corpus.
//!
//! A target in `fuzz/fuzz_targets/` is one line that calls a function of this module. A test calls [`run_corpus`] with the
//! same function, so that everything a fuzzer has ever found stays found, on the stable toolchain too.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

mod decompress;
mod framed_heads;
mod frames;
mod golden_reader;
mod hello;
mod http;
mod pending;
mod records;
#[cfg(feature = "virtual-time")]
mod session;
mod streams;

pub use decompress::{flate, snappy};
pub use framed_heads::framed_heads;
pub use frames::{frames_client, frames_server};
pub use golden_reader::golden_reader;
pub use hello::hello;
pub use http::{http_reply, http_request};
pub use pending::pending;
pub use records::records;
#[cfg(feature = "virtual-time")]
pub use session::{session_damage, session_server};
pub use streams::streams;

/// Runs `body` over each file of `fuzz/corpus/TARGET/`, in the order of their names; returns how many there were.
///
/// # Panics
///
/// The folder is missing or empty, or `body` panics; the file is then named on stderr.
pub fn run_corpus(target: &str, body: impl Fn(&[u8])) -> usize {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let entries = fs::read_dir(&folder).unwrap_or_else(|error| panic!("fuzz/corpus/{target}: {error}"));
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    files.sort();
    assert!(!files.is_empty(), "fuzz/corpus/{target} is empty: a target needs at least one input");
    for file in &files {
        let input = fs::read(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| body(&input))) {
            let name = file.file_name().unwrap_or_default().display();
            eprintln!("fuzz/corpus/{target}/{name} makes the target {target} panic");
            resume_unwind(panic);
        }
    }
    files.len()
}
