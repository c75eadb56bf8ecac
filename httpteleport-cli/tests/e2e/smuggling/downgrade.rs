//! Requests over HTTP/2 that would be others as HTTP/1.1 text.

use super::case::AFTER;
use super::frames::{Fields, Frames, converse};
use super::origins::Reader;
use super::{Way, line, of};
use tokio::task::JoinSet;

struct Case {
    about: &'static str,
    frames: Frames<'static>,
    want: &'static str,
}

const fn case(about: &'static str, head: [Fields; 2], body: &'static [&'static str], want: &'static str) -> Case {
    Case { about, frames: Frames { head, body, trailers: &[] }, want }
}

const fn trailed(about: &'static str, trailers: Fields, want: &'static str) -> Case {
    Case { about, frames: Frames { head: [POST, &[]], body: &["INNER"], trailers }, want }
}

const POST: Fields = &[(":method", "POST"), (":scheme", "http"), (":authority", "h"), (":path", "/outer")];
const GET: Fields = &[(":method", "GET"), (":scheme", "http"), (":authority", "h"), (":path", "/outer")];
const AT_H: Fields = &[(":method", "GET"), (":scheme", "http"), (":path", "/outer")];
const TO_H: Fields = &[(":method", "GET"), (":scheme", "http"), (":authority", "h")];

const CASES: &[Case] = &[
    case("a body", [POST, &[]], &["INNER"], "POST /outer h 40"),
    case("a body in pieces", [POST, &[]], &["INNER", "", "INNER"], "POST /outer h 80"),
    case("a body of a GET", [GET, &[]], &["INNER"], "GET /outer h 40"),
    case("no body", [POST, &[]], &[], "POST /outer h 0"),
    case("a length", [POST, &[("content-length", "40")]], &["INNER"], "POST /outer h 40"),
    case("a length that is too small", [POST, &[("content-length", "0")]], &["INNER"], "reset"),
    case("a length that is a bit too small", [POST, &[("content-length", "39")]], &["INNER"], "reset"),
    case("a length that is too large", [POST, &[("content-length", "41")]], &["INNER"], "reset"),
    case("a length of a body that is not there", [GET, &[("content-length", "40")]], &[], "reset"),
    case("two lengths", [POST, &[("content-length", "0"), ("content-length", "40")]], &["INNER"], "reset"),
    case(
        "the same length twice",
        [POST, &[("content-length", "40"), ("content-length", "40")]],
        &["INNER"],
        "POST /outer h 40",
    ),
    case("a list of lengths", [POST, &[("content-length", "40, 40")]], &["INNER"], "reset"),
    case("a length with a plus sign", [POST, &[("content-length", "+40")]], &["INNER"], "reset"),
    case("a length with a blank", [POST, &[("content-length", " 40")]], &["INNER"], "reset"),
    case("a length in letters", [POST, &[("content-length", "many")]], &["INNER"], "reset"),
    case("a length over 64 bits", [POST, &[("content-length", "18446744073709551656")]], &["INNER"], "reset"),
    case("a coding", [POST, &[("transfer-encoding", "chunked")]], &["CHUNKS"], "reset"),
    case(
        "a coding and a length",
        [POST, &[("content-length", "51"), ("transfer-encoding", "chunked")]],
        &["CHUNKS"],
        "reset",
    ),
    case("another coding", [POST, &[("transfer-encoding", "identity")]], &["INNER"], "reset"),
    case("connection", [POST, &[("connection", "close")]], &["INNER"], "reset"),
    case("connection that names a field", [POST, &[("connection", "x"), ("x", "y")]], &["INNER"], "reset"),
    case("keep-alive", [POST, &[("keep-alive", "timeout=5")]], &["INNER"], "reset"),
    case("proxy-connection", [POST, &[("proxy-connection", "close")]], &["INNER"], "reset"),
    case("upgrade", [POST, &[("upgrade", "h2c")]], &["INNER"], "reset"),
    case("te that asks for trailers", [POST, &[("te", "trailers")]], &["INNER"], "POST /outer h 40"),
    case("te that asks for more", [POST, &[("te", "chunked")]], &["INNER"], "reset"),
    case("expect", [POST, &[("expect", "100-continue")]], &["INNER"], "POST /outer h 40"),
    case("expect of something else", [POST, &[("expect", "x")]], &["INNER"], "417"),
    case("CR and LF in a value", [POST, &[("x", "a\r\nTransfer-Encoding: chunked")]], &["CHUNKS"], "goaway"),
    case("a request in a value", [GET, &[("x", "a\r\n\r\nINNER")]], &[], "goaway"),
    case("LF in a value", [GET, &[("x", "a\nHost: other")]], &[], "goaway"),
    case("CR in a value", [GET, &[("x", "a\rHost: other")]], &[], "goaway"),
    case("a null byte in a value", [GET, &[("x", "a\0b")]], &[], "goaway"),
    case("CR and LF in a name", [GET, &[("x: y\r\nhost", "other")]], &[], "goaway"),
    case("a colon in a name", [GET, &[("host: other", "x")]], &[], "goaway"),
    case("a blank in a name", [POST, &[("content-length ", "0")]], &["INNER"], "goaway"),
    case("a null byte in a name", [GET, &[("x\0", "y")]], &[], "goaway"),
    case("capitals in a name", [POST, &[("Content-Length", "0")]], &["INNER"], "goaway"),
    case("no name", [GET, &[("", "y")]], &[], "goaway"),
    case("a name in another alphabet", [GET, &[("hоst", "other")]], &[], "goaway"),
    case("CR and LF in the path", [TO_H, &[(":path", "/outer HTTP/1.1\r\nHost: other\r\n\r\nINNER")]], &[], "reset"),
    case("a blank in the path", [TO_H, &[(":path", "/outer HTTP/1.1 x")]], &[], "reset"),
    case("a tab in the path", [TO_H, &[(":path", "/outer\tHTTP/1.1")]], &[], "reset"),
    case("a null byte in the path", [TO_H, &[(":path", "/outer\0")]], &[], "reset"),
    case("an absolute path", [TO_H, &[(":path", "http://other/outer")]], &[], "reset"),
    case("a path without a slash", [TO_H, &[(":path", "outer")]], &[], "reset"),
    case("a path that begins with @", [TO_H, &[(":path", "@other/outer")]], &[], "reset"),
    case("a fragment", [TO_H, &[(":path", "/outer#x")]], &[], "GET /outer h 0"),
    case("an empty path", [TO_H, &[(":path", "")]], &[], "reset"),
    case("an asterisk", [TO_H, &[(":path", "*")]], &[], "400"),
    case("no path", [TO_H, &[]], &[], "reset"),
    case("two paths", [GET, &[(":path", "/outer/2")]], &[], "reset"),
    case("two methods", [GET, &[(":method", "POST")]], &[], "reset"),
    case("two authorities", [GET, &[(":authority", "other")]], &[], "reset"),
    case("a pseudo field behind others", [TO_H, &[("x", "y"), (":path", "/outer")]], &[], "reset"),
    case("a pseudo field that is none", [GET, &[(":x", "y")]], &[], "goaway"),
    case("a status", [GET, &[(":status", "200")]], &[], "reset"),
    case(
        "a request line for a method",
        [
            &[
                (":method", "GET /smuggled HTTP/1.1\r\nX: y\r\n\r\nGET"),
                (":scheme", "http"),
                (":authority", "h"),
                (":path", "/outer"),
            ],
            &[],
        ],
        &[],
        "goaway",
    ),
    case(
        "a blank in the method",
        [&[(":method", "GET /smuggled"), (":scheme", "http"), (":authority", "h"), (":path", "/outer")], &[]],
        &[],
        "goaway",
    ),
    case("no method", [&[(":scheme", "http"), (":authority", "h"), (":path", "/outer")], &[]], &[], "reset"),
    case(
        "another scheme",
        [&[(":method", "GET"), (":scheme", "ftp"), (":authority", "h"), (":path", "/outer")], &[]],
        &[],
        "400",
    ),
    case(
        "a URL for a scheme",
        [&[(":method", "GET"), (":scheme", "http://other/?"), (":authority", "h"), (":path", "/outer")], &[]],
        &[],
        "reset",
    ),
    case("no scheme", [&[(":method", "GET"), (":authority", "h"), (":path", "/outer")], &[]], &[], "reset"),
    case("CR and LF in the authority", [AT_H, &[(":authority", "h\r\nX: y")]], &[], "reset"),
    case("a user in the authority", [AT_H, &[(":authority", "other@h")]], &[], "400"),
    case("a path in the authority", [AT_H, &[(":authority", "h/smuggled")]], &[], "reset"),
    case("a blank in the authority", [AT_H, &[(":authority", "h other")]], &[], "reset"),
    case("a port that is none", [AT_H, &[(":authority", "h:x")]], &[], "400"),
    case("an empty authority", [AT_H, &[(":authority", "")]], &[], "reset"),
    case("no authority", [AT_H, &[]], &[], "400"),
    case("a host for an authority", [AT_H, &[("host", "h")]], &[], "GET /outer h 0"),
    case("two hosts for an authority", [AT_H, &[("host", "h"), ("host", "other")]], &[], "400"),
    case("the same host", [GET, &[("host", "h")]], &[], "GET /outer h 0"),
    case("another host", [GET, &[("host", "other")]], &[], "400"),
    case("two hosts", [GET, &[("host", "h"), ("host", "h")]], &[], "400"),
    case("CONNECT", [&[(":method", "CONNECT"), (":authority", "h:1")], &[]], &["INNER"], "501"),
    case(
        "CONNECT to HTTP/2",
        [
            &[
                (":method", "CONNECT"),
                (":protocol", "h2c"),
                (":scheme", "http"),
                (":authority", "h"),
                (":path", "/outer"),
            ],
            &[],
        ],
        &["INNER"],
        "501",
    ),
    case(
        "CONNECT to HTTP/1.1",
        [
            &[
                (":method", "CONNECT"),
                (":protocol", "HTTP/1.1"),
                (":scheme", "http"),
                (":authority", "h"),
                (":path", "/outer"),
            ],
            &[],
        ],
        &["INNER"],
        "501",
    ),
    case("cookies in pieces", [GET, &[("cookie", "a=b"), ("cookie", "c=d")]], &[], "GET /outer h 0"),
    trailed("trailers", &[("x", "y")], "POST /outer h 40"),
    trailed("a length in trailers", &[("content-length", "0")], "POST /outer h 40"),
    trailed("a coding in trailers", &[("transfer-encoding", "chunked")], "reset"),
    trailed("a host in trailers", &[("host", "other")], "POST /outer h 40"),
    trailed("a path in trailers", &[(":path", "/smuggled")], "POST /outer h 40"),
    trailed("CR and LF in trailers", &[("x", "a\r\n\r\nINNER")], "goaway"),
];

async fn all_is_read_in_one_way(way: Way, reader: Reader) {
    let (near, far) = way.start(&reader.url);
    let mut running = JoinSet::new();
    for (number, case) in CASES.iter().enumerate() {
        let address = near.address().to_owned();
        running.spawn(async move { (number, converse(&address, &case.frames, number).await) });
    }
    let answers = running.join_all().await;
    drop((near, far));
    let seen = reader.seen();
    let wanted: Vec<_> = seen.iter().map(|(number, words)| (*number, line(words))).collect();
    let asked = reader.asked(&wanted).await.unwrap_or_default();
    // No request that the server before the last reader has read, and has refused itself.
    assert!(asked.is_empty() || asked.len() == seen.len(), "{asked:?}, but {seen:?}");
    let mut faults = Vec::new();
    for (number, [outer, after]) in answers {
        let Case { about, want, .. } = &CASES[number];
        let passed = |answer: &str| answer.contains(' ').then(|| answer.to_owned());
        if outer != *want || (after != AFTER && outer != "goaway") {
            faults.push(format!("{about}: the client was answered {outer:?} and {after:?}, not {want:?}"));
        }
        let mut seen = of(&seen, number);
        let mut want: Vec<String> = [passed(want), passed(&after)].into_iter().flatten().collect();
        // They run at the same time.
        seen.sort_unstable();
        want.sort_unstable();
        if seen != want {
            faults.push(format!("{about}: the origin has understood {seen:?}, not {want:?}"));
        }
    }
    assert!(seen.iter().all(|(number, _)| number.is_some()), "nobody asked that: {seen:?}");
    assert!(faults.is_empty(), "{} of {} cases:\n{}", faults.len(), CASES.len(), faults.join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_one_node() {
    all_is_read_in_one_way(Way::OneNode, Reader::strict().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_the_framed_wire() {
    all_is_read_in_one_way(Way::Framed, Reader::strict().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_the_classic_wire() {
    all_is_read_in_one_way(Way::Classic, Reader::strict().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_behind_the_framed_wire() {
    all_is_read_in_one_way(Way::Framed, Reader::nginx().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn apache_behind_the_framed_wire() {
    all_is_read_in_one_way(Way::Framed, Reader::apache().await).await;
}
