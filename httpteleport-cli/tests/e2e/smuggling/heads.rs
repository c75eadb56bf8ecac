//! Lines that begin or end in a way that one reader sees and another does not, and fields that are none.

use super::case::{AFTER, AS_A_BODY, BAD, Case, EMPTY, case};

pub(super) const CASES: &[Case] = &[
    case("bare LFs alone", "POST /outer HTTP/1.1\nHost: h\nContent-Length: 40\n\nINNER", AS_A_BODY),
    case(
        "a bare LF behind the request line",
        "POST /outer HTTP/1.1\nHost: h\r\nContent-Length: 40\r\n\r\nINNER",
        AS_A_BODY,
    ),
    case("a bare LF behind a field", "OUTERX: y\nContent-Length: 40\r\n\r\nINNER", AS_A_BODY),
    case("a bare LF at the end of the head", "OUTERContent-Length: 40\r\n\nINNER", AS_A_BODY),
    case(
        "a hidden coding behind a bare LF",
        "OUTERContent-Length: 40\r\nX: y\nTransfer-Encoding: chunked\r\n\r\nINNER",
        BAD,
    ),
    case("a bare CR in a value", "OUTERX: a\rb\r\nContent-Length: 40\r\n\r\nINNER", BAD),
    case(
        "a hidden coding behind a bare CR",
        "OUTERContent-Length: 40\r\nX: y\rTransfer-Encoding: chunked\r\n\r\nINNER",
        BAD,
    ),
    case("a bare CR behind the request line", "POST /outer HTTP/1.1\rHost: h\r\n\r\nINNER", BAD),
    case("a CR too many behind a field", "OUTERX: y\r\r\nContent-Length: 40\r\n\r\nINNER", BAD),
    case("a CR too many at the end", "OUTERContent-Length: 40\r\n\r\r\nINNER", BAD),
    case("a null byte in a value", "OUTERX: a\0b\r\nContent-Length: 40\r\n\r\nINNER", BAD),
    case("a null byte in a name", "OUTERX\0: b\r\nContent-Length: 40\r\n\r\nINNER", BAD),
    case("a null byte in a target", "POST /outer\0 HTTP/1.1\r\nHost: h\r\nContent-Length: 40\r\n\r\nINNER", BAD),
    case("another control byte in a value", "OUTERX: a\u{1b}b\r\nContent-Length: 40\r\n\r\nINNER", BAD),
    case("DEL in a value", "OUTERX: a\u{7f}b\r\nContent-Length: 40\r\n\r\nINNER", BAD),
    case("a folded length", "OUTERContent-Length:\r\n 40\r\n\r\nINNER", BAD),
    case("a folded coding", "OUTERContent-Length: 40\r\nTransfer-Encoding:\r\n chunked\r\n\r\nINNER", BAD),
    case("a folded field that looks like a length", "OUTERX: y\r\n Content-Length: 40\r\n\r\n", BAD),
    case(
        "a folded field that looks like a coding",
        "OUTERContent-Length: 40\r\nX: y\r\n\tTransfer-Encoding: chunked\r\n\r\nINNER",
        BAD,
    ),
    case("a fold with nothing in it", "OUTERX: y\r\n \r\nContent-Length: 40\r\n\r\nINNER", BAD),
    case("a blank before the first field", "POST /outer HTTP/1.1\r\n Host: h\r\nContent-Length: 40\r\n\r\nINNER", BAD),
    case("a blank before the colon of a length", "OUTERContent-Length : 40\r\n\r\nINNER", BAD),
    case("a tab before the colon of a length", "OUTERContent-Length\t: 40\r\n\r\nINNER", BAD),
    case(
        "a blank before the colon of a coding",
        "OUTERContent-Length: 40\r\nTransfer-Encoding : chunked\r\n\r\nINNER",
        BAD,
    ),
    case("a vertical tab before the colon", "OUTERContent-Length\u{b}: 40\r\n\r\nINNER", BAD),
    case(
        "a blank before the colon of a host",
        "POST /outer HTTP/1.1\r\nHost : h\r\nContent-Length: 40\r\n\r\nINNER",
        BAD,
    ),
    case("a field without a colon", "OUTERTransfer-Encoding\r\nContent-Length: 40\r\n\r\nINNER", BAD),
    case("a field without a name", "OUTER: 40\r\nContent-Length: 40\r\n\r\nINNER", BAD),
    case("a blank in a name", "OUTERX Content-Length: 0\r\nContent-Length: 40\r\n\r\nINNER", BAD),
    case("a parenthesis in a name", "OUTERX(y): 0\r\nContent-Length: 40\r\n\r\nINNER", BAD),
    case("a name in another alphabet", "OUTERContent-Lengtн: 0\r\nContent-Length: 40\r\n\r\nINNER", BAD),
    case("a pseudo field", "OUTER:authority: other\r\nContent-Length: 40\r\n\r\nINNER", BAD),
    case("bytes over 127 in a value", "OUTERX: grün\r\nContent-Length: 40\r\n\r\nINNER", AS_A_BODY),
    case(
        "fields of teleport's own",
        "OUTERTeleport-Method: HEAD\r\nTeleport-Head-Length: 3\r\nContent-Length: 40\r\n\r\nINNER",
        AS_A_BODY,
    ),
    case(
        "a field that claims another method",
        "OUTERX-HTTP-Method-Override: HEAD\r\nContent-Length: 40\r\n\r\nINNER",
        AS_A_BODY,
    ),
    case(
        "a field that claims another target",
        "OUTERX-Original-URL: /smuggled\r\nX-Rewrite-URL: /smuggled\r\nContent-Length: 40\r\n\r\nINNER",
        AS_A_BODY,
    ),
    case("an empty line before a request", "\r\nOUTERContent-Length: 40\r\n\r\nINNER", AS_A_BODY),
    case("an empty line between requests", "OUTERContent-Length: 40\r\n\r\nINNER\r\n", AS_A_BODY),
    case("a blank before a request", " OUTERContent-Length: 40\r\n\r\nINNER", BAD),
    case(
        "one more byte than the length says",
        "OUTERContent-Length: 39\r\n\r\nINNERX",
        &["POST /outer h 39", "XGET /after h 0"],
    ),
    case("a head of 5 KB", HEAD_5K, &["431"]),
    case("a name of 5 KB", NAME_5K, &["431"]),
    case("a target of 5 KB", TARGET_5K, &["431"]),
    case("a head without a field", "GET /outer HTTP/1.1\r\n\r\n", BAD),
    case(
        "Connection names what is needed",
        "OUTERConnection: close, Host\r\nContent-Length: 40\r\n\r\nINNER",
        &["POST /outer h 40"],
    ),
    case(
        "Connection names a cookie",
        "OUTERConnection: Cookie\r\nCookie: a=b\r\nContent-Length: 40\r\n\r\nINNER",
        AS_A_BODY,
    ),
    case("Proxy-Connection", "OUTERProxy-Connection: close\r\nContent-Length: 40\r\n\r\nINNER", AS_A_BODY),
    case(
        "Keep-Alive",
        "OUTERKeep-Alive: timeout=0, max=0\r\nConnection: Keep-Alive\r\nContent-Length: 40\r\n\r\nINNER",
        AS_A_BODY,
    ),
    case(
        "requests behind each other",
        "OUTER\r\nINNEROUTERContent-Length: 40\r\n\r\nINNER",
        &["POST /outer h 0", "GET /smuggled h 0", "POST /outer h 40", AFTER],
    ),
    case("an end that is announced", "OUTERConnection: close\r\nContent-Length: 0\r\n\r\nINNER", &["POST /outer h 0"]),
    case(
        "a body of a form",
        "OUTERContent-Type: multipart/form-data; boundary=x\r\nContent-Length: 40\r\n\r\nINNER",
        AS_A_BODY,
    ),
    case("an empty field of any name", "OUTERX:\r\n\r\n", EMPTY),
];

const HEAD_5K: &str = concat!("OUTERX: ", "many!", "\r\nContent-Length: 40\r\n\r\nINNER");
const NAME_5K: &str = concat!("OUTER", "many!", ": x\r\nContent-Length: 40\r\n\r\nINNER");
const TARGET_5K: &str = "GET /outer/many! HTTP/1.1\r\nHost: h\r\n\r\n";
