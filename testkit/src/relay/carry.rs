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
use super::{Carried, Leg, RelayOptions, socket};

/// Bytes read or written at once.
const PIECE: usize = 64 * 1024;

/// Carries a connection until both directions have ended. If either broke, or it is cut, both sides are reset.
pub(super) async fn connection(
    mut near: TcpStream,
    target: SocketAddr,
    options: RelayOptions,
    mut cut: watch::Receiver<u64>,
    carried: Arc<Carried>,
) {
    cut.mark_unchanged();
    let connecting = async { socket()?.connect(target).await };
    let Ok(mut far) = connecting.await else {
        return reset(&near);
    };
    let quick = near.set_nodelay(true).and_then(|()| far.set_nodelay(true));
    let whole = tokio::select! {
        ended = both_ways(near.split(), far.split(), options, &carried) => quick.is_ok() && ended.unwrap_or(false),
        _ = cut.changed() => false,
    };
    if !whole {
        reset(&near);
        reset(&far);
    }
}

/// Carries both directions until both have ended. What breaks one side ends the other behind the bytes that are on their way
/// there, as a reset does that follows them. True if nothing broke.
pub(super) async fn both_ways<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    (near_read, near_write): (R, W),
    (far_read, far_write): (R, W),
    options: RelayOptions,
    carried: &Carried,
) -> io::Result<bool> {
    let up = carry(near_read, far_write, options.up, &carried.up);
    let down = carry(far_read, near_write, options.down, &carried.down);
    tokio::try_join!(up, down).map(|(up, down)| up && down)
}

/// Has the socket end with a reset when it is dropped.
fn reset(socket: &TcpStream) {
    // It may be gone already, which is as good.
    let _ = socket.set_zero_linger();
}

/// Carries one direction until its end has arrived; false if it is not taken any more, and an error behind its last bytes if
/// it broke where they come from.
async fn carry<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
    mut from: R,
    mut to: W,
    leg: Leg,
    carried: &AtomicU64,
) -> io::Result<bool> {
    let mut queue = Queue::new(leg, Instant::now());
    let mut piece = vec![0; PIECE];
    let (mut arrived, mut written) = (Vec::new(), 0);
    let mut ended = None;
    loop {
        let mut due = None;
        if written == arrived.len() {
            match queue.pop(Instant::now(), PIECE) {
                Popped::Bytes(bytes) => (arrived, written) = (bytes, 0),
                Popped::Wait(until) => due = Some(until),
                Popped::Empty => {}
                Popped::End => {
                    ended.unwrap_or(Ok(()))?;
                    return Ok(to.shutdown().await.is_ok());
                }
            }
        }
        let room = queue.room().min(PIECE);
        tokio::select! {
            read = from.read(&mut piece[..room]), if ended.is_none() && room > 0 => match read {
                Ok(length) if length > 0 => queue.push(Instant::now(), &piece[..length]),
                end => {
                    queue.end(Instant::now());
                    ended = Some(end.map(|_| ()));
                }
            },
            wrote = to.write(&arrived[written..]), if written < arrived.len() => {
                // Who is gone has said so, or will, in the other direction.
                let Ok(wrote) = wrote else { return Ok(false) };
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
