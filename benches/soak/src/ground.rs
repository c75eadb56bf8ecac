//! What connections are made on.

use std::io;
use std::sync::{Mutex, PoisonError};

use fastrpc::BoxIo;
use testkit::relay::{Relay, RelayOptions, pipe};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// A long way: both its ends are in this process.
pub struct Ground(Way);

enum Way {
    Tcp { relay: Relay, listener: TcpListener },
    Memory { options: RelayOptions, pipes: Mutex<Vec<AbortHandle>> },
}

impl Ground {
    /// TCP over loopback, through a relay.
    ///
    /// # Errors
    ///
    /// There is no port to be had.
    pub async fn tcp(options: RelayOptions) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let relay = Relay::start(listener.local_addr()?, options)?;
        Ok(Self(Way::Tcp { relay, listener }))
    }

    /// Pipes, for virtual time.
    #[must_use]
    pub fn memory(options: RelayOptions) -> Self {
        Self(Way::Memory { options, pipes: Mutex::default() })
    }

    /// A connection: the client's end, the server's.
    pub(crate) async fn join(&self) -> io::Result<(BoxIo, BoxIo)> {
        match &self.0 {
            Way::Tcp { relay, listener } => {
                let (near, (far, _)) = tokio::try_join!(TcpStream::connect(relay.addr()), listener.accept())?;
                near.set_nodelay(true)?;
                far.set_nodelay(true)?;
                Ok((Box::new(near), Box::new(far)))
            }
            Way::Memory { options, pipes } => {
                let (near, far, cut) = pipe(*options);
                pipes.lock().unwrap_or_else(PoisonError::into_inner).push(cut);
                Ok((Box::new(near), Box::new(far)))
            }
        }
    }

    /// Cuts every connection.
    pub(crate) fn cut(&self) {
        match &self.0 {
            Way::Tcp { relay, .. } => relay.cut(),
            Way::Memory { pipes, .. } => {
                pipes.lock().unwrap_or_else(PoisonError::into_inner).drain(..).for_each(|pipe| pipe.abort());
            }
        }
    }
}
