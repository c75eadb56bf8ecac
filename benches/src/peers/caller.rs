//! Callers of any peer, all at once, until they are told that the round is over.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use tokio::task::JoinHandle;

use super::BoxError;
use super::workload::REPLY;

/// One of the callers of a peer.
pub(super) trait Caller: Send + Sized + 'static {
    /// The value of a reply, however the peer holds it.
    type Value: AsRef<[u8]> + Send;

    /// Makes one call.
    fn call(&mut self) -> impl Future<Output = Result<Self::Value, BoxError>> + Send;
}

/// A future on the heap: one a round, not one a call.
pub(super) type Boxed<'a, T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + 'a>>;

/// Told to all callers: the round is over.
pub(super) type Over = Arc<AtomicBool>;

/// A peer at work, whatever its callers are.
pub(super) trait Load {
    /// Makes one call from each caller, and gives the replies.
    fn replies(&mut self) -> Boxed<'_, Vec<Vec<u8>>>;

    /// Sets the callers off, inside the runtime; the future gives the number of calls they made until `over`.
    fn begin(&mut self, over: &Over) -> Boxed<'_, u64>;
}

/// The [`Load`] of any [`Caller`]s.
pub(super) struct Callers<C>(pub(super) Vec<C>);

impl<C: Caller> Load for Callers<C> {
    fn replies(&mut self) -> Boxed<'_, Vec<Vec<u8>>> {
        Box::pin(async {
            let mut replies = Vec::with_capacity(self.0.len());
            for caller in &mut self.0 {
                replies.push(caller.call().await?.as_ref().to_vec());
            }
            Ok(replies)
        })
    }

    fn begin(&mut self, over: &Over) -> Boxed<'_, u64> {
        let tasks: Vec<JoinHandle<_>> =
            self.0.drain(..).map(|caller| tokio::spawn(call_until(caller, over.clone()))).collect();
        Box::pin(async {
            let mut sum = 0;
            for task in tasks {
                let (caller, calls) = task.await??;
                self.0.push(caller);
                sum += calls;
            }
            Ok(sum)
        })
    }
}

/// Calls time after time; gives the caller back with the number of its calls.
async fn call_until<C: Caller>(mut caller: C, over: Over) -> Result<(C, u64), BoxError> {
    let mut calls = 0;
    while !over.load(Relaxed) {
        let value = caller.call().await?;
        let length = value.as_ref().len();
        if length != REPLY.len() {
            return Err(format!("a reply of {length} bytes, not of {}", REPLY.len()).into());
        }
        calls += 1;
    }
    Ok((caller, calls))
}
