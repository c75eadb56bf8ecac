//! Unix sockets, and the files that they are reached by.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, bail};
use rustix::fs::{Access, OFlags, access};
use tokio::net::{UnixListener, UnixSocket, UnixStream};

use super::MOST_WAITING;
use crate::misfit::Misfit;
use crate::outbound::plain;

const NO_SOCKET: &str = "a file of that name exists and is no socket; remove it or choose another path";

/// Who may connect to a unix socket: the permissions of its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mode(u32);

impl Mode {
    /// Its owner alone.
    pub(crate) const PRIVATE: Mode = Mode(0o600);

    /// Reads three octal digits, perhaps with a 0 before them. The owner has to be able to read and write: nobody else can mend the
    /// file, and an octal number that was read as a decimal one never says so.
    ///
    /// # Errors
    ///
    /// What to write. The text given is not repeated in it.
    pub(crate) fn parse(text: &str) -> Result<Mode, &'static str> {
        let digits = text.strip_prefix('0').unwrap_or(text);
        let mode = u32::from_str_radix(digits, 8).ok().filter(|mode| digits.len() == 3 && mode & 0o600 == 0o600);
        mode.map(Mode)
            .ok_or("is no mode of a socket; write three octal digits of which the first is 6 or 7, such as \"660\"")
    }

    /// Gives the file of a socket this mode. Whoever may write to its folder can put another file or a link in its place: so it is
    /// opened as what it is, and nothing but a socket gets the mode.
    pub(super) fn apply(self, path: &Path) -> anyhow::Result<()> {
        let set = || {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = fs::File::from(rustix::fs::open(path, flags, rustix::fs::Mode::empty())?);
            if !file.metadata()?.file_type().is_socket() {
                return Err(io::Error::other("its file is no socket any more; remove what is there"));
            }
            // A file that was opened so can be changed by this name alone.
            fs::set_permissions(format!("/proc/self/fd/{}", file.as_raw_fd()), Permissions::from_mode(self.0))
        };
        set().map_err(|error| anyhow::anyhow!("cannot set the mode of the socket: {}", plain(&error)))
    }
}

/// Listens at a path, of which a stale socket is removed. Without a mode the process's umask decides who may connect.
pub(crate) async fn bind(path: &Path, mode: Option<Mode>) -> anyhow::Result<(UnixListener, SocketFile)> {
    check(path)?;
    remove_stale(path).await?;
    let socket = UnixSocket::new_stream().map_err(|error| anyhow::anyhow!("cannot listen: {error}"))?;
    socket.bind(path).map_err(|error| anyhow::anyhow!(no_room(&error)))?;
    let file = SocketFile::new(path);
    // Nobody can connect to a socket that does not listen yet, whatever the mode of its file: so it is never open wider than it should
    // be, and the umask, which is the whole process's, stays as it is.
    if let Some(mode) = mode {
        mode.apply(path)?;
    }
    let listener = socket.listen(MOST_WAITING).map_err(|error| anyhow::anyhow!("cannot listen: {error}"))?;
    Ok((listener, file))
}

/// Whether a socket could listen at the path of an option, as far as that is known without trying.
///
/// # Errors
///
/// One line that begins with the option and says what to do.
pub(crate) fn try_to(path: &Path, option: &str) -> anyhow::Result<()> {
    check(path).with_context(|| option.to_owned())
}

fn check(path: &Path) -> Result<(), Misfit> {
    if SocketAddr::from_pathname(path).is_err() {
        return Err(Misfit::new("the path is too long for a socket; use one of at most 107 bytes"));
    }
    if fs::symlink_metadata(path).is_ok_and(|there| !there.file_type().is_socket()) {
        return Err(Misfit::new(NO_SOCKET));
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    access(folder, Access::WRITE_OK | Access::EXEC_OK).map_err(|error| Misfit::new(no_room(&error.into())))
}

/// Why no socket's file can be made.
fn no_room(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "its directory does not exist; create it".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied: its directory must be writable".to_owned(),
        _ => format!("cannot listen: {}", plain(error)),
    }
}

/// Removes what a program that died has left behind: only a socket, and only when nobody answers on it.
async fn remove_stale(path: &Path) -> anyhow::Result<()> {
    let Ok(metadata) = fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !metadata.file_type().is_socket() {
        bail!(NO_SOCKET);
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).context("cannot remove the stale socket file")
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => {
            bail!("cannot tell whether the socket there is in use: {error}; remove it or choose another path")
        }
        Ok(_) => bail!("address in use: another program listens there; stop it or choose another path"),
    }
}

/// A socket's file. If it is this process's it is removed when its listener is dropped.
pub(crate) struct SocketFile {
    path: PathBuf,
    ours: AtomicBool,
}

impl SocketFile {
    /// One that this process has made.
    fn new(path: &Path) -> SocketFile {
        SocketFile { path: path.to_owned(), ours: AtomicBool::new(true) }
    }

    /// One that somebody else removes.
    pub(crate) fn of_another(path: PathBuf) -> SocketFile {
        SocketFile { path, ours: AtomicBool::new(false) }
    }

    /// Whether it is this process's from now on.
    pub(crate) fn own(&self, ours: bool) {
        self.ours.store(ours, Ordering::Relaxed);
    }

    /// Gives it another mode.
    pub(super) fn set_mode(&self, mode: Mode) -> anyhow::Result<()> {
        mode.apply(&self.path)
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if *self.ours.get_mut() {
            // Gone already is fine, and nothing can be done about the rest.
            let _ = fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_or_a_file_in_the_socket_s_place_keeps_its_mode() {
        let folder = tempfile::tempdir().expect("a folder");
        let [file, link, socket] = ["file", "link", "socket"].map(|name| folder.path().join(name));
        fs::write(&file, "secret").expect("written");
        fs::set_permissions(&file, Permissions::from_mode(0o600)).expect("its owner's");
        std::os::unix::fs::symlink(&file, &link).expect("a link");
        let _listens = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
        assert!(Mode(0o666).apply(&link).is_err() && Mode(0o666).apply(&file).is_err());
        Mode(0o666).apply(&socket).expect("it is one");
        let mode = |path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
        assert_eq!((mode(&file), mode(&socket)), (0o600, 0o666));
    }

    #[test]
    fn modes_are_octal_and_leave_the_owner_in() {
        for (text, want) in [("660", 0o660), ("0600", 0o600), ("777", 0o777), ("0666", 0o666)] {
            assert_eq!(Mode::parse(text), Ok(Mode(want)), "{text}");
        }
        // 432 is what TOML makes of 0o660.
        for text in
            ["", "0", "66", "6", "00660", "668", "0o660", "432", "460", "060", "1660", "+660", "-600", "rw", "6 0"]
        {
            assert!(Mode::parse(text).is_err(), "{text}");
        }
        let decimals = (0o600..=0o777).map(|mode: u32| mode.to_string());
        assert!(decimals.into_iter().all(|text| Mode::parse(&text).is_err()), "an octal number read as a decimal one");
    }
}
