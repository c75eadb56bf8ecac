//! Programs that lie beside this one. Cargo puts those of one profile into one folder, though each only when it is asked
//! to: one that was built some time ago may be of other source.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Where the program of this name lies, or would.
#[must_use]
pub fn beside(name: &str) -> PathBuf {
    let own = std::env::current_exe().unwrap_or_default();
    own.with_file_name(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}

/// Why `program` may not be what the source says, if it is older than that; `build` makes it anew.
#[must_use]
pub fn stale(program: &Path, build: &str) -> Option<String> {
    let newer = newer_source(program)?;
    Some(format!("{} is older than {}: {build}", program.display(), newer.display()))
}

/// A source of `program` that was changed after it was built. `cargo build` leaves a list of them beside it. (That it is
/// older than this program would say nothing: one build makes both, one after the other, or only that which is to be made.)
fn newer_source(program: &Path) -> Option<PathBuf> {
    let built = changed(program)?;
    let list = fs::read_to_string(program.with_extension("d")).ok()?;
    sources(&list).into_iter().find(|source| changed(source).is_some_and(|time| time > built))
}

fn changed(file: &Path) -> Option<SystemTime> {
    file.metadata().ok()?.modified().ok()
}

/// The paths of `PROGRAM: SOURCE SOURCE ..`, where a space in a path has a backslash before it.
fn sources(list: &str) -> Vec<PathBuf> {
    let (_, sources) = list.trim().split_once(": ").unwrap_or_default();
    let marked = sources.replace("\\ ", "\0");
    marked.split(' ').map(|source| source.replace('\0', " ").into()).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_program_is_stale_when_a_source_is_newer() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = |name: &str, seconds: u64| {
            let path = folder.path().join(name);
            let file = fs::File::create(&path).expect("a file");
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).expect("a time");
            path
        };
        let (program, source) = (at("program", 50), at("a source.rs", 40));
        assert_eq!(newer_source(&program), None);
        let list = format!("{}: {}\n", program.display(), source.display().to_string().replace(' ', "\\ "));
        fs::write(folder.path().join("program.d"), list).expect("a file");
        assert_eq!(newer_source(&program), None);
        at("a source.rs", 51);
        assert_eq!(newer_source(&program), Some(source));
        assert_eq!(newer_source(&folder.path().join("absent")), None);
    }
}
