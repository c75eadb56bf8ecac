//! Calls that are made at the same moment, as by as many callers.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

/// Starts all of `futures` before it waits for any, and gives their outputs in order.
pub(super) async fn together<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut running: Vec<Running<F>> = futures.into_iter().map(|future| Running::Going(Box::pin(future))).collect();
    poll_fn(|cx| {
        let mut left = false;
        for one in &mut running {
            if let Running::Going(future) = one {
                match future.as_mut().poll(cx) {
                    Poll::Ready(output) => *one = Running::Done(output),
                    Poll::Pending => left = true,
                }
            }
        }
        if left { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    running.into_iter().filter_map(Running::output).collect()
}

enum Running<F: Future> {
    Going(Pin<Box<F>>),
    Done(F::Output),
}

impl<F: Future> Running<F> {
    fn output(self) -> Option<F::Output> {
        match self {
            Self::Going(_) => None,
            Self::Done(output) => Some(output),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn outputs_come_in_order_whatever_ends_first() {
        let wait = |turns: usize| async move {
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            turns
        };
        assert_eq!(together([3, 0, 2].map(wait)).await, [3, 0, 2]);
    }
}
