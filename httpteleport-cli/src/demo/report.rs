//! What the demo says, in lines of at most 80 columns.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use super::nodes::FRONT_PORT;
use super::tally::Tally;
use super::traffic::Shape;
use crate::compress::Compress;
use crate::figures::{bytes, grouped, rounded};

/// What is about to run.
pub(super) struct Plan {
    pub(super) seconds: u64,
    pub(super) callers: usize,
    pub(super) cores: usize,
    pub(super) front: SocketAddr,
    pub(super) inner: SocketAddr,
    pub(super) origin: SocketAddr,
}

/// How it goes.
pub(super) struct Standing {
    /// Since the start.
    pub(super) since: Duration,
    /// The shape that runs.
    pub(super) shape: Shape,
    /// Its calls.
    pub(super) calls_per_second: f64,
    /// Of all shapes so far.
    pub(super) http_bytes: u64,
    /// The same over teleport.
    pub(super) wire_bytes: u64,
}

/// What came of one shape.
pub(super) struct Row {
    pub(super) shape: Shape,
    pub(super) tally: Tally,
    /// Bytes over the teleport connection, both ways.
    pub(super) wire_bytes: u64,
}

/// What runs, and where.
pub(super) fn opening(plan: &Plan) -> String {
    let Plan { seconds, callers, front, inner, origin, .. } = plan;
    let mut text = format!(
        "httptp demo: made-up JSON traffic through two nodes on this machine, {seconds} s

  {callers} callers
    -> http://{front:<24} a node near the clients
    -> teleport://{inner:<20} a node near the servers
    -> http://{origin:<24} the origin

"
    );
    if front.port() != FRONT_PORT {
        let _ = writeln!(text, "Port {FRONT_PORT} is taken, so the first node listens on port {}.\n", front.port());
    }
    if cfg!(debug_assertions) {
        text.push_str("This is a debug build, many times slower than one made with --release.\n\n");
    }
    text
}

/// One line on how it goes.
pub(super) fn live(standing: &Standing) -> String {
    let Standing { since, shape, calls_per_second, http_bytes, wire_bytes } = standing;
    // Requests that still run have bytes on the wire already.
    let saved = http_bytes.saturating_sub(*wire_bytes);
    format!(
        "{:>6.1} s  {shape:<4}  {:>8} calls/s  {:>9} saved of {:>9} ({:>2.0}%)",
        since.as_secs_f64(),
        rounded(*calls_per_second),
        bytes(saved),
        bytes(*http_bytes),
        100.0 * saved as f64 / (*http_bytes).max(1) as f64
    )
}

/// A line for each shape, and one for all of them.
pub(super) fn table(rows: &[Row]) -> String {
    let mut text = "\ntraffic                  calls  HTTP/1.1  teleport   ratio       p50       p99\n".to_owned();
    let mut add = |name: &str, what: &str, calls: u64, http_bytes: u64, wire_bytes: u64, times: &str| {
        let (calls, ratio) = (grouped(calls), http_bytes as f64 / wire_bytes.max(1) as f64);
        let (http_bytes, wire_bytes) = (bytes(http_bytes), bytes(wire_bytes));
        let line = format!("{name:<5} {what:<13}{calls:>11} {http_bytes:>9} {wire_bytes:>9} {ratio:>6.1}x{times}");
        let _ = writeln!(text, "{}", line.trim_end());
    };
    for Row { shape, tally, wire_bytes } in rows {
        let times = format!("{:>10}{:>10}", time(tally.percentile(50.0)), time(tally.percentile(99.0)));
        add(shape.name(), about(*shape), tally.calls, tally.http_bytes, *wire_bytes, &times);
    }
    let sum = |of: fn(&Row) -> u64| rows.iter().map(of).sum();
    add("all", "", sum(|row| row.tally.calls), sum(|row| row.tally.http_bytes), sum(|row| row.wire_bytes), "");
    text.push('\n');
    text
}

fn about(shape: Shape) -> &'static str {
    match shape {
        Shape::Rtb => "OpenRTB bids",
        Shape::Rest => "shop REST API",
        Shape::Rpc => "JSON-RPC",
        Shape::Chat => "LLM chat",
    }
}

/// What the numbers are.
pub(super) fn notes(plan: &Plan) -> String {
    let Plan { callers, cores, .. } = plan;
    // Two nodes of ours take the framed wire.
    let compression = Compress::default().framed;
    format!(
        "HTTP/1.1 is the size of all requests and replies as text. Teleport is what the
link between the nodes counted while it carried them, compressed with {compression}
(the default). Both are both ways, without TCP/IP headers. The shapes ran one
after the other over one link. Times are what {callers} callers saw while they, both
nodes and the origin shared this machine's {cores} cores. Your traffic will differ.

"
    )
}

/// How to have it for real.
pub(super) fn closing() -> String {
    format!(
        "For your own traffic, with the address of your server for SERVER:

  near the servers
    httptp --in teleport://:9876 --out http://127.0.0.1:80
  near the clients
    httptp --in http://127.0.0.1:{FRONT_PORT} --out teleport://SERVER:9876
"
    )
}

/// What to do while it keeps serving.
pub(super) fn invitation(front: SocketAddr) -> String {
    format!(
        "
The demo keeps serving until Ctrl-C. Try:

  curl -i -d '{{\"hello\":\"world\"}}' http://{front}/any/path
"
    )
}

/// A latency in milliseconds, or in seconds when it is that long.
fn time(time: Duration) -> String {
    let ms = time.as_secs_f64() * 1000.0;
    match ms {
        0.0..9.995 => format!("{ms:.2} ms"),
        9.995..99.95 => format!("{ms:.1} ms"),
        99.95..999.5 => format!("{ms:.0} ms"),
        _ => format!("{:.2} s", ms / 1000.0),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    /// Columns of a terminal that nobody has changed.
    const WIDTH: usize = 80;

    fn plan(front: u16) -> Plan {
        let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (front, inner, origin) = (address(front), address(65_534), address(65_535));
        Plan { seconds: 3600, callers: 64, cores: 1024, front, inner, origin }
    }

    fn rows(calls: u64, size: usize, wire_bytes: u64, took: Duration) -> Vec<Row> {
        let mut tally = Tally::new();
        tally.add(size, took);
        tally.calls = calls;
        Shape::ALL.map(|shape| Row { shape, wire_bytes, tally: tally.clone() }).into()
    }

    #[test]
    fn times() {
        let cases = [(0, "0.00 ms"), (815, "0.81 ms"), (9_994, "9.99 ms"), (9_996, "10.0 ms"), (123_400, "123 ms")];
        for (us, text) in cases {
            assert_eq!(time(Duration::from_micros(us)), text);
        }
        assert_eq!(time(Duration::from_micros(999_600)), "1.00 s");
        assert_eq!(time(Duration::from_secs(60)), "60.00 s");
    }

    #[test]
    fn a_row_says_what_was_measured() {
        let table = table(&rows(1234, 3_000_000, 1_200_000, Duration::from_millis(2)));
        let lines: Vec<_> = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(lines[1], "traffic calls HTTP/1.1 teleport ratio p50 p99");
        assert_eq!(lines[2], "rtb OpenRTB bids 1,234 3.00 MB 1.20 MB 2.5x 2.00 ms 2.00 ms");
        assert_eq!(lines[6], "all 4,936 12.0 MB 4.80 MB 2.5x");
    }

    #[test]
    fn columns_end_where_their_titles_end() {
        for rows in [
            rows(1, 1, 1, Duration::from_micros(1)),
            rows(72_000_000, 400_000_000_000, 400_000_000, Duration::from_secs(60)),
        ] {
            let table = table(&rows);
            let lines: Vec<_> = table.lines().skip(1).filter(|line| !line.is_empty()).collect();
            for title in ["calls", "HTTP/1.1", "teleport", "ratio", "p50", "p99"] {
                let end = lines[0].find(title).expect("a title") + title.len();
                for line in lines[1..].iter().filter(|line| line.len() >= end) {
                    assert!(!line.as_bytes()[end - 1].is_ascii_whitespace(), "{title}: {line}");
                    assert!(line.as_bytes().get(end).is_none_or(u8::is_ascii_whitespace), "{title}: {line}");
                }
            }
        }
    }

    #[test]
    fn the_compression_is_that_of_the_link() {
        assert!(notes(&plan(8080)).contains("compressed with zstd\n"), "{}", notes(&plan(8080)));
    }

    #[test]
    fn nothing_is_wider_than_a_terminal() {
        let standing = Standing {
            since: Duration::from_secs(3600),
            shape: Shape::Chat,
            calls_per_second: 999_999.4,
            http_bytes: 999_000_000_000,
            wire_bytes: 1,
        };
        let texts = [
            opening(&plan(8179)),
            live(&standing),
            table(&rows(72_000_000, 999_000_000_000, 100_000_000, Duration::from_secs(60))),
            notes(&plan(8080)),
            closing(),
            invitation(plan(8179).front),
        ];
        for line in texts.iter().flat_map(|text| text.lines()) {
            assert!(line.chars().count() <= WIDTH, "{line}");
            assert_eq!(line, line.trim_end());
        }
        assert_eq!(live(&standing), "3600.0 s  chat   999,999 calls/s     999 GB saved of    999 GB (100%)");
    }

    #[test]
    fn nothing_saved_is_not_negative() {
        let standing = Standing {
            since: Duration::from_millis(250),
            shape: Shape::Rpc,
            calls_per_second: 0.0,
            http_bytes: 0,
            wire_bytes: 15,
        };
        assert_eq!(live(&standing), "   0.2 s  rpc          0 calls/s        0 B saved of       0 B ( 0%)");
    }

    #[test]
    fn another_port_is_told() {
        assert!(!opening(&plan(FRONT_PORT)).contains("taken"));
        let text = opening(&plan(8082));
        assert!(text.contains("Port 8080 is taken, so the first node listens on port 8082."), "{text}");
    }
}
