//! Files that are written whole, for their owner or for everybody; and whether one can be.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyhow::{Context, anyhow};
use rustix::fs::{Access, access};

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

/// Whether a file can be written, or made if it is not there. Nothing is made.
///
/// # Errors
///
/// Why not, in a line.
pub(crate) fn writable(path: &Path) -> Result<(), String> {
    let plain = |error| plain(&error);
    match fs::metadata(path) {
        Ok(there) if there.is_dir() => Err("is a folder".to_owned()),
        Ok(_) => access(path, Access::WRITE_OK).map_err(|error| plain(error.into())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            if folder.is_dir() { is_room(folder) } else { Err(format!("there is no folder {}", folder.display())) }
        }
        Err(error) => Err(plain(error)),
    }
}

/// Whether there is a folder in which files can be made, or one can be made. Nothing is made.
///
/// # Errors
///
/// Why not, in a line.
pub(crate) fn is_room(folder: &Path) -> Result<(), String> {
    let there = folder.ancestors().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    let there = there.into_iter().find(|folder| folder.exists()).unwrap_or(folder);
    if !there.is_dir() {
        return Err(format!("{} is no folder", there.display()));
    }
    let made = access(there, Access::WRITE_OK | Access::EXEC_OK);
    made.map_err(|error| format!("nothing can be made in {}: {}", there.display(), plain(&error.into())))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whether_a_file_can_be_written_is_known_without_making_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str| folder.path().join(name);
        assert_eq!(writable(&at("a.log")), Ok(()));
        assert!(!at("a.log").exists());
        fs::write(at("a.log"), "kept").expect("written");
        assert_eq!(writable(&at("a.log")), Ok(()));
        assert_eq!(fs::read_to_string(at("a.log")).expect("there"), "kept");
        assert_eq!(writable(folder.path()), Err("is a folder".to_owned()));
        assert_eq!(writable(&at("b/a.log")), Err(format!("there is no folder {}", at("b").display())));
        assert_eq!(writable(&at("a.log/b")), Err("not a directory".to_owned()));
    }
}
