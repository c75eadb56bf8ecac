//! Bodies that a node might leave lying: of methods that have none, asked for first, or before another protocol.

use super::case::{AFTER, AS_A_BODY, Case, case};

pub(super) const CASES: &[Case] = &[
    case("of a GET", "GET /outer HTTP/1.1\r\nHost: h\r\nContent-Length: 40\r\n\r\nINNER", &["GET /outer h 40", AFTER]),
    case(
        "of a HEAD",
        "HEAD /outer HTTP/1.1\r\nHost: h\r\nContent-Length: 40\r\n\r\nINNER",
        &["HEAD /outer h 40", AFTER],
    ),
    case(
        "of a DELETE",
        "DELETE /outer HTTP/1.1\r\nHost: h\r\nContent-Length: 40\r\n\r\nINNER",
        &["DELETE /outer h 40", AFTER],
    ),
    case(
        "of an OPTIONS",
        "OPTIONS /outer HTTP/1.1\r\nHost: h\r\nContent-Length: 40\r\n\r\nINNER",
        &["OPTIONS /outer h 40", AFTER],
    ),
    case(
        "of a TRACE",
        "TRACE /outer HTTP/1.1\r\nHost: h\r\nContent-Length: 40\r\n\r\nINNER",
        &["TRACE /outer h 40", AFTER],
    )
    .unless(&[("nginx", &["405", AFTER])]),
    case(
        "of a method of their own",
        "PURGE /outer HTTP/1.1\r\nHost: h\r\nContent-Length: 40\r\n\r\nINNER",
        &["PURGE /outer h 40", AFTER],
    ),
    case("that is asked for", "OUTERExpect: 100-continue\r\nContent-Length: 40\r\n\r\nINNER", AS_A_BODY),
    case(
        "in chunks that are asked for",
        "OUTERExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\nCHUNKS",
        AS_A_BODY,
    ),
    case(
        "that is asked for in other letters",
        "OUTERExpect: 100-Continue\r\nContent-Length: 40\r\n\r\nINNER",
        AS_A_BODY,
    ),
    case(
        "that is asked for in HTTP/1.0",
        "POST /outer HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\nExpect: 100-continue\r\nContent-Length: 40\r\n\r\nINNER",
        AS_A_BODY,
    ),
    case(
        "that something else is expected of",
        "OUTERExpect: something-else\r\nContent-Length: 40\r\n\r\nINNER",
        &["417"],
    ),
    case("that more is expected of", "OUTERExpect: 100-continue, x\r\nContent-Length: 40\r\n\r\nINNER", &["417"]),
    case(
        "that is asked for twice",
        "OUTERExpect: 100-continue\r\nExpect: 100-continue\r\nContent-Length: 40\r\n\r\nINNER",
        AS_A_BODY,
    ),
    case(
        "asked for where there is none",
        "GET /outer HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n",
        &["GET /outer h 0", AFTER],
    ),
    case("too large and asked for", "OUTERExpect: 100-continue\r\nContent-Length: 4194305\r\n\r\n", &["413"]),
    case(
        "before another protocol",
        "OUTERUpgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 40\r\n\r\nINNER",
        AS_A_BODY,
    ),
    case(
        "in chunks before another protocol",
        "OUTERUpgrade: websocket\r\nConnection: upgrade\r\nTransfer-Encoding: chunked\r\n\r\nCHUNKS",
        AS_A_BODY,
    ),
    case(
        "another protocol's bytes before it was agreed on",
        "GET /outer HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nINNER",
        &["GET /outer h 0", "GET /smuggled h 0", AFTER],
    )
    .unless(&[("classic", &["501", "GET /smuggled h 0", AFTER])]),
    case(
        "another protocol that is not connected with",
        "GET /outer HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\nINNER",
        &["GET /outer h 0", "GET /smuggled h 0", AFTER],
    ),
    case(
        "h2c",
        "GET /outer HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\nConnection: Upgrade, HTTP2-Settings\r\n\r\nINNER",
        &["GET /outer h 0", "GET /smuggled h 0", AFTER],
    ),
    case(
        "h2c behind another one",
        "GET /outer HTTP/1.1\r\nHost: h\r\nUpgrade: x, h2c\r\nConnection: Upgrade\r\n\r\nINNER",
        &["GET /outer h 0", "GET /smuggled h 0", AFTER],
    )
    .unless(&[("classic", &["501", "GET /smuggled h 0", AFTER])]),
    case(
        "TLS",
        "OPTIONS /outer HTTP/1.1\r\nHost: h\r\nUpgrade: TLS/1.0\r\nConnection: Upgrade\r\n\r\nINNER",
        &["OPTIONS /outer h 0", "GET /smuggled h 0", AFTER],
    ),
    case(
        "another protocol in HTTP/1.0",
        "GET /outer HTTP/1.0\r\nHost: h\r\nUpgrade: websocket\r\nConnection: upgrade, keep-alive\r\n\r\nINNER",
        &["GET /outer h 0", "GET /smuggled h 0", AFTER],
    ),
    case(
        "of HTTP/1.0 that ends",
        "POST /outer HTTP/1.0\r\nHost: h\r\nContent-Length: 40\r\n\r\nINNER",
        &["POST /outer h 40"],
    ),
    case("of HTTP/1.0 without a length", "POST /outer HTTP/1.0\r\nHost: h\r\n\r\nINNER", &["POST /outer h 0"]),
];
