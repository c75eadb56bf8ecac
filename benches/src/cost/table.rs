//! The table, for people.

use std::fmt::Write;

use super::measure::Measured;
use super::sample::Sample;
use super::tcp::Tcp;
use httpteleport_cli::folded;

/// One sample's rows.
#[must_use]
pub fn table(sample: &Sample, rows: &[Measured]) -> String {
    let mut text = format!("{}: {} exchanges of {} bytes\n", sample.name, sample.exchanges.len(), sample.mean_size());
    let (first, second) = (
        ("", "messages", "bytes", "", "of", "CPU us", ""),
        ("way", "a flush", "payload", "with TCP/IP", "HTTP/1.1", "median", "min-max"),
    );
    for (way, messages, payload, with_tcp, of, cpu, range) in [first, second] {
        line(&mut text, [way, messages, payload, with_tcp, of, cpu, range]);
    }
    for row in rows {
        line(
            &mut text,
            [
                &row.row.way.title(),
                &messages(row),
                &format!("{:.1}", row.payload.0 + row.payload.1),
                &format!("{:.1}", row.with_tcp.0 + row.with_tcp.1),
                &format!("{:.1} %", row.of_http1 * 100.0),
                &format!("{:.2}", row.ns.median / 1e3),
                &format!("{:.2}-{:.2}", row.ns.min / 1e3, row.ns.max / 1e3),
            ],
        );
    }
    text
}

/// As many as asked; behind it how many a flight really had, where that is another number: batches over 256 KiB leave in
/// pieces, and HTTP/2 sends window updates between.
fn messages(row: &Measured) -> String {
    let (asked, seen) = (row.row.messages, row.messages.0.min(row.messages.1));
    if asked > 1 && seen < asked as f64 * 0.9 { format!("{asked} ({seen:.0})") } else { asked.to_string() }
}

fn line(text: &mut String, cells: [&str; 7]) {
    let [way, messages, payload, with_tcp, of, cpu, range] = cells;
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{way:<18} {messages:>9} {payload:>10} {with_tcp:>12} {of:>9} {cpu:>9} {range:>17}");
}

/// How the figures come about, a paragraph each: the end of `--help`, and of the tables.
#[must_use]
pub fn notes(tcp: Tcp) -> [String; 5] {
    [
        "Bytes and CPU are for one exchange: a request and its reply.".to_owned(),
        tcp.rule(),
        "Messages a flush are calls made at the same moment; the next ones are made when all have their replies. HTTP/1.1 \
         has one exchange at a time on a kept-alive connection. In brackets: how many there were in a flight, where that is \
         another number, as for teleported batches of more than 256 KiB, which leave in pieces, and for HTTP/2, which \
         updates windows between. A pass sends the whole sample over one new connection, cold compression contexts and \
         HPACK tables included; no exchange comes twice in it."
            .to_owned(),
        "HTTP/1.1 and HTTP/2 are hyper's client and server (HPACK with Huffman coding and dynamic table, 4 MiB windows). \
         gzip: each body by itself, level 6, both directions, compressors reused; not below 128 bytes, not what is \
         compressed already, not when it gains nothing. Teleport: httpteleport's client and server, every setting but the \
         compression and the lengths of messages at its default. Both use zlib-rs. Framed: the same on the framed wire."
            .to_owned(),
        "CPU is the thread's own time in user and kernel mode for both ends together: clients, servers, compression. The \
         connection is in memory, so that no system calls are in it: over sockets HTTP/1.1 has the most of those."
            .to_owned(),
    ]
}

/// The notes as they stand under the tables.
#[must_use]
pub fn footnotes(tcp: Tcp) -> String {
    notes(tcp).map(|note| folded(&note, 100)).join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_state_the_rule_and_fit_the_screen() {
        for (tcp, rule) in [(Tcp::WITH_TIMESTAMPS, ["1448", "52"]), (Tcp::PLAIN, ["1460", "40"])] {
            let text = footnotes(tcp);
            assert!(rule.iter().all(|part| text.contains(part)));
            assert!(text.lines().all(|line| line.len() <= 100));
            assert_eq!(text.replace("\n\n", "\0").replace('\n', " ").replace('\0', "\n\n"), notes(tcp).join("\n\n"));
        }
    }
}
