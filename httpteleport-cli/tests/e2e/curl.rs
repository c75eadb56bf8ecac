//! curl through two nodes to an origin that records every byte of a request.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

use testkit::programs::{Curl, CurlOutput};
use testkit::wire::{HttpReply, HttpRequest};

use crate::WIRE;
use crate::node::{Files, Pair, noise, text};
use crate::origin::{Answer, Origin};

/// curl's answer, which must be a whole exchange.
async fn whole(curl: Curl) -> CurlOutput {
    let output = curl.run().await;
    assert_eq!(output.exit, 0, "{output:?}");
    output
}

fn values<'a>(request: &'a HttpRequest, name: &str) -> Vec<&'a str> {
    request.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn methods_and_bodies() {
    let origin = Origin::start().await;
    let pair = Pair::start(&origin.url);
    let files = Files::new();
    let large = noise(1, 3_000_000);
    let upload = format!("@{}", text(&files.write("large", &large)));

    let reply = whole(Curl::new(&pair.url("/a?b=c"))).await;
    assert_eq!((reply.status, &reply.body[..]), (200, &b"GET /a?b=c"[..]));
    assert_eq!(origin.last().value("Content-Length"), None);

    // A body over 1 MB makes curl say Expect: 100-continue by itself.
    let reply = whole(Curl::new(&pair.url("/post")).args(["--data-binary", &upload])).await;
    assert!(reply.body == large && reply.heads.starts_with("HTTP/1.1 100 Continue\r\n"), "{}", reply.heads);
    let seen = origin.last();
    assert_eq!((&*seen.method, seen.value("Expect"), seen.value("Content-Length")), ("POST", None, Some("3000000")));
    assert!(seen.body == large);

    let path = text(&files.path("large"));
    let reply = whole(Curl::new(&pair.url("/put")).args(["--upload-file", &path])).await;
    assert!(reply.body == large && origin.last().method == "PUT");
    let chunked = ["--upload-file", &path, "--header", "Transfer-Encoding: chunked"];
    let reply = whole(Curl::new(&pair.url("/chunked")).args(chunked)).await;
    assert!(reply.body == large);
    // The classic wire collects a body; the framed one passes it on as it comes, without a length.
    let length: &[&str] = if WIRE == "classic" { &["3000000"] } else { &[] };
    assert_eq!(values(&origin.last(), "Content-Length"), length);

    let expecting = ["--data", "hi", "--header", "Expect: 100-continue"];
    let reply = whole(Curl::new(&pair.url("/expect")).args(expecting)).await;
    assert!(reply.body == b"hi" && reply.heads.starts_with("HTTP/1.1 100 Continue\r\n"), "{}", reply.heads);
    assert_eq!(origin.last().value("Expect"), None);

    for method in ["DELETE", "PATCH", "OPTIONS", "PROPFIND"] {
        let reply = whole(Curl::new(&pair.url("/m")).args(["--request", method])).await;
        assert_eq!(reply.body, format!("{method} /m").as_bytes());
        let reply = whole(Curl::new(&pair.url("/m")).args(["--request", method, "--data", "with a body"])).await;
        assert_eq!(reply.body, b"with a body");
    }
    assert_eq!(whole(Curl::new(&pair.url("/")).args(["--data", ""])).await.body, b"POST /");
    assert_eq!(values(&origin.last(), "Content-Length"), ["0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn head_has_the_length_of_get_and_the_connection_goes_on() {
    let origin = Origin::scripted(|request| match &*request.target {
        "/unknown" => Answer::Bytes(HttpReply::new(200, "OK").header("Transfer-Encoding", "chunked").bytes()),
        _ => Answer::Bytes(HttpReply::new(200, "OK").header("ETag", "\"e\"").header("Content-Length", "50000").bytes()),
    })
    .await;
    let pair = Pair::start(&origin.url);
    let url = pair.url("/[1-3]");
    let reply = whole(Curl::new(&url).args(["--head", "--write-out", "<%{num_connects} %{http_code}>"])).await;
    let said = String::from_utf8_lossy(&reply.body).into_owned();
    let connects: Vec<_> = said.split('<').skip(1).map(|part| part.split('>').next().unwrap_or_default()).collect();
    assert_eq!(connects, ["1 200", "0 200", "0 200"], "one connection: {said}");
    assert_eq!(reply.heads.matches("\r\nContent-Length: 50000\r\n").count(), 3, "{}", reply.heads);
    assert_eq!(reply.header("ETag"), Some("\"e\""));
    assert!(origin.requests().iter().all(|request| request.method == "HEAD" && request.headers.len() == 3));
    assert_eq!(origin.last().value("Teleport-Method"), None);

    let reply = whole(Curl::new(&pair.url("/unknown")).arg("--head")).await;
    assert_eq!((reply.status, reply.header("Content-Length")), (200, None), "no false length: {}", reply.heads);
}

#[tokio::test(flavor = "multi_thread")]
async fn http_1_0_with_and_without_a_host() {
    let origin = Origin::start().await;
    let pair = Pair::start(&origin.url);
    let reply = whole(Curl::new(&pair.url("/a")).arg("--http1.0")).await;
    assert_eq!((reply.status, &reply.body[..]), (200, &b"GET /a"[..]));
    assert_eq!((origin.last().version.as_str(), origin.last().value("Host")), ("HTTP/1.1", Some(pair.near.address())));
    let reply = whole(Curl::new(&pair.url("/b")).args(["--http1.0", "--header", "Host:"])).await;
    assert_eq!((reply.status, &reply.body[..]), (200, &b"GET /b"[..]));
    assert!(origin.last().value("Host").is_some_and(|host| !host.is_empty()), "{:?}", origin.last());
    let reply = whole(Curl::new(&pair.url("/c")).args(["--http1.0", "--data", "body"])).await;
    assert_eq!(reply.body, b"body");
    let reply = whole(Curl::new(&pair.url("/d")).args(["--header", "Host:"])).await;
    assert_eq!(reply.status, 400, "HTTP/1.1 without a host is no request");
    assert_eq!(origin.requests().len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_requests_over_one_connection() {
    let origin = Origin::start().await;
    let pair = Pair::start(&origin.url);
    let reply = whole(Curl::new(&pair.url("/n/[1-1000]")).args(["--write-out", " %{num_connects}\n"])).await;
    let lines: Vec<_> = std::str::from_utf8(&reply.body).expect("text").lines().collect();
    assert_eq!(lines.len(), 1000);
    for (at, line) in lines.iter().enumerate() {
        assert_eq!(*line, format!("GET /n/{} {}", at + 1, u8::from(at == 0)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_and_headers_arrive_as_they_were_typed() {
    let origin = Origin::scripted(|request| {
        let reply = HttpReply::new(207, "Anything You Like")
            .header("Set-Cookie", "a=1; Path=/; Expires=Wed, 21 Oct 2026 07:28:00 GMT")
            .header("Set-Cookie", "b=2, with a comma")
            .header("X-Latin", "caf\u{e9} \u{ff}")
            .header("X-Empty", "")
            .header("Date", "Mon, 01 Jan 2001 00:00:00 GMT")
            .header("Server", "mine")
            .header("Connection", "X-Hop")
            .header("X-Hop", "1")
            .header("Keep-Alive", "timeout=9")
            .header("Teleport-Head-Length", "7")
            .body(request.target.as_bytes());
        Answer::Bytes(reply.bytes())
    })
    .await;
    let pair = Pair::start(&origin.url);
    for target in [
        "/a%2Fb/../c//d/./e?x=%20&y=a+b;c=[1]{2}&",
        "//double//slash",
        "/?",
        "/%E2%82%AC/%ff|^?q='|^`{}[]\\",
        "*",
        "/a:80@b",
        "/:x",
    ] {
        let curl = Curl::new(&pair.url("/")).args(["--request", "OPTIONS", "--globoff", "--request-target", target]);
        let reply = whole(curl).await;
        assert_eq!((reply.status, String::from_utf8_lossy(&reply.body).as_ref()), (207, target));
    }
    let reply = whole(Curl::new(&pair.url("/")).args(["--request-target", "http://other.test:81/abs?x"])).await;
    assert_eq!(reply.body, b"/abs?x");
    assert_eq!(origin.last().value("Host"), Some("other.test:81"));

    let latin = OsStr::from_bytes(b"X-Latin: caf\xe9 \xff\x80");
    let headers =
        ["X-Same: one", "X-Same: two", "X-Same: one", "X-Empty;", "Cookie: a=b; c=d", "Teleport-Method: HEAD"];
    let hop = ["Connection: keep-alive, X-Hop", "X-Hop: 1", "Keep-Alive: 5", "Proxy-Connection: x", "TE: trailers"];
    let curl = Curl::new(&pair.url("/h")).arg("--header").arg(latin);
    let reply = whole(headers.iter().chain(&hop).fold(curl, |curl, header| curl.args(["--header", header]))).await;
    let seen = origin.last();
    assert_eq!(seen.method, "GET", "an outsider's Teleport-Method means nothing");
    assert_eq!(values(&seen, "X-Same"), ["one", "two", "one"]);
    assert_eq!((values(&seen, "X-Empty"), values(&seen, "Cookie")), (vec![""], vec!["a=b; c=d"]));
    assert_eq!(values(&seen, "X-Latin"), ["caf\u{e9} \u{ff}\u{80}"]);
    for gone in ["X-Hop", "Keep-Alive", "Proxy-Connection"] {
        assert_eq!(seen.value(gone), None, "{gone}");
    }
    // It is a field like any other where the wire gives it no meaning.
    assert_eq!(seen.value("Teleport-Method"), if WIRE == "classic" { None } else { Some("HEAD") });
    // The classic wire carries no trailers.
    let trailers = if WIRE == "classic" { (None, None) } else { (Some("te"), Some("trailers")) };
    assert_eq!((seen.value("Connection"), seen.value("TE")), trailers);

    assert_eq!((reply.status, &reply.body[..]), (207, &b"/h"[..]));
    for line in [
        "Set-Cookie: a=1; Path=/; Expires=Wed, 21 Oct 2026 07:28:00 GMT",
        "Set-Cookie: b=2, with a comma",
        "X-Latin: caf\u{fffd} \u{fffd}",
        "Date: Mon, 01 Jan 2001 00:00:00 GMT",
        "Server: mine",
    ] {
        assert_eq!(reply.heads.matches(&format!("\r\n{line}\r\n")).count(), 1, "{line}: {}", reply.heads);
    }
    assert_eq!(reply.header("X-Empty"), Some(""));
    for gone in ["Connection", "X-Hop", "Keep-Alive", "Transfer-Encoding"] {
        assert_eq!(reply.header(gone), None, "{gone}");
    }
    assert_eq!(reply.header("Teleport-Head-Length"), if WIRE == "classic" { None } else { Some("7") });
}

#[tokio::test(flavor = "multi_thread")]
async fn replies_of_every_framing() {
    let large = noise(2, 12_000_000);
    let body = large.clone();
    let origin = Origin::scripted(move |request| match &*request.target {
        "/204" => Answer::Bytes(HttpReply::new(204, "No Content").header("X-Here", "1").bytes()),
        "/304" => Answer::Bytes(HttpReply::new(304, "Not Modified").header("Content-Length", "77").bytes()),
        "/empty" => Answer::Bytes(HttpReply::new(200, "OK").body(b"").bytes()),
        "/gzip" => {
            Answer::Bytes(HttpReply::new(200, "OK").header("Content-Encoding", "gzip").body(&body[..5000]).bytes())
        }
        "/chunks" => {
            let mut bytes = HttpReply::new(200, "OK").header("Transfer-Encoding", "chunked").bytes();
            bytes.extend(testkit::wire::http::chunked(&body[..300_000], 777));
            bytes.truncate(bytes.len() - 2);
            bytes.extend(b"X-Trailer: dropped\r\n\r\n");
            Answer::Bytes(bytes)
        }
        "/until-the-end" => {
            let mut bytes = b"HTTP/1.0 200 Fine\r\nX-Old: yes\r\n\r\n".to_vec();
            bytes.extend_from_slice(&body[..300_000]);
            Answer::Last(bytes)
        }
        "/hints" => {
            let mut bytes = HttpReply::new(103, "Early Hints").header("Link", "</x>").bytes();
            bytes.extend(HttpReply::new(500, "No").body(b"final").bytes());
            Answer::Bytes(bytes)
        }
        _ => Answer::Bytes(HttpReply::new(200, "OK").body(&body).bytes()),
    })
    .await;
    let pair = Pair::with(&origin.url, &["--out-timeout", "15s"], &["--out-timeout", "15s"]);
    let get = |target: &str| whole(Curl::new(&pair.url(target)));
    let reply = get("/204").await;
    assert_eq!((reply.status, reply.header("X-Here"), reply.header("Content-Length")), (204, Some("1"), None));
    let reply = get("/304").await;
    assert_eq!((reply.status, reply.body.len()), (304, 0));
    assert_ne!(reply.header("Content-Length"), Some("0"), "what it stands for is not empty");
    let reply = get("/empty").await;
    assert_eq!((reply.status, reply.header("Content-Length")), (200, Some("0")));
    let reply = get("/gzip").await;
    assert!(reply.body == large[..5000] && reply.header("Content-Encoding") == Some("gzip"), "{}", reply.heads);
    let reply = get("/chunks").await;
    assert!(reply.body == large[..300_000] && reply.header("X-Trailer").is_none(), "{}", reply.heads);
    let reply = get("/until-the-end").await;
    assert!(reply.body == large[..300_000] && reply.header("X-Old") == Some("yes"), "{}", reply.heads);
    let reply = get("/hints").await;
    assert_eq!((reply.status, &reply.body[..]), (500, &b"final"[..]));
    assert!(!reply.heads.contains("103"), "{}", reply.heads);
    let reply = get("/large").await;
    assert!(reply.body == large, "{} bytes", reply.body.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn multipart_uploads_are_not_touched() {
    let origin = Origin::start().await;
    let pair = Pair::start(&origin.url);
    let files = Files::new();
    let content = noise(3, 200_000);
    let form = format!("file=@{};headers=\"X-Part: kept\"", text(&files.write("content", &content)));
    let sizes = ["--write-out", "\n%{size_upload}"];
    let reply = whole(Curl::new(&pair.url("/form")).args(["--form", &form, "--form", "field=value"]).args(sizes)).await;
    let seen = origin.last();
    let boundary = seen.value("Content-Type").and_then(|kind| kind.strip_prefix("multipart/form-data; boundary="));
    let boundary = boundary.expect("the type that curl gave");
    assert_eq!(values(&seen, "Content-Length"), [seen.body.len().to_string()]);
    assert!(seen.body.starts_with(format!("--{boundary}\r\n").as_bytes()));
    assert!(seen.body.ends_with(format!("value\r\n--{boundary}--\r\n").as_bytes()));
    assert!(seen.body.windows(content.len()).any(|window| window == content));
    assert!(seen.body.windows(14).any(|window| window == b"X-Part: kept\r\n"));
    assert!(reply.body.ends_with(format!("\n{}", seen.body.len()).as_bytes()), "as much as curl has sent");

    // What a parser of forms would stumble over is bytes like any other.
    for odd in ["", "--b--", "preamble\r\n--b\r\n\r\nx\r\n--b--\r\nGET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n", "--b"] {
        let kind = ["--header", "Content-Type: Multipart/Form-Data; boundary=b", "--data-binary", odd];
        let reply = whole(Curl::new(&pair.url("/odd")).args(kind)).await;
        assert_eq!((reply.status, origin.last().body), (200, odd.as_bytes().to_vec()));
    }
    assert_eq!(origin.requests().len(), 5);
}
