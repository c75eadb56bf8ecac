//! A handler that did not finish at once.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use super::drop_quietly;
use crate::codec::{Codec, Failure};
use crate::mux::outbox::ONE_WAY;
use crate::mux::replies::Replies;
use crate::server::{Handler, Permit, Service};
use crate::stats::add;

/// A handler that runs in a task of its own. Whatever becomes of it, the driver hears of its end.
pub(super) struct Handling<C: Codec, H: Handler<C>> {
    id: u32,
    permit: Option<Permit>,
    service: Arc<Service<C, H>>,
    replies: Arc<Replies>,
    done: bool,
}

impl<C: Codec, H: Handler<C>> Handling<C, H> {
    pub(super) fn run<F>(
        id: u32,
        permit: Permit,
        mut handler: Pin<Box<Option<F>>>,
        service: Arc<Service<C, H>>,
        replies: Arc<Replies>,
    ) -> impl Future<Output = ()> + Send
    where
        F: Future<Output = C::Reply> + Send,
    {
        let mut this = Self { id, permit: Some(permit), service, replies, done: false };
        async move {
            let reply = std::future::poll_fn(|cx| {
                let Some(handler) = handler.as_mut().as_pin_mut() else { return Poll::Ready(None) };
                match catch_unwind(AssertUnwindSafe(|| handler.poll(cx))) {
                    Ok(polled) => polled.map(Some),
                    Err(_) => Poll::Ready(None),
                }
            })
            .await;
            drop_quietly(handler);
            this.end(reply);
        }
    }

    fn end(&mut self, reply: Option<C::Reply>) {
        let counters = self.service.counters();
        self.permit = None;
        let answered = reply.is_some();
        let failure = || catch_unwind(AssertUnwindSafe(|| self.service.codec().failure(Failure::Panicked))).ok();
        let reply = reply.or_else(failure);
        let wanted = self.id != ONE_WAY;
        add(&counters.errors, u64::from(!answered));
        add(&counters.replies, u64::from(answered && !wanted));
        let encode = |out: &mut Vec<u8>| {
            let encoded = reply.as_ref().and_then(|reply| self.service.encode_reply(self.id, reply, out));
            add(&counters.replies, u64::from(answered && encoded == Some(true)));
            encoded.is_some()
        };
        self.replies.handler_ended(wanted.then_some(encode));
        self.done = true;
    }
}

impl<C: Codec, H: Handler<C>> Drop for Handling<C, H> {
    fn drop(&mut self) {
        if !self.done {
            self.replies.handler_ended(None::<fn(&mut Vec<u8>) -> bool>);
        }
    }
}
