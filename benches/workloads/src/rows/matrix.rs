//! The rows of the matrix.

use std::collections::HashSet;
use std::time::Duration;

use fastrpc::Compression;
use fastrpc::wire::framed::codec::RecordCodec;

use super::{BATCH, CONNECTIONS, Carried, Figure, Payload, Row, Setting};

/// Callers of the rows without a delay.
const CALLERS: [usize; 5] = [1, 10, 100, 1000, 10_000];

/// The rows that have a counterpart in the Go original, and the floors under them.
#[must_use]
pub fn original() -> Vec<Row> {
    floors(Setting::PLAIN).into_iter().chain(shapes()).collect()
}

/// Every row, in the order they are printed. Those with TLS are there with the feature `tls`.
#[must_use]
pub fn all() -> Vec<Row> {
    Setting::ALL.into_iter().flat_map(in_setting).chain(framed()).chain(streams()).collect()
}

/// The rows asked for: those whose name begins with one of `only`, or else the original set. The floors under them are
/// there as well.
#[must_use]
pub fn select(only: &[String], everything: bool) -> Vec<Row> {
    if only.is_empty() {
        return if everything { all() } else { original() };
    }
    let chosen = |row: &Row| only.iter().any(|prefix| row.name.starts_with(prefix));
    let floors: HashSet<String> = all().iter().filter(|row| chosen(row)).map(Row::floor).collect();
    all().into_iter().filter(|row| chosen(row) || floors.contains(&row.name)).collect()
}

/// What the floor under what `carried` sends in `setting` is called.
pub(super) fn floor_name(carried: Carried, setting: Setting) -> String {
    format!("{}floor/{}/{BATCH}", setting.prefix(), carried.name())
}

fn in_setting(setting: Setting) -> Vec<Row> {
    let rows = shapes().into_iter().chain(latencies()).chain(flushes());
    let rows = rows.map(|row| Row { name: format!("{}{}", setting.prefix(), row.name), setting, ..row });
    floors(setting).into_iter().chain(rows).collect()
}

/// One thread has no other floor than many: it is what the bytes cost, not what they gain.
fn floors(setting: Setting) -> Vec<Row> {
    if setting.workers.is_some() {
        return Vec::new();
    }
    let floor = |carried| {
        let name = floor_name(carried, setting);
        Row { name, figure: Figure::Floor, setting, ..Row::new(carried, "", BATCH) }
    };
    Carried::ALL.map(floor).into()
}

fn shapes() -> Vec<Row> {
    let rows = Carried::ALL.into_iter().flat_map(shapes_of);
    rows.filter(|row| cfg!(feature = "tls") || !row.tls).collect()
}

fn shapes_of(carried: Carried) -> Vec<Row> {
    let mut rows = Vec::new();
    for callers in CALLERS {
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
    if carried == Carried::Lazy {
        for callers in CALLERS {
            rows.push(Row { built: true, ..Row::new(carried, &format!("built/{callers}"), callers) });
        }
    }
    if carried == Carried::Tlv {
        rows.push(Row { one_way: true, ..Row::new(carried, "send_nowait", CONNECTIONS) });
    }
    rows
}

/// The calls of `no_delay` on the framed wire.
fn framed() -> Vec<Row> {
    let mut rows = Vec::new();
    for carried in [Carried::Tlv, Carried::Http] {
        for codec in [RecordCodec::None, RecordCodec::Lz4, RecordCodec::Zstd] {
            for callers in [1, 10, 100, 1000] {
                let row = Row::new(carried, &format!("framed/{codec}/{callers}"), callers);
                rows.push(Row { framed: Some(codec), ..row });
            }
        }
    }
    rows
}

/// Large bodies on the framed wire.
fn streams() -> Vec<Row> {
    let mut rows = Vec::new();
    for (size, bytes) in [("64KB", 64 << 10), ("1MB", 1 << 20)] {
        for codec in [RecordCodec::None, RecordCodec::Zstd] {
            let row = Row { framed: Some(codec), payload: Payload::Down(bytes), ..Row::new(Carried::Http, "", 64) };
            rows.push(Row { name: format!("stream/{size}/{codec}"), ..row });
        }
    }
    rows
}

/// How long calls take: closed loops of few and of many, and two fixed rates.
fn latencies() -> Vec<Row> {
    let mut rows = Vec::new();
    for carried in Carried::ALL {
        for callers in [1, 100] {
            let row = Row { figure: Figure::Latency, ..Row::new(carried, &callers.to_string(), callers) };
            rows.push(Row { name: format!("latency/{}", row.name), ..row });
        }
        for rate in [20_000, 100_000] {
            let row = Row { figure: Figure::OpenLatency { rate }, ..Row::new(carried, &format!("open/{rate}"), 0) };
            rows.push(Row { name: format!("latency/{}", row.name), ..row });
        }
    }
    rows
}

/// How late batches are. The mux below both workloads is the same, so one of them shows it.
fn flushes() -> Vec<Row> {
    let flush = |(name, micros)| Row {
        name: format!("flush/{name}"),
        figure: Figure::Flush,
        client_delay: Duration::from_micros(micros),
        connections: 1,
        ..Row::new(Carried::Tlv, "", 1)
    };
    [("100us", 100), ("1ms", 1000), ("2ms", 2000), ("4ms", 4000), ("8ms", 8000), ("16ms", 16_000)].map(flush).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(rows: &[Row]) -> Vec<&str> {
        rows.iter().map(|row| row.name.as_str()).collect()
    }

    #[test]
    fn names_are_unique_and_those_after_the_go_benchmarks_stay() {
        let rows = all();
        let unique: HashSet<_> = names(&rows).into_iter().collect();
        assert_eq!(unique.len(), rows.len());
        for name in
            ["fastrpc/no_delay/100", "http/compress/snappy", "fastrpc/send_nowait", "lazy/built/10", "floor/http/100"]
        {
            assert!(names(&original()).contains(&name), "{name}");
        }
        for name in ["tcp/fastrpc/no_delay/100", "mt/tcp/http/no_delay/100", "latency/http/open/20000", "flush/1ms"] {
            assert!(unique.contains(name), "{name}");
        }
        assert!(names(&original()).iter().all(|name| unique.contains(name)));
    }

    #[test]
    fn a_choice_brings_the_floors_under_it_and_nothing_else() {
        assert_eq!(names(&select(&["http/compress/".into()], false)).len(), 1 + 3);
        let only = ["mt/tcp/fastrpc/no_delay/1000".to_owned()];
        let expected = ["tcp/floor/fastrpc/100", "mt/tcp/fastrpc/no_delay/1000", "mt/tcp/fastrpc/no_delay/10000"];
        assert_eq!(names(&select(&only, false)), expected);
        assert!(select(&["nonsense".into()], true).is_empty());
    }
}
