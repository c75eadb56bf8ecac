//! A TCP relay on loopback that makes a way long and narrow: for real programs and real sockets.
//!
//! It keeps order, half-close and resets, which arrive behind the bytes before them. Each direction delays and paces its bytes by itself and holds a bounded number of
//! them; when that is full it reads no more, as a router that never drops. There is no randomness inside; times are tokio's,
//! whose timers have steps of a millisecond.
//!
//! ```
//! use std::time::Duration;
//! use testkit::relay::{Leg, Relay, RelayOptions};
//! use tokio::io::AsyncWriteExt;
//! use tokio::net::{TcpListener, TcpStream};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let far = TcpListener::bind("127.0.0.1:0").await?;
//! let leg = Leg { delay: Duration::from_millis(5), rate: Some(1_000_000), ..Leg::default() };
//! let relay = Relay::start(far.local_addr()?, RelayOptions { up: leg, down: leg })?;
//! let mut near = TcpStream::connect(relay.addr()).await?;
//! near.write_all(b"arrives at the listener 5 milliseconds later").await?;
//! # std::io::Result::Ok(())
//! # }).unwrap();
//! ```

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{DuplexStream, split};
use tokio::net::TcpSocket;
use tokio::sync::watch;
use tokio::task::AbortHandle;

mod carry;
mod queue;

pub use queue::{Popped, Queue};

/// How the bytes of one direction travel.
#[derive(Clone, Copy, Debug)]
pub struct Leg {
    /// What a byte takes from end to end, beside waiting for those before it.
    pub delay: Duration,
    /// Bytes a second that the narrowest part lets through. `None`: any number.
    pub rate: Option<u64>,
    /// Bytes held at the most, waiting or under way. It has to be more than `rate` times `delay`, or it is what narrows.
    pub queue: usize,
}

/// No delay, no narrow part, 8 MiB.
impl Default for Leg {
    fn default() -> Self {
        Self { delay: Duration::ZERO, rate: None, queue: 8 << 20 }
    }
}

/// Both directions.
#[derive(Clone, Copy, Debug, Default)]
pub struct RelayOptions {
    /// From those who connect to the target.
    pub up: Leg,
    /// Back.
    pub down: Leg,
}

impl RelayOptions {
    /// The same both ways.
    #[must_use]
    pub fn both(leg: Leg) -> Self {
        Self { up: leg, down: leg }
    }
}

/// A relay. Dropping it resets its connections and closes its port.
#[derive(Debug)]
pub struct Relay {
    addr: SocketAddr,
    accepting: AbortHandle,
    /// How often all connections have been cut; its sender's end cuts them too.
    cuts: watch::Sender<u64>,
    carried: Arc<Carried>,
}

/// The same way in memory, for virtual time: its near end, its far end, and what cuts it, so that both ends see it end.
///
/// # Panics
///
/// Outside a tokio runtime with time.
#[must_use]
pub fn pipe(options: RelayOptions) -> (DuplexStream, DuplexStream, AbortHandle) {
    /// What an end takes or has ready before the way itself: as little as shows.
    const END: usize = 16 * 1024;
    let ((near, near_relay), (far, far_relay)) = (tokio::io::duplex(END), tokio::io::duplex(END));
    let carrying = tokio::spawn(async move {
        // An end that is gone ends the other, which is all there is to tell.
        let _ = carry::both_ways(split(near_relay), split(far_relay), options, &Carried::default()).await;
    });
    (near, far, carrying.abort_handle())
}

/// What the kernel holds before a relay reads it: little, so that [`Leg::queue`] says how much is held in all.
fn socket() -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(128 * 1024)?;
    Ok(socket)
}

/// Bytes that left a relay.
#[derive(Debug, Default)]
struct Carried {
    up: AtomicU64,
    down: AtomicU64,
}

impl Relay {
    /// Listens on a port of its own; each connection to it becomes one to `target`.
    ///
    /// # Errors
    ///
    /// There is no port to be had.
    ///
    /// # Panics
    ///
    /// Outside a tokio runtime with I/O and time.
    pub fn start(target: SocketAddr, options: RelayOptions) -> io::Result<Self> {
        let socket = socket()?;
        socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
        let listener = socket.listen(1024)?;
        let addr = listener.local_addr()?;
        let (cuts, cut) = watch::channel(0);
        let carried = Arc::new(Carried::default());
        let counted = carried.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(carry::connection(near, target, options, cut.clone(), counted.clone()));
            }
        });
        Ok(Self { addr, accepting: accepting.abort_handle(), cuts, carried })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Resets every connection, on both its sides; new ones may come.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Bytes that arrived at the target, and at those who connected.
    #[must_use]
    pub fn carried(&self) -> (u64, u64) {
        (self.carried.up.load(Ordering::Relaxed), self.carried.down.load(Ordering::Relaxed))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
