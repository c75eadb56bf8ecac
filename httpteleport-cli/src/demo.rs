//! `httptp demo`: realistic traffic through two nodes on this machine, and what it saves.
//!
//! Callers speak HTTP/1.1 to a front node, which teleports to an inner node, which speaks HTTP/1.1 to an origin. The nodes
//! are this program's own, made of the same options and code as on a server; all share one process and real sockets. The
//! shapes of traffic run one after the other, so that what the link's counters gain belongs to one shape.

use std::io::{self, IsTerminal as _};
use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use tokio_util::sync::CancellationToken;

use self::load::Load;
use self::nodes::Nodes;
use self::report::{Plan, Row, Standing};
use self::screen::Screen;
use self::traffic::Shape;
use crate::cli::DemoArgs;
use crate::signals::{Asked, Signals};

mod load;
mod nodes;
mod origin;
mod report;
mod screen;
mod tally;
pub mod traffic;

/// Calls that are pending at a time, each on a connection of its own to the front.
const CALLERS: usize = 64;
/// Every run of the demo sends the same exchanges, as many of them as it gets done.
const SEED: u64 = 1;

/// Runs the demo; with `--keep` it serves until a signal comes. A signal during the measurement ends that early.
///
/// # Errors
///
/// One line: it could not start, or calls failed.
pub(crate) fn run(options: &DemoArgs, asked: Asked) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    let result = runtime.block_on(demo(options, asked));
    // What was cut off must not hold up the end.
    runtime.shutdown_background();
    result
}

async fn demo(options: &DemoArgs, asked: Asked) -> anyhow::Result<()> {
    let stop = stop_on_signal(asked)?;
    let nodes = Nodes::start().await?;
    let mut screen = Screen::new();
    let plan = Plan {
        seconds: options.seconds,
        callers: CALLERS,
        cores: available_parallelism().map_or(1, NonZero::get),
        front: nodes.front(),
        inner: nodes.inner(),
        origin: nodes.origin(),
    };
    screen.text(&report::opening(&plan));

    let rows = measure(&nodes, &mut screen, options.seconds, &stop).await;
    if !rows.is_empty() {
        screen.text(&report::table(&rows));
        screen.text(&report::notes(&plan));
    }
    refuse_failures(&rows)?;
    screen.text(&report::closing());
    if options.keep && !stop.is_cancelled() {
        screen.text(&report::invitation(nodes.front()));
        stop.cancelled().await;
    }
    nodes.stop().await;
    Ok(())
}

/// A token that the first SIGINT or SIGTERM cancels; the next one ends the program at once. So does the SIGHUP of a terminal that is
/// closed; otherwise that asks for settings to be read again, of which there are none.
fn stop_on_signal(mut asked: Asked) -> anyhow::Result<CancellationToken> {
    let mut signals = Signals::take()?;
    let stop = CancellationToken::new();
    let cancel = stop.clone();
    let shown = io::stdout().is_terminal();
    tokio::spawn(async move {
        tokio::select! {
            () = signals.next() => {}
            () = asked.reload.next(), if shown => {}
        }
        cancel.cancel();
        signals.end_at_next();
    });
    Ok(stop)
}

/// Runs every shape for its share of the time, with a line that tells how it goes.
async fn measure(nodes: &Nodes, screen: &mut Screen, seconds: u64, stop: &CancellationToken) -> Vec<Row> {
    let share = Duration::from_secs(seconds).div_f64(Shape::ALL.len() as f64);
    let begun = Instant::now();
    let mut ticks = screen.ticks();
    let mut rows = Vec::with_capacity(Shape::ALL.len());
    for shape in Shape::ALL {
        if stop.is_cancelled() {
            break;
        }
        let wire_before = nodes.wire_bytes();
        let load = Arc::new(Load::new(shape, SEED, nodes.front(), nodes.replies()));
        let shape_begun = Instant::now();
        {
            let mut running = std::pin::pin!(load.run(CALLERS, share, stop));
            loop {
                tokio::select! {
                    () = &mut running => break,
                    _ = ticks.tick() => {}
                }
                let (calls, http_bytes) = {
                    let tally = load.tally();
                    (tally.calls, tally.http_bytes)
                };
                let standing = Standing {
                    since: begun.elapsed(),
                    shape,
                    calls_per_second: calls as f64 / shape_begun.elapsed().as_secs_f64(),
                    http_bytes: rows.iter().map(|row: &Row| row.tally.http_bytes).sum::<u64>() + http_bytes,
                    wire_bytes: nodes.wire_bytes(),
                };
                screen.status(&report::live(&standing));
            }
        }
        // Every call has had its reply, so nothing of this shape is left on the wire.
        let tally = load.tally().clone();
        rows.push(Row { shape, wire_bytes: nodes.wire_bytes() - wire_before, tally });
    }
    rows
}

fn refuse_failures(rows: &[Row]) -> anyhow::Result<()> {
    let failed: u64 = rows.iter().map(|row| row.tally.failed).sum();
    match rows.iter().find_map(|row| row.tally.first_failure.as_ref().map(|why| (row.shape, why))) {
        Some((shape, why)) => bail!("demo: {failed} calls failed, the first of {shape}: {why}"),
        None => Ok(()),
    }
}
