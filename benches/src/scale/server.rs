//! The server of a row in a process of its own.

use std::net::SocketAddr;

use anyhow::{Context as _, bail};
use serde::{Deserialize, Serialize};

use super::child::{Answering, Child};
use super::rows::ScaleRow;
use crate::measure::{Far, Resident, Usage, runtime};
use crate::rows::Carried;
use crate::system;
use crate::transport::{self, Listening};
use crate::workload::{Counters, HttpCalls, LazyCalls, TlvCalls, Workload};

/// What is asked of it.
const USAGE: &str = "usage";
const RESIDENT: &str = "resident";

/// As seen from the client's process.
pub struct ServerProcess(Child);

impl ServerProcess {
    /// Starts it, on this core if one is given, and gives its address.
    ///
    /// # Errors
    ///
    /// It could not be started, or could not begin to serve.
    pub fn start(row: &ScaleRow, core: Option<usize>) -> anyhow::Result<(Self, SocketAddr)> {
        let mut arguments = vec!["--serve".to_owned(), row.row.name.clone()];
        arguments.extend(core.into_iter().flat_map(|core| ["--core".to_owned(), core.to_string()]));
        let mut child = Child::start(&arguments)?;
        let address = child.answer().context("the server's process")?;
        Ok((Self(child), address))
    }
}

impl Far for ServerProcess {
    fn usage(&mut self) -> anyhow::Result<Usage> {
        match self.0.ask(USAGE).context("the server's process")? {
            Answer::Usage(usage) => Ok(usage),
            Answer::Resident(_) => bail!("the server's process answered what it was not asked"),
        }
    }

    fn resident(&mut self) -> anyhow::Result<Option<Resident>> {
        match self.0.ask(RESIDENT).context("the server's process")? {
            Answer::Resident(resident) => Ok(Some(resident)),
            Answer::Usage(_) => bail!("the server's process answered what it was not asked"),
        }
    }
}

#[derive(Serialize, Deserialize)]
enum Answer {
    Usage(Usage),
    Resident(Resident),
}

/// What the process does: serves `row`, and tells what that takes until the parent wants no more.
///
/// # Errors
///
/// The parent has ended.
pub fn serve(row: &ScaleRow) -> anyhow::Result<()> {
    let answering = Answering::begin()?;
    let runtime = runtime(&row.row)?;
    let started = runtime.block_on(async {
        let (_, listening) = transport::join(row.row.setting.wire).context("no socket to listen on")?;
        let Listening::Tcp(listener) = &listening else { bail!("two processes need TCP between them") };
        let address = listener.local_addr()?;
        anyhow::Ok((address, begin(row, listening)?))
    });
    let (address, counters) = match started {
        Ok((address, counters)) => (Ok(address), counters),
        Err(error) => return answering.give(Err::<(), _>(error)),
    };
    // It serves in the background; this thread answers.
    std::thread::spawn(move || runtime.block_on(std::future::pending::<()>()));
    answering.give(address)?;
    answering.questions(|question| {
        Ok(match question {
            USAGE => Answer::Usage(Usage { batches: counters().batches, cpu: system::cpu_time() }),
            RESIDENT => Answer::Resident(Resident { now: system::resident()?, peak: system::resident_peak()? }),
            _ => bail!("not a question: {question}"),
        })
    })
}

fn begin(row: &ScaleRow, listening: Listening) -> anyhow::Result<Counters> {
    match row.row.carried {
        Carried::Tlv => TlvCalls::serve(&row.row, listening, None),
        Carried::Http => HttpCalls::serve(&row.row, listening, None),
        Carried::Lazy => LazyCalls::serve(&row.row, listening, None),
    }
}
