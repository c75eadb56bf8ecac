//! The tables, for people, in lines of at most 80 columns.

use std::fmt::Write as _;

use super::carry::{Carried, FLUSH, Flush, TCP, WayCarried};
use super::cost::ways::Way;
use super::month::Month;
use crate::figures::{bytes, folded, grouped, rounded};

/// Columns of a terminal that nobody has changed.
const WIDTH: usize = 80;
/// The messages a flush that have a column.
const FLUSHES: [usize; 4] = [1, 4, 16, 64];

/// Over the columns of these.
const SPAN: &str = "with TCP/IP, messages a flush";

/// A recording's tables each, and what the figures are.
pub(super) fn text(carried: &[Carried], month: Option<Month>) -> String {
    let mut text = String::new();
    for one in carried {
        text.push_str(&heading(one));
        text.push_str(&bytes_table(one));
        text.push_str(&month.map(|month| month_table(one, month)).unwrap_or_default());
        text.push_str(&summary(one));
    }
    text.push_str(&notes(month.is_some()));
    text
}

/// What was carried and what was not.
fn heading(carried: &Carried) -> String {
    let recorded = &carried.recorded;
    let (count, size) = (recorded.sample.exchanges.len(), recorded.sample.mean_size());
    let mut text = format!(
        "{}: {} exchanges of {} bytes as HTTP/1.1 text",
        recorded.sample.name,
        grouped(count as u64),
        grouped(size as u64)
    );
    if let Some(all) = recorded.all.filter(|all| *all > count) {
        let _ = write!(text, ", the first of {}", grouped(all as u64));
    }
    text.push('\n');
    for (why, count) in &recorded.left_out {
        let _ = writeln!(text, "left out: {} {why}", grouped(*count as u64));
    }
    if recorded.decoded > 0 {
        let _ = writeln!(text, "taken as before they were compressed: {} replies", grouped(recorded.decoded as u64));
    }
    text.push('\n');
    text
}

fn bytes_table(carried: &Carried) -> String {
    let mut text = line(&format!("{:<21}{:>9}{SPAN:>36}{:>10}", "bytes an exchange", "payload", "of"));
    text += &bytes_row(["", "at 16", "1", "4", "16", "64", "HTTP/1.1"]);
    for way in &carried.ways {
        let Some(usual) = way.usual() else { continue };
        let [one, four, sixteen, many] = columns(way, |flush| rounded(carried.with_tcp(flush)));
        let payload = rounded(carried.payload(usual));
        let of = format!("{:.1} %", 100.0 * carried.with_tcp(usual) / carried.http1());
        text += &bytes_row([&title(way.way), &payload, &one, &four, &sixteen, &many, &of]);
    }
    text.push('\n');
    text
}

fn month_table(carried: &Carried, month: Month) -> String {
    let (unit, size) = match month.bytes(carried.http1()) {
        bytes if bytes < 1e11 => ("MB", 1e6),
        bytes if bytes < 1e14 => ("GB", 1e9),
        _ => ("TB", 1e12),
    };
    let rate = month.rate;
    let mut text = format!("a month at {rate} requests a second: {} exchanges", rounded(month.exchanges()));
    if let Some(price) = month.price {
        let _ = write!(text, ", {price} a GB");
    }
    text.push_str("\n\n");
    let (cost, saved) = if month.price.is_some() { ("cost", "saved") } else { ("", "") };
    text += &line(&format!("{unit:<21}{SPAN:>36}{cost:>11}{saved:>11}"));
    let at = if month.price.is_some() { "at 16" } else { "" };
    text += &month_row(["", "1", "4", "16", "64", at, at]);
    for way in &carried.ways {
        let Some(usual) = way.usual() else { continue };
        let [one, four, sixteen, many] = columns(way, |flush| amount(month.bytes(carried.with_tcp(flush)) / size));
        let cost = |each: f64| month.cost(each);
        let of_usual = cost(carried.with_tcp(usual));
        let saved = of_usual.zip(cost(carried.http1())).map(|(now, before)| money(before - now));
        let (cost, saved) = (of_usual.map(money).unwrap_or_default(), saved.unwrap_or_default());
        text += &month_row([&title(way.way), &one, &four, &sixteen, &many, &cost, &saved]);
    }
    text.push('\n');
    text
}

/// The default beside what else one would do.
fn summary(carried: &Carried) -> String {
    let usual = |way: Way| {
        let found = carried.ways.iter().find(|carried| carried.way == way)?;
        found.usual().map(|flush| carried.with_tcp(flush))
    };
    let (zstd, http2) = (usual(Way::Framed(httpteleport::RecordCodec::Zstd)), usual(Way::Http2 { gzip: true }));
    let (Some(zstd), Some(http2)) = (zstd, http2) else { return String::new() };
    let text = format!(
        "Teleported with zstd, the default, {FLUSH} messages a flush, this takes {:.1} % of the bytes of HTTP/1.1 and {:.1} % \
         of those of HTTP/2 with gzip: {} instead of {} and {} for a million exchanges.",
        100.0 * zstd / carried.http1(),
        100.0 * zstd / http2,
        million(zstd),
        million(carried.http1()),
        million(http2),
    );
    folded(&text, WIDTH) + "\n\n"
}

fn million(each: f64) -> String {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "bytes, not negative; a cast saturates"
    )]
    bytes((each * 1e6) as u64)
}

/// What the figures are.
fn notes(month: bool) -> String {
    let mut notes = vec![
        "Every exchange was carried by real clients and servers with real compression, over a new connection in memory for each \
         figure. Bytes are of both ways, requests and replies. Compression contexts and HPACK tables begin cold, so a \
         recording of few exchanges shows less than a link gains that stays open."
            .to_owned(),
        TCP.rule(),
        "Messages a flush are requests made at the same moment, as by so many callers; HTTP/1.1 has one exchange at a time on a \
         connection. gzip is of each body by itself, level 6, where that gains something. teleport is the framed wire, between \
         two nodes of httptp; classic is the wire of Go's httptp. Bodies that are compressed already gain little: let the link \
         compress, not the servers."
            .to_owned(),
    ];
    if month {
        let hours = Month::HOURS;
        notes.push(format!(
            "A month has {hours} hours, MB, GB and TB are decimal. Who pays for one direction only finds both in --json."
        ));
    }
    let notes: Vec<String> = notes.iter().map(|note| folded(note, WIDTH)).collect();
    notes.join("\n\n") + "\n"
}

/// As `httptp` calls them: its own wire is the framed one.
pub(super) fn title(way: Way) -> String {
    match way {
        Way::Framed(codec) => format!("teleport, {codec}"),
        Way::Teleport(compression) => format!("classic, {compression}"),
        Way::Http1 { .. } | Way::Http2 { .. } => way.title(),
    }
}

/// A cell for each number of messages a flush; empty where the way has no such.
fn columns(way: &WayCarried, cell: impl Fn(&Flush) -> String) -> [String; 4] {
    FLUSHES.map(|messages| way.flushes.iter().find(|flush| flush.messages == messages).map(&cell).unwrap_or_default())
}

fn bytes_row([name, payload, one, four, sixteen, many, of]: [&str; 7]) -> String {
    line(&format!("{name:<21}{payload:>9}{one:>9}{four:>9}{sixteen:>9}{many:>9}{of:>10}"))
}

fn month_row([name, one, four, sixteen, many, cost, saved]: [&str; 7]) -> String {
    line(&format!("{name:<21}{one:>9}{four:>9}{sixteen:>9}{many:>9}{cost:>11}{saved:>11}"))
}

fn line(text: &str) -> String {
    format!("{}\n", text.trim_end())
}

fn amount(value: f64) -> String {
    if value < 9.995 { format!("{value:.2}") } else { rounded(value) }
}

fn money(value: f64) -> String {
    match value {
        value if value < 0.0 => format!("-{}", money(-value)),
        value if value < 9999.995 => format!("{value:.2}"),
        value => rounded(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_large_figures_fit_a_terminal() {
        let large =
            ["HTTP/1.1 + gzip xxxxx", "9,999,999", "9,999,999", "9,999,999", "9,999,999", "9,999,999", "100.0 %"];
        assert!(bytes_row(large).trim_end().len() <= WIDTH);
        let [name, a, b, c, d, ..] = large;
        assert!(month_row([name, a, b, c, d, "99,999,999", "99,999,999"]).trim_end().len() <= WIDTH);
        assert!(notes(true).lines().all(|line| line.len() <= WIDTH));
    }

    #[test]
    fn money_and_amounts_are_short() {
        assert_eq!([amount(0.0), amount(9.99), amount(123_456.4)], ["0.00", "9.99", "123,456"]);
        assert_eq!([money(-0.5), money(413.272), money(123_456.4)], ["-0.50", "413.27", "123,456"]);
    }
}
