//! The floor under the rows: the same bytes, in batches, echoed over the same kind of stream, and one task woken per
//! call. What no transport on this runtime and stream can go below.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Poll, Waker};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

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

/// The near end of a stream whose far end is echoed, with its callers. Dropping it ends both.
pub struct Floor<S> {
    near: S,
    output: Vec<u8>,
    input: Vec<u8>,
    callers: Callers,
}

impl<S: AsyncRead + AsyncWrite + Unpin + 'static> Floor<S> {
    /// Starts the echo and the callers as tasks of the `LocalSet` that runs this.
    pub fn start(near: S, far: S, batch: Batch) -> Self {
        let (request, reply) = (batch.calls * batch.request, batch.calls * batch.reply);
        tokio::task::spawn_local(echo(far, request, reply));
        Self { near, output: vec![b'x'; request], input: vec![0; reply], callers: Callers::start(batch.calls) }
    }

    /// One batch there and back, and each caller woken once.
    ///
    /// # Errors
    ///
    /// The stream failed.
    pub async fn batch(&mut self) -> io::Result<()> {
        self.near.write_all(&self.output).await?;
        self.near.read_exact(&mut self.input).await?;
        self.callers.round().await;
        Ok(())
    }
}

/// Ends with its stream; a failure of that is seen at the near end.
async fn echo(mut far: impl AsyncRead + AsyncWrite + Unpin, request: usize, reply: usize) {
    let (mut input, output) = (vec![0; request], vec![b'x'; reply]);
    while far.read_exact(&mut input).await.is_ok() && far.write_all(&output).await.is_ok() {}
}

/// A batch of tasks that do nothing but be woken.
struct Callers(Rc<State>);

struct State {
    /// One for each caller, once it has waited.
    wakers: RefCell<Vec<Option<Waker>>>,
    driver: RefCell<Option<Waker>>,
    round: Cell<u64>,
    woken: Cell<usize>,
    over: Cell<bool>,
}

impl State {
    fn new(calls: usize) -> Self {
        Self {
            wakers: RefCell::new(vec![None; calls]),
            driver: RefCell::default(),
            round: Cell::default(),
            woken: Cell::default(),
            over: Cell::default(),
        }
    }

    fn all_woken(&self) -> bool {
        self.woken.get() == self.wakers.borrow().len()
    }

    /// Waits for a round after `seen`, or the end.
    async fn next(&self, index: usize, seen: u64) {
        poll_fn(|cx| {
            if self.round.get() > seen || self.over.get() {
                return Poll::Ready(());
            }
            let known = &mut self.wakers.borrow_mut()[index];
            if !known.as_ref().is_some_and(|known| known.will_wake(cx.waker())) {
                *known = Some(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    fn wake_all(&self) {
        self.wakers.borrow().iter().flatten().for_each(Waker::wake_by_ref);
    }
}

impl Callers {
    fn start(calls: usize) -> Self {
        let state = Rc::new(State::new(calls));
        for index in 0..calls {
            let state = state.clone();
            tokio::task::spawn_local(async move {
                let mut seen = 0;
                while !state.over.get() {
                    state.next(index, seen).await;
                    seen = state.round.get();
                    state.woken.set(state.woken.get() + 1);
                    if state.all_woken() {
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
        state.wake_all();
        poll_fn(|cx| {
            *state.driver.borrow_mut() = Some(cx.waker().clone());
            if state.all_woken() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}

impl Drop for Callers {
    fn drop(&mut self) {
        self.0.over.set(true);
        self.0.wake_all();
    }
}
