//! What goes out as a request.

use fastrpc::codec::Codec;
use http::{Method, Request};
use httpteleport::{Body, ClassicCodec, Fault, Limits};

use crate::support::{codec, not_sent, sent, wide_codec};

fn get(uri: &str) -> http::request::Builder {
    Request::get(uri)
}

fn empty(builder: http::request::Builder) -> Request<Body> {
    builder.body(Body::empty()).unwrap()
}

#[test]
fn a_request_is_http_1_1_text() {
    let request = Request::post("http://example.com:81/p?q=1").header("X-A", "b").body(Body::from("hello")).unwrap();
    let text = "POST /p?q=1 HTTP/1.1\r\nHost: example.com:81\r\nContent-Length: 5\r\nx-a: b\r\n\r\nhello";
    assert_eq!(sent(&request), text);
}

#[test]
fn the_version_sent_is_1_1_whatever_the_request_says() {
    let request = empty(get("http://h/").version(http::Version::HTTP_10));
    assert!(sent(&request).starts_with("GET / HTTP/1.1\r\n"));
}

#[test]
fn the_target_goes_out_byte_for_byte() {
    for target in ["/a%2Fb//../c?x=%20&y#", "/?", "/%00%ff", "/a;b=c,d:@!$&'()*+"] {
        let request = empty(get(&format!("http://h{target}")));
        let target = target.trim_end_matches('#');
        assert!(sent(&request).starts_with(&format!("GET {target} HTTP/1.1\r\n")), "{}", sent(&request));
    }
}

#[test]
fn an_origin_form_and_an_asterisk_go_out_as_they_are() {
    let request = empty(Request::options("*").header("host", "h"));
    assert!(sent(&request).starts_with("OPTIONS * HTTP/1.1\r\nHost: h\r\n"));
    assert!(sent(&empty(get("/x").header("host", "h"))).starts_with("GET /x HTTP/1.1\r\n"));
    assert!(sent(&empty(get("http://h"))).starts_with("GET / HTTP/1.1\r\n"));
}

#[test]
fn a_query_without_a_path_goes_out_behind_a_slash() {
    assert_eq!(sent(&empty(get("http://h?x=1"))), "GET /?x=1 HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(sent(&empty(get("http://h?"))), "GET /? HTTP/1.1\r\nHost: h\r\n\r\n");
}

#[test]
fn the_host_header_wins_over_the_uri() {
    let text = sent(&empty(get("http://authority/").header("host", "header")));
    assert_eq!(text, "GET / HTTP/1.1\r\nHost: header\r\n\r\n");
}

#[test]
fn an_authority_becomes_host_without_user_and_password() {
    assert!(sent(&empty(get("http://me:secret@h:8080/"))).contains("\r\nHost: h:8080\r\n"));
    assert!(sent(&empty(get("http://h/").header("host", ""))).contains("\r\nHost: h\r\n"));
}

#[test]
fn a_request_without_host_is_not_sent() {
    assert_eq!(not_sent(&empty(get("/"))), Fault::MissingHost);
    assert_eq!(not_sent(&empty(get("/").header("host", ""))), Fault::MissingHost);
}

#[test]
fn a_request_with_two_hosts_is_not_sent() {
    assert_eq!(not_sent(&empty(get("/").header("host", "a").header("host", "a"))), Fault::RepeatedHost);
}

#[test]
fn connect_is_not_sent() {
    assert_eq!(not_sent(&empty(Request::connect("h:443").header("host", "h"))), Fault::Connect);
}

#[test]
fn head_goes_as_get_with_a_mark() {
    let text = sent(&empty(Request::head("http://h/x")));
    assert_eq!(text, "GET /x HTTP/1.1\r\nHost: h\r\nTeleport-Method: HEAD\r\n\r\n");
}

#[test]
fn marks_from_outside_are_not_sent() {
    let outside = |method| {
        let builder = Request::builder().method(method).uri("http://h/");
        sent(&empty(builder.header("teleport-method", "HEAD").header("Teleport-Head-Length", "7")))
    };
    assert_eq!(outside(Method::GET), "GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(outside(Method::HEAD).to_lowercase().matches("teleport-").count(), 1);
}

#[test]
fn expect_is_not_sent() {
    let request = Request::put("http://h/").header("expect", "100-continue").body(Body::from("x")).unwrap();
    assert!(!sent(&request).to_lowercase().contains("expect"));
}

#[test]
fn hop_by_hop_headers_stay_behind() {
    for name in ["connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"] {
        let text = sent(&empty(get("http://h/").header(name, "x-value").header("x-kept", "1")));
        assert_eq!(text, "GET / HTTP/1.1\r\nHost: h\r\nx-kept: 1\r\n\r\n", "{name}");
    }
}

#[test]
fn what_connection_names_stays_behind_but_not_host() {
    let builder = get("http://h/").header("connection", "close, X-One , host").header("connection", "x-two");
    let request = empty(builder.header("x-one", "1").header("x-two", "2").header("x-three", "3"));
    assert_eq!(sent(&request), "GET / HTTP/1.1\r\nHost: h\r\nx-three: 3\r\n\r\n");
}

#[test]
fn what_connection_names_stays_behind_where_it_stands_first() {
    let request = empty(get("http://h/").header("x-one", "1").header("x-two", "2").header("connection", "x-one"));
    assert_eq!(sent(&request), "GET / HTTP/1.1\r\nHost: h\r\nx-two: 2\r\n\r\n");
}

#[test]
fn credentials_for_a_proxy_behind_us_pass() {
    assert!(sent(&empty(get("http://h/").header("proxy-authorization", "Basic x"))).contains("proxy-authorization"));
}

#[test]
fn content_length_is_ours_and_single() {
    let builder = Request::post("http://h/").header("content-length", "99").header("content-length", "1");
    let text = sent(&builder.body(Body::from("hello")).unwrap());
    assert_eq!(text, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello");
}

#[test]
fn an_empty_body_is_told_where_one_is_expected() {
    for method in ["POST", "PUT", "PATCH", "PURGE"] {
        let text = sent(&empty(Request::builder().method(method).uri("http://h/")));
        assert!(text.contains("\r\nContent-Length: 0\r\n"), "{method}");
    }
    for method in ["GET", "HEAD", "DELETE", "OPTIONS", "TRACE"] {
        let text = sent(&empty(Request::builder().method(method).uri("http://h/")));
        assert!(!text.contains("Content-Length"), "{method}");
    }
}

#[test]
fn a_body_on_get_is_sent() {
    let request = get("http://h/").body(Body::from("x")).unwrap();
    assert_eq!(sent(&request), "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\nx");
}

#[test]
fn multipart_forms_go_chunked() {
    for kind in ["multipart/form-data; boundary=b", "Multipart/Form-Data;boundary=b", " multipart/form-data"] {
        let request =
            Request::post("http://h/").header("content-type", kind).body(Body::from("sixteen bytes ok")).unwrap();
        let text = sent(&request);
        assert!(text.contains("\r\nTransfer-Encoding: chunked\r\n") && !text.contains("Content-Length"), "{text}");
        assert!(text.ends_with("\r\n\r\n10\r\nsixteen bytes ok\r\n0\r\n\r\n"), "{text}");
    }
    let request = Request::post("http://h/").header("content-type", "multipart/mixed").body(Body::from("x")).unwrap();
    assert!(sent(&request).contains("Content-Length: 1"));
}

#[test]
fn repeated_headers_and_raw_bytes_go_out() {
    let latin1 = http::HeaderValue::from_bytes(b"caf\xe9\t!").unwrap();
    let request = empty(get("http://h/").header("x-a", "1").header("x-a", "2").header("x-raw", latin1));
    let mut out = Vec::new();
    codec().encode_request(&request, &mut out).unwrap();
    assert_eq!(out, b"GET / HTTP/1.1\r\nHost: h\r\nx-a: 1\r\nx-a: 2\r\nx-raw: caf\xe9\t!\r\n\r\n");
}

/// A request whose head is `length` bytes on the wire.
fn head_of(length: usize) -> Request<Body> {
    let frame = "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nx: \r\n\r\n".len();
    Request::post("http://h/").header("x", "v".repeat(length - frame)).body(Body::from("b")).unwrap()
}

#[test]
fn a_head_of_4096_bytes_goes_out_and_one_of_4097_does_not() {
    assert_eq!(sent(&head_of(4096)).len(), 4096 + 1);
    assert_eq!(not_sent(&head_of(4097)), Fault::PeerHeadLimit { limit: 4096 });
    let mut out = Vec::new();
    wide_codec().encode_request(&head_of(64 << 10), &mut out).unwrap();
    assert_eq!(out.len(), (64 << 10) + 1);
}

#[test]
fn a_long_target_is_over_the_limit_too() {
    let request = empty(get(&format!("http://h/{}", "a".repeat(5000))));
    let error = codec().encode_request(&request, &mut Vec::new()).unwrap_err();
    let error = error.downcast_ref::<httpteleport::CodecError>().unwrap();
    assert_eq!(error.status(), 431);
    assert!(error.to_string().contains("4096 bytes that the peer accepts"), "{error}");
}

#[test]
fn the_limit_counts_the_message_and_not_what_the_buffer_holds() {
    let codec = ClassicCodec::new(Limits::default().with_peer_max_head(600));
    let mut out = vec![0; 100_000];
    codec.encode_request(&head_of(600), &mut out).unwrap();
    assert!(codec.encode_request(&head_of(601), &mut out).is_err());
}
