//! The floor under the matrix: the same bytes, in batches of 100, echoed through the same pipe, and one task woken per
//! call. What no transport on this runtime and pipe can go below.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

/// Calls per batch.
pub const BATCH: usize = 100;

/// Runs `batches` batches of requests and replies of these sizes; gives the time they took.
///
/// # Panics
///
/// The pipe fails, which it does not.
pub async fn run(request: usize, reply: usize, batches: u64) -> Duration {
    let (near, far) = tokio::io::duplex(256 * 1024);
    let echo = tokio::task::spawn_local(echo(far, request * BATCH, reply * BATCH));
    let callers = Callers::start();
    let begun = Instant::now();
    drive(near, request * BATCH, reply * BATCH, batches, &callers).await;
    let took = begun.elapsed();
    callers.stop();
    echo.await.expect("the echo ended");
    took
}

async fn echo(mut far: DuplexStream, request: usize, reply: usize) {
    let (mut input, output) = (vec![0; request], vec![b'x'; reply]);
    while far.read_exact(&mut input).await.is_ok() {
        far.write_all(&output).await.expect("a pipe");
    }
}

async fn drive(mut near: DuplexStream, request: usize, reply: usize, batches: u64, callers: &Callers) {
    let (output, mut input) = (vec![b'x'; request], vec![0; reply]);
    for _ in 0..batches {
        near.write_all(&output).await.expect("a pipe");
        near.read_exact(&mut input).await.expect("a pipe");
        callers.round().await;
    }
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
}

impl Callers {
    fn start() -> Self {
        let state = Rc::new(State::default());
        state.wakers.borrow_mut().resize(BATCH, None);
        for index in 0..BATCH {
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
                    if state.woken.get() == BATCH {
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
            if state.woken.get() == BATCH { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    fn stop(&self) {
        self.0.over.set(true);
        self.0.wakers.borrow().iter().flatten().for_each(Waker::wake_by_ref);
    }
}
