//! What comes in: what is accepted, and what a user gets to see of it.

use http::{Method, Version};

use crate::support::{received, received_reply};

#[test]
fn a_request_arrives_as_it_was_sent() {
    let request = received("POST /a%2Fb?c HTTP/1.1\r\nHost: h\r\nX-A: 1\r\nx-a:2\r\nContent-Length: 5\r\n\r\nhello");
    assert_eq!((request.method(), request.uri().to_string().as_str()), (&Method::POST, "/a%2Fb?c"));
    assert_eq!(request.version(), Version::HTTP_11);
    assert_eq!(request.headers().get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
    assert_eq!(request.headers()["host"], "h");
    assert_eq!(request.body().as_bytes(), "hello");
}

#[test]
fn blank_lines_may_stand_before_a_start_line() {
    assert_eq!(received("\r\n\n\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n").uri(), "/");
    assert_eq!(received_reply("\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx").body().len(), 1);
}

#[test]
fn lines_may_end_with_lf_alone() {
    let request = received("POST / HTTP/1.1\nHost: h\nContent-Length: 2\n\nok");
    assert_eq!((request.headers()["host"].as_bytes(), request.body().len()), (&b"h"[..], 2));
    assert_eq!(received_reply("HTTP/1.1 200 OK\nTransfer-Encoding: chunked\n\n2\nok\n0\n\n").body().as_bytes(), "ok");
}

#[test]
fn any_protocol_word_may_begin_a_reply() {
    for word in ["HTTP/1.0", "HTTP/2", "HTTP/9.9", "ICY"] {
        let reply = received_reply(format!("{word} 404 Who Knows\r\nContent-Length: 1\r\n\r\nx"));
        assert_eq!((reply.status().as_u16(), reply.version()), (404, Version::HTTP_11));
    }
}

#[test]
fn a_reason_may_be_missing() {
    assert_eq!(received_reply("HTTP/1.1 299 \r\nContent-Length: 0\r\n\r\n").status(), 299);
    assert_eq!(received_reply("HTTP/1.1 299\r\nContent-Length: 0\r\n\r\n").status(), 299);
}

#[test]
fn the_version_of_a_request_is_kept() {
    let request = received("GET / HTTP/1.0\r\n\r\n");
    assert_eq!(request.version(), Version::HTTP_10);
    assert!(request.headers().is_empty(), "HTTP/1.0 needs no host");
}

#[test]
fn absolute_targets_and_the_asterisk_arrive() {
    assert_eq!(received("GET http://a:1/b HTTP/1.1\r\nHost: h\r\n\r\n").uri(), "http://a:1/b");
    assert_eq!(received("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n").uri(), "*");
}

#[test]
fn raw_bytes_and_tabs_in_values_are_kept_and_spaces_around_are_not() {
    let request = received(b"GET / HTTP/1.1\r\nHost: h\r\nX:\t caf\xe9\t\xff \t\r\nY:\r\nZ : z\r\n\r\n");
    assert_eq!(request.headers()["x"].as_bytes(), b"caf\xe9\t\xff");
    assert_eq!(request.headers()["y"], "");
    assert_eq!(request.headers()["z"], "z");
}

#[test]
fn hop_by_hop_headers_are_taken_out() {
    for name in ["Connection", "Keep-Alive", "TE", "Upgrade", "Proxy-Connection", "Trailer"] {
        let request = received(format!("GET / HTTP/1.1\r\nHost: h\r\n{name}: close\r\n\r\n"));
        assert_eq!(request.headers().len(), 1, "{name}");
        let reply = received_reply(format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n{name}: close\r\n\r\n"));
        assert!(reply.headers().is_empty(), "{name}");
    }
}

#[test]
fn what_connection_names_is_taken_out_wherever_it_stands_but_not_host() {
    let request = received(
        "GET / HTTP/1.1\r\nX-One: 1\r\nHost: h\r\nConnection: close, x-one, host\r\nconnection: X-Two,\"\r\nX-Two: 2\r\nX-Three: 3\r\n\r\n",
    );
    assert!(request.headers().contains_key("host") && request.headers().contains_key("x-three"));
    assert_eq!(request.headers().len(), 2);
}

#[test]
fn expect_is_taken_out_and_the_body_read() {
    let request = received("PUT / HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok");
    assert!(!request.headers().contains_key("expect"));
    assert_eq!(request.body().as_bytes(), "ok");
}

#[test]
fn lengths_are_taken_out_and_the_body_knows_them() {
    let request = received("PUT / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nok");
    assert_eq!(request.headers().len(), 1);
    let reply = received_reply("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n");
    assert!(reply.headers().is_empty());
    assert_eq!(http_body::Body::size_hint(reply.body()).exact(), Some(2));
}

#[test]
fn a_request_without_a_word_about_its_body_has_none() {
    assert!(received("POST / HTTP/1.1\r\nHost: h\r\n\r\n").body().is_empty());
}

#[test]
fn statuses_without_body_end_with_their_head_whatever_it_says() {
    for status in [204, 304] {
        for length in ["Content-Length: 1234\r\n", "Transfer-Encoding: chunked\r\n", ""] {
            let reply = received_reply(format!("HTTP/1.1 {status} X\r\n{length}Etag: e\r\n\r\n"));
            assert!(reply.body().is_empty());
            assert_eq!(reply.headers().len(), 1, "a length would contradict the body on the next hop");
        }
    }
}

#[test]
fn the_authority_of_a_target_wins_over_host() {
    for (target, uri) in [
        ("http://a/x", "http://a/x"),
        ("http://me:secret@a/x?y", "http://me:secret@a/x?y"),
        ("http://a?y", "http://a/?y"),
        ("http://a#f", "http://a/"),
    ] {
        for host in ["Host: b\r\n", "Host:\r\n", "hOST: a\r\n", ""] {
            let request = received(format!("GET {target} HTTP/1.1\r\nX: y\r\n{host}\r\n"));
            assert_eq!(request.headers().get_all("host").iter().collect::<Vec<_>>(), ["a"], "{target} {host}");
            assert_eq!(request.uri().to_string(), uri);
        }
    }
    assert_eq!(received("GET http://a:81/ HTTP/1.0\r\nHost: b\r\n\r\n").headers()["host"], "a:81");
}

#[test]
fn a_target_of_two_hosts_is_passed_on_with_one() {
    let request = received("GET http://a/x HTTP/1.1\r\nHost: b\r\n\r\n");
    assert_eq!(crate::support::sent(&request), "GET /x HTTP/1.1\r\nHost: a\r\n\r\n");
}

#[test]
fn a_fragment_is_dropped() {
    assert_eq!(received("GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n").uri(), "/a");
}
