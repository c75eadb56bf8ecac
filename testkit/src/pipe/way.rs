//! One direction of a pipe, and the commands it takes.

use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use tokio::io::ReadBuf;

use super::state::State;

/// One direction of a pipe: bytes written at one end, not yet read at the other. Clones are the same direction.
///
/// Commands take effect at once, also for an end that is waiting.
#[derive(Clone, Debug)]
pub struct Way(Arc<Mutex<State>>);

impl Way {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State::new())))
    }

    /// How many unread bytes fit; writes pend while it is full. It may be set below what is there.
    pub fn set_capacity(&self, bytes: usize) {
        self.change(|state| state.capacity = bytes);
    }

    /// Allows `bytes` more to be written, counted from now; then writes pend.
    pub fn allow(&self, bytes: usize) {
        self.change(|state| state.allowance = Some(bytes));
    }

    /// Makes writes pend: the same as [`allow(0)`](Way::allow).
    pub fn choke(&self) {
        self.allow(0);
    }

    /// Lifts the limit that [`allow`](Way::allow) or [`choke`](Way::choke) has set; the capacity stays.
    pub fn allow_all(&self) {
        self.change(|state| state.allowance = None);
    }

    /// Lets `bytes` more through to the reader, counted from now; then they stay on their way, as on a stalled network.
    /// Writes go on until the capacity is full.
    pub fn deliver(&self, bytes: usize) {
        self.change(|state| state.delivery = Some(bytes));
    }

    /// Lets nothing more through to the reader, not even the end: the same as [`deliver(0)`](Way::deliver).
    pub fn hold(&self) {
        self.deliver(0);
    }

    /// Lifts the limit that [`deliver`](Way::deliver) or [`hold`](Way::hold) has set.
    pub fn deliver_all(&self) {
        self.change(|state| state.delivery = None);
    }

    /// Gives readers at most this many bytes at a time, the sizes used in turn, over and over. Empty lifts the limit.
    ///
    /// # Panics
    ///
    /// A size is 0, which would read as the end.
    pub fn read_in_pieces(&self, sizes: &[usize]) {
        assert!(!sizes.contains(&0), "a piece has at least one byte");
        self.change(|state| state.read_pieces = sizes.iter().copied().collect());
    }

    /// Takes at most this many bytes of each write.
    ///
    /// # Panics
    ///
    /// `size` is 0; to make writes pend use [`choke`](Way::choke).
    pub fn write_in_pieces(&self, size: usize) {
        assert!(size > 0, "a piece has at least one byte");
        self.change(|state| state.write_piece = size);
    }

    /// Ends the direction: the reader gets what is on its way and then the end; writes fail with `BrokenPipe`.
    pub fn end(&self) {
        self.change(|state| state.ended = true);
    }

    /// Breaks the direction: what is on its way is lost; reads and writes fail with `kind`.
    pub fn fail(&self, kind: io::ErrorKind) {
        self.change(|state| {
            state.broken = Some(kind);
            state.bytes.clear();
        });
    }

    /// Keeps a copy of every byte written from now on, for [`recorded`](Way::recorded).
    pub fn record(&self) {
        self.change(|state| state.record = Some(Vec::new()));
    }

    /// What was written since [`record`](Way::record), also what nobody has read.
    ///
    /// # Panics
    ///
    /// Nothing was told to record.
    pub fn recorded(&self) -> Vec<u8> {
        self.lock().record.clone().expect("Way::record before Way::recorded")
    }

    /// How many bytes were written so far.
    pub fn written(&self) -> u64 {
        self.lock().written
    }

    /// How many bytes were read so far.
    pub fn read(&self) -> u64 {
        self.lock().read
    }

    /// How many bytes are on their way.
    pub fn unread(&self) -> usize {
        self.lock().bytes.len()
    }

    /// Waits until `total` bytes were written since the beginning. Cancel safe.
    pub async fn written_reaches(&self, total: u64) {
        self.until(|state| state.written >= total).await;
    }

    /// Waits until `total` bytes were read since the beginning. Cancel safe.
    pub async fn read_reaches(&self, total: u64) {
        self.until(|state| state.read >= total).await;
    }

    /// Waits until a write is pending. Cancel safe.
    pub async fn writer_blocked(&self) {
        self.until(|state| state.writer.is_some()).await;
    }

    /// Waits until a read is pending: the reader has taken all that it may. Cancel safe.
    pub async fn reader_blocked(&self) {
        self.until(|state| state.reader.is_some()).await;
    }

    /// Waits until the direction was ended: by a shutdown, by dropping the writing end, or by [`end`](Way::end). Cancel safe.
    pub async fn ended(&self) {
        self.until(|state| state.ended).await;
    }

    /// Waits until nobody can read the direction any more: its reading end was dropped. Cancel safe.
    pub async fn closed(&self) {
        self.until(|state| state.reader_gone).await;
    }

    pub(super) fn reader_gone(&self) {
        self.change(|state| {
            state.reader_gone = true;
            state.bytes.clear();
        });
    }

    pub(super) fn check(&self) -> io::Result<()> {
        self.lock().broken.map_or(Ok(()), |kind| Err(kind.into()))
    }

    pub(super) fn poll_read(&self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.step(|state| {
            if let Some(kind) = state.broken {
                return (Poll::Ready(Err(kind.into())), None);
            }
            let len = state.ready().min(buf.remaining());
            let at_end = state.ended && state.bytes.is_empty() && state.delivery != Some(0);
            if len == 0 && buf.remaining() > 0 && !at_end {
                state.reader = Some(cx.waker().clone());
                return (Poll::Pending, None);
            }
            state.reader = None;
            if len > 0 {
                state.take(len, buf);
            }
            (Poll::Ready(Ok(())), state.writer.take())
        })
    }

    pub(super) fn poll_write(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.step(|state| {
            if let Some(error) = state.write_error() {
                return (Poll::Ready(Err(error)), None);
            }
            let len = state.room().min(bytes.len());
            if len == 0 && !bytes.is_empty() {
                state.writer = Some(cx.waker().clone());
                return (Poll::Pending, None);
            }
            state.writer = None;
            state.put(&bytes[..len]);
            (Poll::Ready(Ok(len)), state.reader.take())
        })
    }

    /// Changes the state, and wakes everybody who may have waited for that, after the lock is free.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let sleepers = {
            let mut state = self.lock();
            change(&mut state);
            state.sleepers()
        };
        sleepers.into_iter().for_each(Waker::wake);
    }

    /// One read or write: wakes the other end if the step says so, and whoever watches.
    fn step<T>(&self, step: impl FnOnce(&mut State) -> (Poll<T>, Option<Waker>)) -> Poll<T> {
        let (result, other_end, watchers) = {
            let mut state = self.lock();
            let (result, other_end) = step(&mut state);
            (result, other_end, std::mem::take(&mut state.watchers))
        };
        other_end.into_iter().chain(watchers).for_each(Waker::wake);
        result
    }

    async fn until(&self, met: impl Fn(&State) -> bool) {
        poll_fn(|cx| {
            let mut state = self.lock();
            if met(&state) {
                return Poll::Ready(());
            }
            state.watchers.push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nothing panics under this lock")
    }
}
