//! The floors: what our calls put on the wire, echoed in batches of all callers over a TCP connection of its own.

use std::future::Future;
use std::sync::atomic::Ordering::Relaxed;

use fastrpc::Compression;
use tokio::net::TcpStream;
use tokio::task::LocalSet;

use super::BoxError;
use super::caller::{Boxed, Callers, Load, Over};
use super::ours::{self, Counted, wire_bytes};
use super::workload::{connect, listen};
use crate::floor::{Batch, Floor};

/// An echo, and the tasks it needs.
pub(super) struct Echo {
    floor: Floor<TcpStream>,
    tasks: LocalSet,
    calls: usize,
}

/// Under `httpteleport` and all HTTP.
pub(super) async fn http(callers: usize) -> Result<Echo, BoxError> {
    under(ours::http(1, Compression::None), callers).await
}

/// Under `fastrpc` with TLV.
pub(super) async fn tlv(callers: usize) -> Result<Echo, BoxError> {
    under(ours::tlv(1), callers).await
}

/// Under typed messages.
pub(super) async fn typed(callers: usize) -> Result<Echo, BoxError> {
    under(ours::postcard(1), callers).await
}

/// The echo of what the calls of `ours` come to on the wire.
async fn under<C: Counted>(
    ours: impl Future<Output = Result<Callers<C>, BoxError>>,
    callers: usize,
) -> Result<Echo, BoxError> {
    let (request, reply) = wire_bytes(ours.await?).await?;
    let (listener, address) = listen().await?;
    let (near, far) = connect(&listener, &address).await?;
    let tasks = LocalSet::new();
    let start = async { Floor::start(near, far, Batch { calls: callers, request, reply }) };
    let floor = tasks.run_until(start).await;
    Ok(Echo { floor, tasks, calls: callers })
}

impl Load for Echo {
    /// One batch; nothing in it is a reply.
    fn replies(&mut self) -> Boxed<'_, Vec<Vec<u8>>> {
        Box::pin(async {
            self.tasks.run_until(self.floor.batch()).await?;
            Ok(Vec::new())
        })
    }

    fn begin(&mut self, over: &Over) -> Boxed<'_, u64> {
        let over = over.clone();
        Box::pin(async move {
            let batches = async {
                let mut calls = 0;
                while !over.load(Relaxed) {
                    self.floor.batch().await?;
                    calls += self.calls as u64;
                }
                Ok(calls)
            };
            self.tasks.run_until(batches).await
        })
    }
}
