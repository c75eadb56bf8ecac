//! The rows of the benches: what each one carries, how, and where it runs.
//!
//! The rows of the matrix, in [`matrix`], are named after the benchmarks of the Go original; those of `scale` have a
//! module of their own.

use std::time::Duration;

use fastrpc::{Compression, RecordCodec};

pub mod matrix;

pub use matrix::{all, original, select};

/// Connections of a client, unless the row is about their number.
pub const CONNECTIONS: usize = 2;
/// Calls in a batch of the floors.
pub const BATCH: usize = 100;

/// What is carried.
///
/// One more workload is one more variant here, a module of [`workload`](crate::workload) that starts it, and an arm where
/// the benches start a row and where [`counted`](crate::counted) does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    /// TLV over `fastrpc`.
    Tlv,
    /// HTTP over `httpteleport`.
    Http,
    /// The same with lazy heads.
    Lazy,
}

impl Carried {
    /// Each of them, in the order of the rows.
    pub const ALL: [Self; 3] = [Self::Tlv, Self::Http, Self::Lazy];

    /// What names of rows call it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tlv => "fastrpc",
            Self::Http => "http",
            Self::Lazy => "lazy",
        }
    }

    /// Bytes of a request and of a reply, as the rows send them uncompressed: what the floor sends.
    #[must_use]
    pub fn bytes(self) -> (usize, usize) {
        match self {
            Self::Tlv => (18, 269),
            Self::Http | Self::Lazy => (43, 346),
        }
    }
}

/// What joins the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wire {
    /// An in-memory pipe, which costs next to nothing.
    Pipe,
    /// TCP over loopback, with what the kernel costs.
    Tcp,
}

/// Where a row runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// What joins the two ends.
    pub wire: Wire,
    /// Worker threads of a multi-thread runtime; `None` is a runtime of one thread.
    pub workers: Option<usize>,
}

impl Setting {
    /// That of the Go original's benchmarks: one thread, in memory.
    pub const PLAIN: Self = Self { wire: Wire::Pipe, workers: None };

    /// Each that the matrix has, in the order of its rows.
    pub const ALL: [Self; 4] = [
        Self::PLAIN,
        Self { wire: Wire::Tcp, workers: None },
        Self { wire: Wire::Pipe, workers: Some(2) },
        Self { wire: Wire::Tcp, workers: Some(2) },
    ];

    /// What the names of its rows begin with.
    #[must_use]
    pub fn prefix(self) -> String {
        let threads = if self.workers.is_some() { "mt/" } else { "" };
        let wire = if self.wire == Wire::Tcp { "tcp/" } else { "" };
        format!("{threads}{wire}")
    }
}

/// What is measured of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Figure {
    /// Time per call while all callers call all the time.
    Calls,
    /// How long each call takes while all callers call all the time.
    Latency,
    /// How long calls take that begin at a fixed rate whatever happens, from the time they were meant to begin.
    OpenLatency {
        /// Calls a second.
        rate: u32,
    },
    /// How long after the batch delay a batch is written.
    Flush,
    /// Time per call of what no transport can do without: the row that the others of its setting are compared with.
    Floor,
}

/// What each call carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Payload {
    /// Some bytes there, 261 back, as the Go original's benchmarks.
    Small,
    /// So many bytes there and the same back.
    Echo(usize),
    /// Some bytes there, so many back.
    Down(usize),
}

impl Payload {
    /// Bytes of a reply's body.
    #[must_use]
    pub fn reply(self) -> usize {
        match self {
            Self::Small => crate::workload::REPLY_BYTES,
            Self::Echo(bytes) | Self::Down(bytes) => bytes,
        }
    }
}

/// What is looked at of the memory of a row that has its processes to itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weigh {
    /// Nothing.
    No,
    /// The most that was resident.
    Peak,
    /// That, and what each connection holds.
    Connections,
}

/// One measurement.
#[derive(Clone, Debug)]
pub struct Row {
    /// As printed and as `--only` matches it.
    pub name: String,
    /// Where it runs.
    pub setting: Setting,
    /// What is measured.
    pub figure: Figure,
    /// What is carried.
    pub carried: Carried,
    /// What each call carries.
    pub payload: Payload,
    /// Callers over all clients.
    pub callers: usize,
    /// Clients, each with a pool of its own.
    pub clients: usize,
    /// Connections of each client.
    pub connections: usize,
    /// Batch delay of the clients.
    pub client_delay: Duration,
    /// Batch delay of the server.
    pub server_delay: Duration,
    /// Both directions.
    pub compression: Compression,
    /// Compression of both directions on the framed wire, of rows that speak it.
    pub framed: Option<RecordCodec>,
    /// Whether the connection is TLS.
    pub tls: bool,
    /// Whether the server runs one call of a connection at a time.
    pub pipeline: bool,
    /// Whether calls are fire-and-forget.
    pub one_way: bool,
    /// Whether each call makes its request and its reply anew, where the others send the same ones again. Those with the
    /// types of the `http` crate always do.
    pub built: bool,
    /// What is looked at of its memory.
    pub weigh: Weigh,
}

impl Row {
    /// The row `CARRIED/SHAPE` of the plain setting: no delay, no compression, small messages.
    #[must_use]
    pub fn new(carried: Carried, shape: &str, callers: usize) -> Self {
        Self {
            name: format!("{}/{shape}", carried.name()),
            setting: Setting::PLAIN,
            figure: Figure::Calls,
            carried,
            payload: Payload::Small,
            callers,
            clients: 1,
            connections: CONNECTIONS,
            client_delay: Duration::ZERO,
            server_delay: Duration::ZERO,
            compression: Compression::None,
            framed: None,
            tls: false,
            pipeline: false,
            one_way: false,
            built: false,
            weigh: Weigh::No,
        }
    }

    /// Which wire it speaks.
    #[must_use]
    pub fn spoken(&self) -> fastrpc::Wire {
        if self.framed.is_some() { fastrpc::Wire::Framed } else { fastrpc::Wire::Classic }
    }

    /// The name of the floor under it: the same bytes on the same wire.
    #[must_use]
    pub fn floor(&self) -> String {
        let setting = Setting { workers: None, ..self.setting };
        matrix::floor_name(self.carried, setting)
    }

    fn delayed(mut self, client: Duration) -> Self {
        self.client_delay = client;
        self.server_delay = Duration::from_micros(100);
        self
    }
}
