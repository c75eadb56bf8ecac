//! The rows whose instructions are counted, and what each does.

use fastrpc::Compression;
use fastrpc::codec::tlv::Tlv;

use crate::batches::{self, ROUND, Way};
use crate::codecs::{self, READ, Step};
use crate::messages::{Http, LazyHeads, Message};
use crate::rows::{self, Carried, Figure, Row};
use crate::transport;
use crate::workload::{HttpCalls, LazyCalls, Tls, TlvCalls, Workload, run};

/// Something that is done a given number of times.
#[derive(Clone, Debug)]
pub struct Counted {
    /// `call/...`, `codec/...` or `batch/...`.
    pub name: String,
    /// How often in each of the two runs whose difference is counted.
    pub times: (u64, u64),
    work: Work,
}

#[derive(Clone, Debug)]
enum Work {
    Calls(Row),
    Codec(Carried, Message, Step),
    Batches(Compression, Way),
}

/// Rows of the matrix: those whose batches do not depend on the time.
const CALLS: [&str; 9] = [
    "fastrpc/no_delay/1",
    "fastrpc/no_delay/100",
    "http/no_delay/1",
    "http/no_delay/100",
    "lazy/no_delay/100",
    "fastrpc/framed/none/1",
    "fastrpc/framed/none/100",
    "http/framed/none/1",
    "http/framed/none/100",
];

/// Every row that is counted.
///
/// # Panics
///
/// When the matrix has lost a row that is counted.
#[must_use]
pub fn all() -> Vec<Counted> {
    calls().chain(codecs()).chain(batches()).collect()
}

impl Counted {
    /// Any row of the matrix that is about calls on one thread, also one whose batches depend on the time.
    #[must_use]
    pub fn of_matrix(row: Row) -> Option<Self> {
        if row.figure != Figure::Calls || row.setting.workers.is_some() {
            return None;
        }
        // Callers take calls from the common count a few at a time: equally many in both of these.
        let round = row.callers.max(100) as u64;
        Some(Self { name: format!("call/{}", row.name), times: (11 * round, 31 * round), work: Work::Calls(row) })
    }

    /// Does it `times` times. Calls have a runtime of their own with one thread.
    ///
    /// # Errors
    ///
    /// A call fails, or there is no runtime or no stream to be had.
    ///
    /// # Panics
    ///
    /// When a codec does not take its own sample.
    pub fn run(&self, times: u64) -> anyhow::Result<()> {
        match &self.work {
            Work::Calls(row) => return calls_of(row, times),
            Work::Codec(Carried::Tlv, message, step) => codecs::run::<Tlv>(*step, *message, times),
            Work::Codec(Carried::Http, message, step) => codecs::run::<Http>(*step, *message, times),
            Work::Codec(Carried::Lazy, message, step) => codecs::run::<LazyHeads>(*step, *message, times),
            Work::Batches(compression, way) => batches::run(*compression, *way, times),
        }
        Ok(())
    }
}

fn calls() -> impl Iterator<Item = Counted> {
    let matrix = rows::all();
    let find = move |name| matrix.iter().find(|row| row.name == name).expect("a row of the matrix").clone();
    let flate = find("http/no_delay/100");
    let flate = Row { name: "http/no_delay/100/flate".into(), compression: Compression::Flate, ..flate };
    CALLS.into_iter().map(find).chain([flate]).filter_map(Counted::of_matrix)
}

fn codecs() -> impl Iterator<Item = Counted> {
    let codecs = [(Carried::Tlv, "tlv"), (Carried::Http, "http"), (Carried::Lazy, "lazy")];
    codecs.into_iter().flat_map(|(carried, codec)| {
        [Message::Small, Message::Real].into_iter().flat_map(move |message| {
            Step::ALL.into_iter().map(move |step| Counted {
                name: format!("codec/{codec}/{message}/{step}"),
                times: (10 * READ, 40 * READ),
                work: Work::Codec(carried, message, step),
            })
        })
    })
}

fn batches() -> impl Iterator<Item = Counted> {
    [Compression::Flate, Compression::Snappy].into_iter().flat_map(|compression| {
        Way::ALL.into_iter().map(move |way| Counted {
            name: format!("batch/{compression}/{way}"),
            times: (ROUND, 3 * ROUND),
            work: Work::Batches(compression, way),
        })
    })
}

fn calls_of(row: &Row, times: u64) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match row.carried {
            Carried::Tlv => make::<TlvCalls>(row, times).await,
            Carried::Http => make::<HttpCalls>(row, times).await,
            Carried::Lazy => make::<LazyCalls>(row, times).await,
        }
    })
}

async fn make<W: Workload>(row: &Row, times: u64) -> anyhow::Result<()> {
    let (dialer, listening) = transport::join(row.setting.wire)?;
    let tls = Tls::of(row);
    let _counters = W::serve(row, listening, tls.as_ref())?;
    let client = W::connect(row, dialer, tls.as_ref())?;
    run(&[client], row.callers, times).await?;
    Ok(())
}
