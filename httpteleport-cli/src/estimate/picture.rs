//! The picture.

use super::carry::{Carried, FLUSH, Flush, WayCarried};
use super::cost::ways::Way;
use super::plot::bars::{Bar, Bars, Row, Section, Series};
use super::plot::caption::Caption;
use super::plot::style::Tone;
use super::plot::unit::Unit;
use super::table::title;
use crate::figures::grouped;

/// Which series is whose.
const OURS: usize = 0;
const OTHERS: usize = 1;

/// Bars for each recording, as SVG.
pub(super) fn svg(carried: &[Carried]) -> String {
    let how = format!(
        "{FLUSH} messages a flush but for HTTP/1.1, which has one exchange at a time; the thin lines go from 64 to 1 message a \
         flush. Carried by real clients and servers over an in-memory connection, compression contexts cold at its beginning."
    );
    let tcp =
        "Segments of 1448 bytes with 52 bytes of headers, and an acknowledgement for every second one.".to_owned();
    let series = |label: &str, tone| Series { label: label.to_owned(), tone };
    let bars = Bars {
        caption: Caption {
            title: "Bytes on the wire per exchange, TCP/IP included, in percent of HTTP/1.1".to_owned(),
            subtitle: "httptp estimate".to_owned(),
            notes: vec![how, tcp],
        },
        unit: Unit::Percent,
        series: vec![series("teleported", Tone::Ours), series("HTTP", Tone::Other)],
        mark: None,
        sections: carried.iter().map(section).collect(),
    };
    bars.svg()
}

fn section(carried: &Carried) -> Section {
    let sample = &carried.recorded.sample;
    let (count, size) = (grouped(sample.exchanges.len() as u64), grouped(sample.mean_size() as u64));
    let label = format!("{}: {count} exchanges of {size} bytes", sample.name);
    Section { label, rows: carried.ways.iter().filter_map(|way| row(carried, way)).collect() }
}

fn row(carried: &Carried, way: &WayCarried) -> Option<Row> {
    let percent = |flush: &Flush| 100.0 * carried.with_tcp(flush) / carried.http1();
    let usual = way.usual()?;
    let (first, last) = (way.flushes.first()?, way.flushes.last()?);
    let ours = matches!(way.way, Way::Framed(_) | Way::Teleport(_));
    let bar = Bar {
        series: if ours { OURS } else { OTHERS },
        value: percent(usual),
        range: (way.flushes.len() > 1).then(|| (percent(last), percent(first))),
        note: Unit::Bytes.label(carried.with_tcp(usual)),
    };
    Some(Row { label: title(way.way), bars: vec![bar], mark: None })
}
