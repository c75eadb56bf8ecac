//! Files that are written whole, for their owner or for everybody.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyhow::{Context, anyhow};

use crate::outbound::plain;

/// Who may read a file.
#[derive(Clone, Copy)]
pub(crate) enum Secrecy {
    /// Whoever runs this program, and nobody else.
    Owner,
    /// Anybody.
    Everybody,
}

/// Makes the folder of an option, if there is none, for its owner alone.
///
/// # Errors
///
/// It cannot be made: one line that names the option.
pub(crate) fn folder(path: &Path, option: &str) -> anyhow::Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|error| anyhow!("{option} {}: cannot make the folder: {}", path.display(), plain(&error)))
}

/// Writes a file that is not there, or with `replace` one that may be; nobody sees half of it then.
///
/// # Errors
///
/// It cannot be written: one line that names it.
pub(crate) fn write(path: &Path, text: &str, secrecy: Secrecy, replace: bool) -> anyhow::Result<()> {
    let written = if replace { replaced(path, text, secrecy) } else { create(path, text, secrecy) };
    written
        .map_err(|error| anyhow!("cannot write the file: {}", plain(&error)))
        .with_context(|| path.display().to_string())
}

fn replaced(path: &Path, text: &str, secrecy: Secrecy) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let next = path.with_file_name(name);
    // One that was left half-written.
    match fs::remove_file(&next) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    create(&next, text, secrecy)?;
    fs::rename(next, path)
}

fn create(path: &Path, text: &str, secrecy: Secrecy) -> io::Result<()> {
    let mode = match secrecy {
        Secrecy::Owner => 0o600,
        Secrecy::Everybody => 0o644,
    };
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
