//! One connection of a relay: two sockets, two directions.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::queue::{Popped, Queue};
use super::{Carried, Leg, RelayOptions};

/// Bytes read or written at once.
const PIECE: usize = 64 * 1024;

/// Carries a connection until both directions have ended, or either broke, or it is cut: both sides are reset then.
pub(super) async fn connection(
    mut near: TcpStream,
    target: SocketAddr,
    options: RelayOptions,
    mut cut: watch::Receiver<u64>,
    carried: Arc<Carried>,
) {
    cut.mark_unchanged();
    let Ok(mut far) = TcpStream::connect(target).await else {
        return reset(&near);
    };
    let quick = near.set_nodelay(true).and_then(|()| far.set_nodelay(true));
    let whole = tokio::select! {
        ended = both_ways(near.split(), far.split(), options, &carried) => ended.is_ok() && quick.is_ok(),
        _ = cut.changed() => false,
    };
    if !whole {
        reset(&near);
        reset(&far);
    }
}

/// Carries both directions until both have ended, or either broke.
pub(super) async fn both_ways<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    (near_read, near_write): (R, W),
    (far_read, far_write): (R, W),
    options: RelayOptions,
    carried: &Carried,
) -> io::Result<()> {
    let up = carry(near_read, far_write, options.up, &carried.up);
    let down = carry(far_read, near_write, options.down, &carried.down);
    tokio::try_join!(up, down).map(|_| ())
}

/// Has the socket end with a reset when it is dropped.
fn reset(socket: &TcpStream) {
    // It may be gone already, which is as good.
    let _ = socket.set_zero_linger();
}

/// Carries one direction until its end has arrived.
async fn carry<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    mut from: R,
    mut to: W,
    leg: Leg,
    carried: &AtomicU64,
) -> io::Result<()> {
    let mut queue = Queue::new(leg, Instant::now());
    let mut piece = vec![0; PIECE];
    let (mut arrived, mut written) = (Vec::new(), 0);
    let mut reading = true;
    loop {
        let mut due = None;
        if written == arrived.len() {
            match queue.pop(Instant::now(), PIECE) {
                Popped::Bytes(bytes) => (arrived, written) = (bytes, 0),
                Popped::Wait(until) => due = Some(until),
                Popped::Empty => {}
                Popped::End => return to.shutdown().await,
            }
        }
        let room = queue.room().min(PIECE);
        tokio::select! {
            read = from.read(&mut piece[..room]), if reading && room > 0 => match read? {
                0 => {
                    queue.end(Instant::now());
                    reading = false;
                }
                length => queue.push(Instant::now(), &piece[..length]),
            },
            wrote = to.write(&arrived[written..]), if written < arrived.len() => {
                let wrote = wrote?;
                written += wrote;
                carried.fetch_add(wrote as u64, Ordering::Relaxed);
            }
            () = until(due), if due.is_some() => {}
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
