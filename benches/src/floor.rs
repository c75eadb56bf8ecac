//! The floor under every row: the same bytes, in batches, echoed over the same kind of stream, and one task woken per
//! call. What no transport on this runtime and stream can go below.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Calls per batch in the matrix.
pub const BATCH: usize = 100;

/// Bytes asked for in one read, as by our transports.
const READ: usize = 64 * 1024;

/// What one batch carries.
#[derive(Clone, Copy, Debug)]
pub struct Batch {
    /// Calls in it.
    pub calls: usize,
    /// Bytes of each request.
    pub request: usize,
    /// Bytes of each reply.
    pub reply: usize,
}

/// Runs `batches` batches of [`BATCH`] requests and replies of these sizes through a pipe; gives the time they took.
///
/// # Panics
///
/// The pipe fails, which it does not.
pub async fn run(request: usize, reply: usize, batches: u64) -> Duration {
    let (near, far) = tokio::io::duplex(256 * 1024);
    let mut floor = Floor::start(near, far, Batch { calls: BATCH, request, reply });
    let begun = Instant::now();
    for _ in 0..batches {
        floor.batch().await.expect("a pipe");
    }
    begun.elapsed()
}

/// The near end of a stream whose far end is echoed, with its callers. Dropping it ends them.
pub struct Floor<S> {
    near: S,
    output: Vec<u8>,
    expected: usize,
    input: Vec<u8>,
    callers: Callers,
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Floor<S> {
    /// Starts the echo and the callers as tasks of the `LocalSet` that runs this.
    pub fn start(near: S, far: S, batch: Batch) -> Self {
        let Batch { calls, request, reply } = batch;
        tokio::task::spawn_local(echo(far, request * calls, reply * calls));
        Self {
            near,
            output: vec![b'x'; request * calls],
            expected: reply * calls,
            input: vec![0; READ],
            callers: Callers::start(calls),
        }
    }

    /// One batch there and back, and each caller woken once.
    ///
    /// # Errors
    ///
    /// The stream failed.
    pub async fn batch(&mut self) -> io::Result<()> {
        self.near.write_all(&self.output).await?;
        read(&mut self.near, self.expected, &mut self.input).await?;
        self.callers.round().await;
        Ok(())
    }
}

/// Ends when the near end is gone; a stream that fails shows there.
async fn echo<S: AsyncRead + AsyncWrite + Unpin>(mut far: S, request: usize, reply: usize) {
    let (mut input, output) = (vec![0; READ], vec![b'x'; reply]);
    while read(&mut far, request, &mut input).await.is_ok() && far.write_all(&output).await.is_ok() {}
}

/// Reads as many bytes, always asking for more: a read that gets all it asks for makes the runtime try another.
async fn read<S: AsyncRead + Unpin>(stream: &mut S, expected: usize, input: &mut [u8]) -> io::Result<()> {
    let mut left = expected;
    while left > 0 {
        match stream.read(input).await? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            got => left = left.saturating_sub(got),
        }
    }
    Ok(())
}

/// A batch of tasks that do nothing but be woken.
struct Callers(Rc<State>);

#[derive(Default)]
struct State {
    wakers: RefCell<Vec<Option<Waker>>>,
    driver: RefCell<Option<Waker>>,
    round: Cell<u64>,
    woken: Cell<usize>,
    over: Cell<bool>,
    calls: usize,
}

impl Callers {
    fn start(calls: usize) -> Self {
        let wakers = RefCell::new(vec![None; calls]);
        let state = Rc::new(State { wakers, calls, ..State::default() });
        for index in 0..calls {
            let state = state.clone();
            tokio::task::spawn_local(async move {
                let mut seen = 0;
                while !state.over.get() {
                    poll_fn(|cx| {
                        if state.round.get() > seen || state.over.get() {
                            return Poll::Ready(());
                        }
                        let mut wakers = state.wakers.borrow_mut();
                        if !wakers[index].as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                            wakers[index] = Some(cx.waker().clone());
                        }
                        Poll::Pending
                    })
                    .await;
                    seen = state.round.get();
                    state.woken.set(state.woken.get() + 1);
                    if state.woken.get() == state.calls {
                        state.driver.borrow().iter().for_each(Waker::wake_by_ref);
                    }
                }
            });
        }
        Self(state)
    }

    /// Wakes each task and waits until all have run.
    async fn round(&self) {
        let state = &self.0;
        state.woken.set(0);
        state.round.set(state.round.get() + 1);
        state.wakers.borrow().iter().flatten().for_each(Waker::wake_by_ref);
        poll_fn(|cx| {
            *state.driver.borrow_mut() = Some(cx.waker().clone());
            if state.woken.get() == state.calls { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl Drop for Callers {
    fn drop(&mut self) {
        self.0.over.set(true);
        self.0.wakers.borrow().iter().flatten().for_each(Waker::wake_by_ref);
    }
}
