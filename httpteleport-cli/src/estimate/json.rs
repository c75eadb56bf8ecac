//! The figures for programs.

use serde_json::{Map, Value, json};

use super::carry::{Carried, Flush, TCP, WayCarried};
use super::month::Month;

/// One JSON document, on a line.
pub(super) fn text(carried: &[Carried], month: Option<Month>) -> String {
    let month_of = month.map(|month| {
        json!({
            "hours": Month::HOURS,
            "requests_per_second": month.rate,
            "price_per_gb": month.price,
            "exchanges": month.exchanges(),
        })
    });
    let document = json!({
        "tcp": { "segment_payload": TCP.mss, "segment_headers": TCP.headers },
        "month": month_of,
        "samples": carried.iter().map(|one| sample(one, month)).collect::<Vec<_>>(),
    });
    format!("{document}\n")
}

fn sample(carried: &Carried, month: Option<Month>) -> Value {
    let recorded = &carried.recorded;
    let left_out: Map<String, Value> = recorded.left_out.iter().map(|(why, n)| (why.clone(), json!(n))).collect();
    let rows = carried.ways.iter().flat_map(|way| way.flushes.iter().map(move |flush| row(carried, way, flush, month)));
    json!({
        "name": recorded.sample.name,
        "exchanges": recorded.sample.exchanges.len(),
        "exchanges_in_file": recorded.all,
        "left_out": left_out,
        "decoded_replies": recorded.decoded,
        "rows": rows.collect::<Vec<_>>(),
    })
}

/// Bytes of requests (up) and of replies (down): as the ends hand them to their connection, and with TCP/IP.
fn row(carried: &Carried, way: &WayCarried, flush: &Flush, month: Option<Month>) -> Value {
    let (passed, each) = (&flush.passed, carried.with_tcp(flush));
    json!({
        "way": way.way.name(),
        "messages_a_flush": flush.messages,
        "payload_up": passed.up.payload,
        "payload_down": passed.down.payload,
        "tcp_up": TCP.bytes(&passed.up),
        "tcp_down": TCP.bytes(&passed.down),
        "payload_per_exchange": carried.payload(flush),
        "tcp_per_exchange": each,
        "of_http1": each / carried.http1(),
        "month_bytes": month.map(|month| month.bytes(each)),
        "month_cost": month.and_then(|month| month.cost(each)),
    })
}
