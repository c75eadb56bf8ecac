//! What this process listens on, for one that takes it over.

use std::io;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Mutex as AsyncMutex, MutexGuard as AsyncMutexGuard};

use crate::inbound::Input;
use crate::listen::{Given, Socket};
use crate::overlap;

/// The sockets of inputs and of the admin address, as they are now.
#[derive(Default)]
pub(crate) struct Listening {
    open: Mutex<Open>,
    steady: AsyncMutex<()>,
}

#[derive(Default)]
struct Open {
    inputs: Vec<Arc<Input>>,
    admin: Vec<OwnedFd>,
}

impl Listening {
    /// Waits for a time at which nobody else changes them or hands them over; neither begins before what comes back is dropped. Cancel safe.
    pub(crate) async fn steady(&self) -> AsyncMutexGuard<'_, ()> {
        self.steady.lock().await
    }

    /// The same if it is such a time.
    pub(crate) fn try_steady(&self) -> Option<AsyncMutexGuard<'_, ()>> {
        self.steady.try_lock().ok()
    }

    /// From now on there are these inputs.
    pub(crate) fn follow(&self, inputs: Vec<Arc<Input>>) {
        self.lock().inputs = inputs;
    }

    /// And the sockets of the admin address.
    ///
    /// # Errors
    ///
    /// The system has no file left.
    pub(crate) fn add_admin<'a>(&self, sockets: impl Iterator<Item = BorrowedFd<'a>>) -> io::Result<()> {
        self.lock().admin = sockets.map(|socket| socket.try_clone_to_owned()).collect::<io::Result<_>>()?;
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
        let inputs = open.inputs.iter().flat_map(|input| input.listener().sockets());
        let all = inputs.chain(open.admin.iter().map(OwnedFd::as_fd));
        all.map(|socket| socket.try_clone_to_owned()).collect()
    }

    /// Where they are, for settings that are read again. What the system has no file for is left out.
    pub(crate) fn places(&self) -> overlap::Open {
        let open = self.lock();
        let copy = |socket: BorrowedFd<'_>| Socket::new(socket.try_clone_to_owned().ok()?).ok();
        overlap::Open {
            given: Given::new(
                open.inputs.iter().flat_map(|input| input.listener().sockets()).filter_map(copy).collect(),
            ),
            admin: open.admin.iter().filter_map(|admin| copy(admin.as_fd())?.place()).collect(),
        }
    }

    /// Whether the files of unix sockets are this process's, and go with it.
    pub(crate) fn own_files(&self, ours: bool) {
        for input in &self.lock().inputs {
            input.listener().own_file(ours);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
