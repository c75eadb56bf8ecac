//! The two nodes and the origin, in this process, on sockets of the loopback interface.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};

use super::origin::{Origin, Replies};
use crate::cli::{Action, Stop, parse};
use crate::config::{DRAIN_TIMEOUT, Settings};
use crate::listen::Given;
use crate::proxy::Proxy;
use crate::running::Running;
use crate::shutdown::Shutdown;

/// Where the front listens, and how many ports after it are tried when that one is taken.
pub(super) const FRONT_PORT: u16 = 8080;
const MORE_PORTS: u16 = 100;

/// On a machine that is busy the demo is slow; it should not fail.
const TIMEOUT: &str = "30s";

/// Front, inner node and origin, all serving.
pub(super) struct Nodes {
    front: Node,
    inner: Node,
    origin: Origin,
}

/// One proxy, as the command line would start it.
struct Node {
    address: SocketAddr,
    proxy: Arc<Proxy>,
    shutdown: Shutdown,
}

impl Nodes {
    /// Starts all three.
    ///
    /// # Errors
    ///
    /// One line: no port is free.
    pub(super) async fn start() -> anyhow::Result<Nodes> {
        let origin = Origin::start().await?;
        let inner = Node::start("teleport://127.0.0.1:0", &format!("http://{}", origin.address)).await?;
        let front = start_front(&format!("teleport://{}", inner.address)).await?;
        Ok(Nodes { front, inner, origin })
    }

    /// Where callers connect to.
    pub(super) fn front(&self) -> SocketAddr {
        self.front.address
    }

    /// Where the front teleports to.
    pub(super) fn inner(&self) -> SocketAddr {
        self.inner.address
    }

    /// Where the replies come from.
    pub(super) fn origin(&self) -> SocketAddr {
        self.origin.address
    }

    /// What the origin answers.
    pub(super) fn replies(&self) -> Arc<Replies> {
        Arc::clone(&self.origin.replies)
    }

    /// Bytes that went over the teleport connection so far, both ways, as compressed.
    pub(super) fn wire_bytes(&self) -> u64 {
        self.front.proxy.upstreams().wire_bytes()
    }

    /// Finishes what runs, the front first, as the requests that it still has need the inner node.
    pub(super) async fn stop(self) {
        self.front.stop().await;
        self.inner.stop().await;
    }
}

async fn start_front(out: &str) -> anyhow::Result<Node> {
    let mut why = None;
    for port in FRONT_PORT..=FRONT_PORT + MORE_PORTS {
        match Node::start(&format!("http://127.0.0.1:{port}"), out).await {
            Ok(node) => return Ok(node),
            Err(error) => why = Some(error),
        }
    }
    let last = FRONT_PORT + MORE_PORTS;
    Err(why.context("no port tried")?.context(format!("demo: no port from {FRONT_PORT} to {last} will do; free one")))
}

impl Node {
    async fn start(address: &str, out: &str) -> anyhow::Result<Node> {
        let settings = settings(&["httptp", "--in", address, "--out", out, "--out-timeout", TIMEOUT])?;
        let shutdown = Shutdown::new();
        let mut running =
            Running::open(*settings, &mut Given::default(), Arc::default(), None, None, &shutdown).await?;
        let (input, proxy) =
            running.inputs().next().zip(running.groups().first()).context("demo: a node without sides")?;
        let bound = input.listener().local_addr().with_context(|| format!("--in {address}: has no address"))?;
        let proxy = Arc::clone(proxy);
        running.serve();
        Ok(Node { address: bound, proxy, shutdown })
    }

    async fn stop(self) {
        self.shutdown.drain(Duration::ZERO, DRAIN_TIMEOUT).await;
    }
}

/// The settings of a command line.
fn settings(args: &[&str]) -> anyhow::Result<Box<Settings>> {
    match parse(args.iter().map(OsString::from)) {
        Ok(Action::Proxy(settings, _)) => Ok(settings),
        Ok(_) => bail!("demo: its nodes are proxies"),
        Err(Stop::Usage(lines)) => bail!(lines.join("; ")),
        Err(Stop::Clap(error)) => Err(error.into()),
    }
}
