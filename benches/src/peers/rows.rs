//! The rows, and what each is held against.

use std::future::Future;

use fastrpc::Compression;

use super::caller::{Boxed, Caller, Callers, Load};
use super::gathered::Writes;
use super::{BoxError, floor, hyper1, hyper2, lazy, ours, tarpc, tonic};

/// One library in one setting.
pub struct Peer {
    /// `http/` or `rpc/` or `floor/`, and its name.
    pub name: &'static str,
    /// The row of ours that makes the same calls, this one itself where it is ours.
    pub ours: Option<&'static str>,
    /// The floor under it.
    pub floor: Option<&'static str>,
    /// Whether its calls carry a deadline.
    pub deadline: bool,
    start: fn(usize) -> Boxed<'static, Box<dyn Load>>,
}

/// All of them, in the order they are printed.
pub const PEERS: &[Peer] = &[
    http("http/httpteleport", true, |callers| boxed(ours::http(callers, Compression::None))),
    http("http/httpteleport-flate", true, |callers| boxed(ours::http(callers, Compression::Flate))),
    http("http/httpteleport-lazy", true, |callers| boxed(lazy::start(callers))),
    http("http/hyper1", false, |callers| boxed(hyper1::start(callers))),
    http("http/hyper2", false, |callers| boxed(hyper2::start(callers, Writes::Vectored))),
    http("http/hyper2-gathered", false, |callers| boxed(hyper2::start(callers, Writes::Gathered))),
    rpc("rpc/fastrpc-tlv", "rpc/fastrpc-tlv", "floor/tlv", |callers| boxed(ours::tlv(callers))),
    rpc("rpc/fastrpc-postcard", POSTCARD, TYPED, |callers| boxed(ours::postcard(callers))),
    rpc("rpc/fastrpc-bincode", BINCODE, TYPED, |callers| boxed(ours::bincode(callers))),
    rpc("rpc/tarpc-bincode", BINCODE, TYPED, |callers| boxed(tarpc::bincode(callers))),
    rpc("rpc/tarpc-json", POSTCARD, TYPED, |callers| boxed(tarpc::json(callers))),
    rpc("rpc/tonic", POSTCARD, TYPED, |callers| boxed(tonic::start(callers, Writes::Vectored))),
    rpc("rpc/tonic-gathered", POSTCARD, TYPED, |callers| boxed(tonic::start(callers, Writes::Gathered))),
    echo("floor/http", |callers| echoing(floor::http(callers))),
    echo("floor/tlv", |callers| echoing(floor::tlv(callers))),
    echo("floor/typed", |callers| echoing(floor::typed(callers))),
];

const POSTCARD: &str = "rpc/fastrpc-postcard";
const BINCODE: &str = "rpc/fastrpc-bincode";
const TYPED: &str = "floor/typed";

type Start = fn(usize) -> Boxed<'static, Box<dyn Load>>;

const fn http(name: &'static str, deadline: bool, start: Start) -> Peer {
    Peer { name, ours: Some("http/httpteleport"), floor: Some("floor/http"), deadline, start }
}

const fn rpc(name: &'static str, ours: &'static str, floor: &'static str, start: Start) -> Peer {
    Peer { name, ours: Some(ours), floor: Some(floor), deadline: true, start }
}

const fn echo(name: &'static str, start: Start) -> Peer {
    Peer { name, ours: None, floor: None, deadline: false, start }
}

fn boxed<C: Caller>(
    start: impl Future<Output = Result<Callers<C>, BoxError>> + 'static,
) -> Boxed<'static, Box<dyn Load>> {
    Box::pin(async { Ok(Box::new(start.await?) as Box<dyn Load>) })
}

fn echoing(start: impl Future<Output = Result<floor::Echo, BoxError>> + 'static) -> Boxed<'static, Box<dyn Load>> {
    Box::pin(async { Ok(Box::new(start.await?) as Box<dyn Load>) })
}

/// A peer with so many callers.
#[derive(Clone, Copy)]
pub struct Row {
    /// Who.
    pub peer: &'static Peer,
    /// How many callers.
    pub callers: usize,
}

impl Row {
    /// As printed and as `--only` matches it.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{}/{}", self.peer.name, self.callers)
    }

    pub(super) fn start(&self) -> Boxed<'static, Box<dyn Load>> {
        (self.peer.start)(self.callers)
    }
}

/// The rows for these numbers of callers whose names begin with `prefix`, and, unless `alone`, those that they are held
/// against.
#[must_use]
pub fn chosen(callers: &[usize], prefix: &str, alone: bool) -> Vec<Row> {
    let rows = |callers| PEERS.iter().map(move |peer| Row { peer, callers });
    let mut chosen = Vec::new();
    for &callers in callers {
        let asked: Vec<Row> = rows(callers).filter(|row| row.name().starts_with(prefix)).collect();
        if alone {
            chosen.extend(asked);
            continue;
        }
        let needed = |peer: &Peer| {
            asked.iter().any(|row| [Some(row.peer.name), row.peer.ours, row.peer.floor].contains(&Some(peer.name)))
        };
        chosen.extend(rows(callers).filter(|row| needed(row.peer)));
    }
    chosen
}
