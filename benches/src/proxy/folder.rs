//! The temporary files of a run: gone with it, or with the next one if it was killed.

use std::path::Path;
use std::{env, fs, process};

use anyhow::{Context as _, Result, anyhow};
use tempfile::TempDir;

/// What names of folders begin with; the process follows, and what makes them unique.
const NAME: &str = "httpteleport-proxy-";

/// Removes what killed runs left, and gives the folder of this one, in which all temporary files are made from now on.
///
/// # Errors
///
/// It cannot be made, or temporary files have a folder already.
pub fn of_this_run() -> Result<TempDir> {
    let all = env::temp_dir();
    remove_left(&all);
    let folder = tempfile::Builder::new().prefix(&format!("{NAME}{}-", process::id())).tempdir_in(&all);
    let folder = folder.with_context(|| format!("no folder can be made in {}", all.display()))?;
    let taken = |other: std::path::PathBuf| anyhow!("temporary files go to {} already", other.display());
    tempfile::env::override_temp_dir(folder.path()).map_err(taken)?;
    Ok(folder)
}

/// Removes the folders whose process is no more.
fn remove_left(all: &Path) {
    let Ok(entries) = all.read_dir() else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(NAME)?.split_once('-')?.0.parse::<u32>().ok());
        if process.is_some_and(|id| !Path::new(&format!("/proc/{id}")).exists()) {
            // Another run may be at it, and it may be another user's.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_dead_process_left_is_removed() {
        let all = tempfile::tempdir().expect("a folder");
        let dead = all.path().join(format!("{NAME}{}-x", u32::MAX));
        let alive = all.path().join(format!("{NAME}{}-x", process::id()));
        let other = all.path().join("other");
        for folder in [&dead, &alive, &other] {
            fs::create_dir(folder).expect("a folder");
        }
        remove_left(all.path());
        assert_eq!([&dead, &alive, &other].map(|folder| folder.exists()), [false, true, true]);
    }
}
