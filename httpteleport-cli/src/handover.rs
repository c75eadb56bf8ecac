//! A restart that refuses nobody (`--handover PATH`): a new process asks the old one at the path for its listening sockets, opens what it
//! needs besides, and when it is ready the old one drains. Until then the old one goes on as ever.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use tokio::net::UnixListener;

use self::predecessor::{Fate, Predecessor};
pub(crate) use self::successor::Handover;
use crate::listen::{Given, Mode, SocketFile, bind_unix};
use crate::listening::Listening;
use crate::misfit::Misfit;

mod predecessor;
mod successor;
mod wire;

/// Whom the place at the path is taken from. Dropped, it changes nothing.
pub(crate) struct Claim {
    path: PathBuf,
    predecessor: Option<Predecessor>,
}

impl Claim {
    /// Asks the process at the path, if there is one, for its sockets, which are put to those that are given.
    ///
    /// # Errors
    ///
    /// One line that begins with `--handover PATH` and says what to do.
    pub(crate) async fn make(path: &Path, given: &mut Given) -> anyhow::Result<Claim> {
        if !given.is_empty() {
            let why = "the service manager has opened the sockets of this process, and keeps them through restarts; drop the option";
            return Err(Misfit::new(format!("--handover {}: {why}", path.display())).into());
        }
        let found = Predecessor::find(path).await.with_context(|| format!("--handover {}", path.display()))?;
        let predecessor = found.map(|(predecessor, sockets)| {
            *given = Given::new(sockets);
            predecessor
        });
        Ok(Claim { path: path.to_owned(), predecessor })
    }

    /// Takes the place, now that everything is ready. What the process before had and this one does not need is closed.
    ///
    /// # Errors
    ///
    /// One line that begins with `--handover PATH`: nothing has changed.
    pub(crate) async fn settle(self, left: Given, listening: &Arc<Listening>) -> anyhow::Result<Arc<Handover>> {
        let path = self.path.as_path();
        let settled = async {
            match self.predecessor {
                None => bind_unix(path, Some(Mode::PRIVATE)).await,
                Some(predecessor) => {
                    let pid = predecessor.pid();
                    let (listener, fate) = predecessor.replace().await?;
                    let listener = UnixListener::from_std(listener)?;
                    let told = path.display();
                    match fate {
                        Fate::Drains => tracing::info!("--handover {told}: taken over from process {pid}"),
                        Fate::Died => tracing::warn!(
                            "--handover {told}: process {pid} has died while this one started, which goes on with its sockets"
                        ),
                    }
                    listening.own_files(true);
                    left.close();
                    let file = SocketFile::of_another(path.to_owned());
                    file.own(true);
                    Ok((listener, file))
                }
            }
        };
        let (listener, file) = settled.await.with_context(|| format!("--handover {}", path.display()))?;
        Ok(Arc::new(Handover::new(path, listener, file, Arc::clone(listening))))
    }
}
