//! What this process listens on, for one that takes it over.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::inbound::Input;

/// The sockets of inputs and of the admin address, as they are now.
#[derive(Default)]
pub(crate) struct Listening(Mutex<Open>);

#[derive(Default)]
struct Open {
    inputs: Vec<Arc<Input>>,
    admin: Option<OwnedFd>,
}

impl Listening {
    /// From now on there are these inputs.
    pub(crate) fn follow(&self, inputs: Vec<Arc<Input>>) {
        self.lock().inputs = inputs;
    }

    /// And the socket of the admin address.
    ///
    /// # Errors
    ///
    /// The system has no file left.
    pub(crate) fn add_admin(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        self.lock().admin = Some(socket.try_clone_to_owned()?);
        Ok(())
    }

    /// Lets go of all of them.
    pub(crate) fn clear(&self) {
        *self.lock() = Open::default();
    }

    /// All of them, as files of their own.
    ///
    /// # Errors
    ///
    /// The system has no file left.
    pub(crate) fn sockets(&self) -> io::Result<Vec<OwnedFd>> {
        let open = self.lock();
        let inputs = open.inputs.iter().map(|input| input.listener().as_fd());
        let all = inputs.chain(open.admin.as_ref().map(OwnedFd::as_fd));
        all.map(|socket| socket.try_clone_to_owned()).collect()
    }

    /// Whether the files of unix sockets are this process's, and go with it.
    pub(crate) fn own_files(&self, ours: bool) {
        for input in &self.lock().inputs {
            input.listener().own_file(ours);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
