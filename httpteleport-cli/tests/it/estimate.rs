//! What recorded traffic would cost.

use std::convert::Infallible;
use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Response};
use http_body_util::{BodyExt as _, Full};
use httpteleport_cli::traffic::{Exchange, Generator, Shape};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use testkit::relay::{Relay, RelayOptions};
use tokio::net::TcpListener;

use crate::client::Client;
use crate::program::{Program, run, run_shell};

fn data(name: &str) -> String {
    format!("{}/tests/it/data/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn exchanges(shape: Shape, count: usize) -> Vec<Exchange> {
    let mut generator = Generator::new(shape, 7);
    std::iter::repeat_with(|| generator.next_exchange()).take(count).collect()
}

/// `Name: value` lines and the blank one.
fn fields(headers: &HeaderMap) -> Vec<u8> {
    let mut text = Vec::new();
    for (name, value) in headers {
        text.extend_from_slice(format!("{name}: ").as_bytes());
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"\r\n");
    text
}

fn request_head(Exchange { request, .. }: &Exchange) -> Vec<u8> {
    let line = format!("{} {} HTTP/1.1\r\n", request.method(), request.uri());
    [line.into_bytes(), fields(request.headers())].concat()
}

fn response_head(Exchange { response, .. }: &Exchange) -> Vec<u8> {
    let line = format!("HTTP/1.1 {}\r\n", response.status());
    [line.into_bytes(), fields(response.headers())].concat()
}

/// Writes the exchanges as a pair of files; gives the first.
fn record(folder: &Path, name: &str, exchanges: &[Exchange]) -> String {
    let write = |file: String, records: Vec<(Vec<u8>, &Bytes)>| {
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("short").to_le_bytes();
        let records = records.iter().flat_map(|(head, body)| [&length(head)[..], &length(body), head, body].concat());
        let path = folder.join(file);
        let packed = zstd::encode_all(&records.collect::<Vec<u8>>()[..], 1).expect("zstd");
        std::fs::write(&path, packed).expect("written");
        path.to_str().expect("UTF-8").to_owned()
    };
    let replies = exchanges.iter().map(|exchange| (response_head(exchange), exchange.response.body())).collect();
    write(format!("{name}.resp.zst"), replies);
    let requests = exchanges.iter().map(|exchange| (request_head(exchange), exchange.request.body())).collect();
    write(format!("{name}.req.zst"), requests)
}

async fn estimate(args: &[&str]) -> String {
    let (code, stdout, stderr) = run(&[&["estimate"], args].concat()).await;
    assert_eq!((code, stderr.as_str()), (Some(0), ""), "{args:?}");
    stdout
}

fn row<'a>(json: &'a Value, way: &str, messages: u64) -> &'a Value {
    let rows = json["samples"][0]["rows"].as_array().expect("rows");
    let is_it = |row: &&Value| row["way"] == way && row["messages_a_flush"] == messages;
    rows.iter().find(is_it).unwrap_or_else(|| panic!("no {way}, {messages} a flush"))
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("no number: {value}"))
}

#[tokio::test]
async fn a_har_is_carried_every_way_and_what_cannot_be_is_told() {
    let har = data("shop.har");
    let text = estimate(&[&har]).await;
    assert!(text.starts_with("shop: 3 exchanges of "), "{text}");
    for told in [
        "left out: 1 from the browser's cache",
        "left out: 1 whose body is not in the file",
        "left out: 1 upgraded to another protocol",
        "left out: 1 without a reply",
        "taken as before they were compressed: 1 replies",
        "52 bytes of TCP and IPv4 headers",
        "contexts and HPACK tables begin cold",
    ] {
        assert!(text.replace('\n', " ").contains(told), "{told}:\n{text}");
    }
    for way in
        ["HTTP/1.1 ", "HTTP/1.1 + gzip ", "HTTP/2 + gzip ", "teleport, zstd ", "teleport, lz4 ", "classic, flate "]
    {
        assert!(text.lines().any(|line| line.starts_with(way)), "{way}:\n{text}");
    }
    assert!(!text.contains("a month"), "no rate was given:\n{text}");
    assert!(text.lines().all(|line| line.len() <= 80), "{text}");

    let json: Value = serde_json::from_str(&estimate(&[&har, "--json"]).await).expect("JSON");
    let sample = &json["samples"][0];
    assert_eq!(
        (&sample["exchanges"], &sample["exchanges_in_file"], &sample["decoded_replies"]),
        (&3.into(), &3.into(), &1.into())
    );
    // No pseudo headers, nothing of the connection that was recorded.
    let requests = [
        "GET /api/products?page=1 HTTP/1.1\r\naccept: application/json\r\naccept-encoding: gzip, deflate, br, zstd\r\n",
        "cookie: session=5c1f9a0e7d; theme=dark\r\nhost: shop.example\r\n\r\n",
        "POST /api/cart HTTP/1.1\r\nhost: shop.example\r\ncontent-type: application/json\r\ncontent-length: 20\r\n\r\n",
        "{\"id\":1,\"quantity\":2}",
        "GET /dot.png HTTP/1.1\r\nhost: shop.example\r\n\r\n",
    ];
    assert_eq!(row(&json, "http1", 1)["payload_up"], requests.concat().len());
}

#[tokio::test]
async fn a_month_is_the_exchange_times_the_rate_and_the_price() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = record(folder.path(), "rest", &exchanges(Shape::Rest, 60));
    let options = ["--requests-per-second", "1000", "--price-per-gb", "0.05"];
    let json = estimate(&[&[file.as_str(), "--json"], &options[..]].concat()).await;
    let json: Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["month"]["exchanges"], 2_628_000_000.0);
    for (way, messages) in [("http1", 1), ("http2_gzip", 16), ("framed_zstd", 16), ("flate", 64)] {
        let row = row(&json, way, messages);
        let bytes = number(&row["tcp_per_exchange"]) * 2_628_000_000.0;
        assert!((number(&row["month_bytes"]) / bytes - 1.0).abs() < 1e-9, "{row}");
        assert!((number(&row["month_cost"]) / (bytes / 1e9 * 0.05) - 1.0).abs() < 1e-9, "{row}");
    }
    let of = |way, messages| number(&row(&json, way, messages)["of_http1"]);
    assert!(of("framed_zstd", 16) < of("framed_lz4", 16) && of("framed_lz4", 16) < of("framed_none", 16));
    assert!(of("framed_zstd", 64) < of("framed_zstd", 16) && of("framed_zstd", 16) < of("framed_zstd", 1));
    assert!(of("framed_zstd", 16) < of("http2_gzip", 16));

    let svg = folder.path().join("rest.svg");
    let text = estimate(&[&[file.as_str(), "--svg", svg.to_str().expect("UTF-8")], &options[..]].concat()).await;
    assert!(text.contains("a month at 1000 requests a second: 2,628,000,000 exchanges, 0.05 a GB"), "{text}");
    assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    let svg = std::fs::read_to_string(svg).expect("a picture");
    let document = roxmltree::Document::parse(&svg).expect("XML");
    let bars = document.descendants().filter(|node| node.has_tag_name("rect") && node.children().count() > 0).count();
    assert_eq!(bars, 11 + 2, "a bar for each way, and the legend's");
}

/// The figures are those of a link between two nodes, whose bytes are counted on the way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn figures_are_what_a_real_pair_sends() {
    let folder = tempfile::tempdir().expect("a folder");
    let exchanges = exchanges(Shape::Rest, 100);
    let file = record(folder.path(), "rest", &exchanges);
    let json: Value = serde_json::from_str(&estimate(&[&file, "--json"]).await).expect("JSON");
    for (option, way) in [("zstd", "framed_zstd"), ("lz4", "framed_lz4"), ("none", "framed_none")] {
        let (up, down) = through_a_pair(&exchanges, option).await;
        let estimated = row(&json, way, 1);
        for (seen, estimated) in [(up, &estimated["payload_up"]), (down, &estimated["payload_down"])] {
            let ratio = number(estimated) / seen as f64;
            assert!((0.97..1.03).contains(&ratio), "{way}: estimated {estimated}, carried {seen}");
        }
    }
}

/// Sends them one after the other; bytes that crossed the link, up and down.
async fn through_a_pair(exchanges: &[Exchange], compress: &str) -> (u64, u64) {
    let origin = origin(exchanges).await;
    let far = Program::start(&["--in", "teleport://127.0.0.1:0", "--out", &origin, "--in-compress", compress]).await;
    let far_address = far.address().split(" (").next().expect("an address").parse().expect("one of TCP");
    let relay = Relay::start(far_address, RelayOptions::default()).expect("a port");
    let out = format!("teleport://{}", relay.addr());
    let near = Program::start(&["--in", "http://127.0.0.1:0", "--out", &out, "--out-compress", compress]).await;
    let mut client = Client::connect(near.address()).await;
    for exchange in exchanges {
        let request = [request_head(exchange), exchange.request.body().to_vec()].concat();
        let reply = client.ask(request).await;
        assert_eq!(
            (reply.status(), &reply.body[..]),
            (exchange.response.status().as_u16(), &exchange.response.body()[..])
        );
    }
    relay.carried()
}

/// Answers what is recorded, in its order.
async fn origin(exchanges: &[Exchange]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let replies: Vec<Response<Bytes>> = exchanges.iter().map(|exchange| exchange.response.clone()).collect();
    let replies = Arc::new(Mutex::new(replies.into_iter()));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let replies = Arc::clone(&replies);
            let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let replies = Arc::clone(&replies);
                async move {
                    request.into_body().collect().await.expect("a body");
                    let reply = replies.lock().expect("no panic").next().expect("no more than are recorded");
                    Ok::<_, Infallible>(reply.map(Full::new))
                }
            });
            // Replies have their own Date.
            tokio::spawn(http1::Builder::new().auto_date_header(false).serve_connection(TokioIo::new(stream), service));
        }
    });
    url
}

#[tokio::test]
async fn what_cannot_be_read_is_one_line_that_names_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
    std::fs::write(path("bad.har"), "{\"log\":").expect("written");
    std::fs::create_dir(path("none")).expect("made");
    for end in ["req", "resp"] {
        std::fs::write(path(&format!("bad.{end}.zst")), "no zstd at all").expect("written");
    }
    let har = data("shop.har");
    for (args, code, want) in [
        (vec!["estimate", "/nonexistent.har"], 2, "/nonexistent.har: cannot read the file: no such file"),
        (vec!["estimate", &path("bad.har")], 2, "bad.har: ends in the middle of its JSON; save it again, whole"),
        (
            vec!["estimate", env!("CARGO_BIN_EXE_httptp")],
            2,
            "httptp: is no HAR: it is not JSON at line 1, column 1; give",
        ),
        (
            vec!["estimate", &path("bad.req.zst")],
            2,
            "bad.req.zst, record 1: the file is no zstd stream, or damaged; give",
        ),
        (vec!["estimate", &path("none")], 2, "none: holds no NAME.req.zst"),
        (vec!["estimate", &har, "--svg", "/nonexistent/x.svg"], 2, "--svg /nonexistent/x.svg: cannot write the file"),
        (vec!["estimate", &har, "--requests-per-second", "0"], 2, "--requests-per-second 0: give a number above 0"),
        (vec!["estimate", &har, "--mib", "0"], 2, "--mib 0: "),
    ] {
        let (status, _, stderr) = run(&args).await;
        assert_eq!(status, Some(code), "{args:?}: {stderr}");
        assert!(stderr.starts_with("httptp: ") && stderr.lines().count() == 1 && stderr.contains(want), "{stderr}");
    }
    let (status, _, stderr) = run(&["estimate", &har, "--price-per-gb", "0.1"]).await;
    assert_eq!(status, Some(2));
    assert!(stderr.contains("--requests-per-second"), "{stderr}");
}

#[tokio::test]
async fn a_full_disk_is_told_and_a_reader_that_is_gone_is_not() {
    let line = |to: &str| format!("{} estimate {} --mib 1 {to}", env!("CARGO_BIN_EXE_httptp"), data("shop.har"));
    let (code, told) = run_shell(&line("2>&1 >/dev/full")).await;
    assert_eq!(code, Some(1), "{told}");
    assert_eq!(told, "httptp: cannot write to stdout: No space left on device (os error 28)\n");
    let (_, told) = run_shell(&format!("{{ {{ {} echo $? >&3; }} | true; }} 3>&1", line("2>&3;"))).await;
    assert_eq!(told, "0\n");
}

#[tokio::test]
async fn event_streams_are_left_out_of_a_folder_and_refused_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut streams = exchanges(Shape::Rpc, 4);
    for exchange in &mut streams {
        exchange.response.headers_mut().insert("transfer-encoding", http::HeaderValue::from_static("chunked"));
    }
    let events = record(folder.path(), "events", &streams);
    record(folder.path(), "rpc", &exchanges(Shape::Rpc, 40));
    let (code, _, stderr) = run(&["estimate", &events]).await;
    assert_eq!(code, Some(2));
    assert!(stderr.contains("events.req.zst: is a recording of event streams; give one of whole messages"), "{stderr}");
    let folder = folder.path().to_str().expect("UTF-8");
    let (code, stdout, stderr) = run(&["estimate", folder]).await;
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.starts_with("rpc: 40 exchanges of ") && stderr.contains("left out: "), "{stderr}{stdout}");
}
