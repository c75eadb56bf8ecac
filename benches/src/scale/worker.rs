//! A row in a process of its own.

use std::time::Duration;

use anyhow::{Context as _, ensure};

use super::child::{Answering, Child};
use super::rows::{Place, ScaleRow};
use super::server::ServerProcess;
use crate::measure::{Calls, Round, Subject, start};
use crate::rows::Carried;
use crate::system;
use crate::transport::Dialer;
use crate::workload::{HttpCalls, LazyCalls, TlvCalls};

/// The one thing that is asked of it.
const ROUND: &str = "round";

/// As seen from the bench.
pub struct Worker(Child);

impl Worker {
    /// Starts it. It prepares its row meanwhile; [`Worker::ready`] waits for that.
    ///
    /// # Errors
    ///
    /// It could not be started.
    pub fn start(row: &ScaleRow, round: Duration) -> anyhow::Result<Self> {
        let round_ms = round.as_millis().to_string();
        Child::start(&["--work".to_owned(), row.row.name.clone(), "--round-ms".to_owned(), round_ms]).map(Self)
    }

    /// Waits until its row is ready for rounds.
    ///
    /// # Errors
    ///
    /// It could not be made ready.
    pub fn ready(&mut self) -> anyhow::Result<()> {
        self.0.answer()
    }
}

impl Subject for Worker {
    fn round(&mut self) -> anyhow::Result<Round> {
        self.0.ask(ROUND)
    }
}

/// What the process does: starts `row`, and runs rounds until the parent wants no more.
///
/// # Errors
///
/// The parent has ended.
pub fn work(row: &ScaleRow, round: Duration) -> anyhow::Result<()> {
    let answering = Answering::begin()?;
    let mut subject = match start_at(row, round) {
        Ok(subject) => subject,
        Err(error) => return answering.give(Err::<(), _>(error)),
    };
    answering.give(Ok(()))?;
    answering.questions(|question| {
        ensure!(question == ROUND, "not a question: {question}");
        subject.round()
    })
}

/// Starts the row here, with its server where that belongs.
fn start_at(row: &ScaleRow, round: Duration) -> anyhow::Result<Box<dyn Subject>> {
    let server_core = match row.place {
        Place::Together => return start(&row.row, round),
        Place::Apart => None,
        Place::Pinned => {
            let cores = system::cores();
            let [first, second, ..] = cores[..] else { anyhow::bail!("two processes need two cores") };
            system::pin(first).context("keeping the client on a core")?;
            Some(second)
        }
    };
    let (far, address) = ServerProcess::start(row, server_core)?;
    let (dialer, far) = (Dialer::to(address), Box::new(far));
    Ok(match row.row.carried {
        Carried::Tlv => Box::new(Calls::<TlvCalls>::start_near(&row.row, round, &dialer, far)?),
        Carried::Http => Box::new(Calls::<HttpCalls>::start_near(&row.row, round, &dialer, far)?),
        Carried::Lazy => Box::new(Calls::<LazyCalls>::start_near(&row.row, round, &dialer, far)?),
    })
}
