//! How many files and connections the process may have open.

use std::io;

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::config::CONCURRENCY;

/// Files that are for something else than connections of clients and of upstreams: sockets that listen, logs, certificates, the admin
/// address. Where few files may be open at all it is a quarter of them.
const RESERVE: u64 = 64;

/// Raises the limit to the most that the system lets this process have. Systems begin with 1024, for programs that cannot deal with more,
/// and leave it to the others to ask.
pub(crate) fn raise_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!("the limit of open files stays where it is: {error}");
    }
}

/// Files that may be open; `None` for as many as there are.
pub(crate) fn limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Connections that clients may have at a time, each of which may need another one to an upstream.
pub(crate) fn most_clients() -> usize {
    limit().map_or(usize::MAX, |files| usize::try_from(fit(files)).unwrap_or(usize::MAX))
}

fn fit(files: u64) -> u64 {
    ((files - RESERVE.min(files / 4)) / 2).max(1)
}

/// Whether an error says that there are no files left.
pub(crate) fn is_of_files(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

/// Says so if there may be fewer connections of clients than these; where nobody asked for that many, as news.
pub(crate) fn tell_if_few(concurrency: usize) {
    // No limit is none.
    let Some(files) = limit() else { return };
    let fit = fit(files);
    if fit >= concurrency as u64 {
        return;
    }
    if concurrency == CONCURRENCY {
        tracing::info!(
            "the limit of open files is {files}, enough for {fit} connections of clients; for more raise LimitNOFILE (ulimit -n)"
        );
    } else {
        tracing::warn!(
            "the limit of open files is {files}, enough for {fit} connections of clients, and --concurrency is {concurrency}: raise \
             LimitNOFILE (ulimit -n) above {}, or lower --concurrency to {fit}",
            2 * concurrency as u64 + RESERVE
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_files_are_for_clients_but_for_those_that_others_need() {
        assert_eq!([1, 4, 90, 1024, 8192, 1 << 20].map(fit), [1, 1, 34, 480, 4064, 524_256]);
    }
}
