//! The rows of the matrix, named after the benchmarks of the Go original.

use std::time::Duration;

use fastrpc::Compression;

/// What is carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carried {
    /// TLV over `fastrpc`.
    Tlv,
    /// HTTP over `httpteleport`.
    Http,
    /// The same with lazy heads.
    Lazy,
}

/// One measurement: `carried/shape/variant`.
#[derive(Clone, Debug)]
pub struct Row {
    /// As printed and as `--only` matches it.
    pub name: String,
    /// What is carried.
    pub carried: Carried,
    /// Callers over both connections.
    pub callers: usize,
    /// Batch delay of the clients.
    pub client_delay: Duration,
    /// Batch delay of the server.
    pub server_delay: Duration,
    /// Both directions.
    pub compression: Compression,
    /// Whether the connection is TLS.
    pub tls: bool,
    /// Whether the server runs one call of a connection at a time.
    pub pipeline: bool,
    /// Whether calls are fire-and-forget.
    pub one_way: bool,
}

impl Row {
    fn new(carried: Carried, shape: &str, callers: usize) -> Self {
        let prefix = match carried {
            Carried::Tlv => "fastrpc",
            Carried::Http => "http",
            Carried::Lazy => "lazy",
        };
        Self {
            name: format!("{prefix}/{shape}"),
            carried,
            callers,
            client_delay: Duration::ZERO,
            server_delay: Duration::ZERO,
            compression: Compression::None,
            tls: false,
            pipeline: false,
            one_way: false,
        }
    }

    fn delayed(mut self, client: Duration) -> Self {
        self.client_delay = client;
        self.server_delay = Duration::from_micros(100);
        self
    }
}

/// Every row, in the order they are printed. Those with TLS are there with the feature `tls`.
#[must_use]
pub fn all() -> Vec<Row> {
    let rows = [Carried::Tlv, Carried::Http, Carried::Lazy].into_iter().flat_map(rows_of);
    rows.filter(|row| cfg!(feature = "tls") || !row.tls).collect()
}

fn rows_of(carried: Carried) -> Vec<Row> {
    let mut rows = Vec::new();
    for callers in [1, 10, 100, 1000, 10_000] {
        rows.push(Row::new(carried, &format!("no_delay/{callers}"), callers));
    }
    for ms in [1, 2, 4, 8, 16] {
        rows.push(Row::new(carried, &format!("delay/{ms}ms"), 1000).delayed(Duration::from_millis(ms)));
    }
    for (shape, tls) in [("compress", false), ("tls", true)] {
        for compression in [Compression::None, Compression::Flate, Compression::Snappy] {
            let row = Row::new(carried, &format!("{shape}/{compression}"), 1000).delayed(Duration::from_millis(1));
            rows.push(Row { compression, tls, ..row });
        }
    }
    for callers in [1, 10, 100, 1000] {
        rows.push(Row { pipeline: true, ..Row::new(carried, &format!("pipeline/{callers}"), callers) });
    }
    if carried == Carried::Tlv {
        rows.push(Row { one_way: true, ..Row::new(carried, "send_nowait", CONNECTIONS) });
    }
    rows
}

/// Connections of every row.
pub const CONNECTIONS: usize = 2;
