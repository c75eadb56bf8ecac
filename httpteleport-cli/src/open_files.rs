//! How many files and connections the process may have open.

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::config::CONCURRENCY;

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

/// Says so if the limit is less than so many connections on either side may take; where nobody asked for that many, as news.
pub(crate) fn tell_if_few(concurrency: usize) {
    let wanted = 2 * concurrency as u64;
    // No limit is none.
    let Some(files) = getrlimit(Resource::Nofile).current.filter(|files| *files < wanted) else { return };
    if concurrency == CONCURRENCY {
        let fit = files / 2;
        tracing::info!(
            "the limit of open files is {files}, enough for {fit} connections; for more raise LimitNOFILE (ulimit -n)"
        );
    } else {
        tracing::warn!(
            "the limit of open files is {files}, and --concurrency {concurrency} may take {wanted}: raise LimitNOFILE (ulimit -n), \
             or lower --concurrency to less than half of the limit"
        );
    }
}
