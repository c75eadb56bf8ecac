//! nginx and Python behind two nodes.

use std::process::Command;
use std::time::Instant;

use testkit::programs::{Curl, Listen, Nginx, PythonServer, Running};

use crate::WIRE;
use crate::caller::Caller;
use crate::node::{Pair, noise};

#[tokio::test(flavor = "multi_thread")]
async fn nginx_serves_files() {
    let text = "the quick brown fox jumps over the lazy dog\n".repeat(2000);
    let nginx = Nginx::start(
        Listen::Tcp,
        "gzip on; gzip_min_length 1; gzip_types *; gzip_http_version 1.0;
         location = /none { return 204; } location = /moved { return 301 /x; }",
    );
    nginx.file("text", text.as_bytes());
    nginx.file("with space", b"found");
    let large = noise(4, 8_000_000);
    nginx.file("large", &large);
    let pair =
        Pair::with(&format!("http://{}", nginx.authority()), &["--out-timeout", "15s"], &["--out-timeout", "15s"]);
    let get = |target: &str, options: &[&str]| Curl::new(&pair.url(target)).args(options).run();

    let reply = get("/text", &[]).await;
    assert_eq!((reply.status, &reply.body[..]), (200, text.as_bytes()));
    let etag = reply.header("ETag").expect("nginx gives one").to_owned();
    assert!(reply.header("Server").is_some_and(|server| server.starts_with("nginx")), "{}", reply.heads);

    let head = get("/text", &["--head"]).await;
    assert_eq!((head.status, head.header("Content-Length")), (200, Some(text.len().to_string().as_str())));
    let same = get("/text", &["--header", &format!("If-None-Match: {etag}")]).await;
    assert_eq!((same.status, same.body.len(), same.header("ETag")), (304, 0, Some(etag.as_str())));
    let range = get("/text", &["--range", "4-14"]).await;
    assert_eq!((range.status, &range.body[..]), (206, &b"quick brown"[..]));
    assert_eq!(range.header("Content-Range"), Some(format!("bytes 4-14/{}", text.len()).as_str()));
    let ranges = get("/text", &["--range", "0-2,4-8"]).await;
    assert!(ranges.status == 206 && ranges.header("Content-Type").is_some_and(|kind| kind.contains("byteranges")));
    assert_eq!(get("/text", &["--range", "9999999-"]).await.status, 416);

    // Compressed on the fly, so in chunks without a length; curl unpacks what comes out of the proxy.
    let packed = get("/text", &["--compressed"]).await;
    assert_eq!((packed.header("Content-Encoding"), &packed.body[..]), (Some("gzip"), text.as_bytes()));
    let raw = get("/text", &["--header", "Accept-Encoding: gzip"]).await;
    assert!(raw.body.starts_with(&[0x1f, 0x8b]) && raw.body.len() < text.len() / 10, "{} bytes", raw.body.len());

    assert_eq!(get("/with%20space", &[]).await.body, b"found");
    assert!(get("/large", &[]).await.body == large);
    assert_eq!(get("/none", &[]).await.status, 204);
    let moved = get("/moved", &[]).await;
    assert!(moved.status == 301 && moved.header("Location").is_some_and(|to| to.ends_with("/x")), "{}", moved.heads);
    assert_eq!(get("/missing", &[]).await.status, 404);
    assert_eq!(get("/text", &["--request", "POST", "--data", "x"]).await.status, 405);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_dribbles_is_504_when_the_time_is_over() {
    let nginx = Nginx::start(Listen::Tcp, "location /slow { limit_rate 100; } location /quick { }");
    nginx.file("slow", &[b's'; 3000]);
    nginx.file("quick", b"quick");
    let pair = Pair::with(&format!("http://{}", nginx.authority()), &["--out-timeout", "300ms"], &[]);
    let (slow, start) = (Curl::new(&pair.url("/slow")), Instant::now());
    let slow = tokio::spawn(slow.run());
    let mut caller = Caller::connect(pair.near.address()).await;
    assert_eq!(caller.get("/quick").await.body, b"quick", "others do not wait for it");
    let slow = slow.await.expect("curl runs");
    assert_eq!(slow.status, 504, "{slow:?}");
    assert!((300..3000).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    assert_eq!(caller.get("/quick").await.body, b"quick");
}

#[tokio::test(flavor = "multi_thread")]
async fn python_speaks_http_1_0() {
    let python = PythonServer::start();
    let large = noise(5, 1_000_000);
    python.file("large", &large);
    python.file("a b", b"spaced");
    let pair = Pair::start(&format!("http://{}", python.address));
    for _ in 0..3 {
        let reply = Curl::new(&pair.url("/large")).run().await;
        assert!(reply.status == 200 && reply.body == large);
    }
    let head = Curl::new(&pair.url("/large")).arg("--head").run().await;
    assert_eq!((head.status, head.header("Content-Length")), (200, Some("1000000")));
    assert!(head.header("Server").is_some_and(|server| server.starts_with("SimpleHTTP")));
    let modified = head.header("Last-Modified").expect("Python gives it").to_owned();
    let same = Curl::new(&pair.url("/large")).args(["--header", &format!("If-Modified-Since: {modified}")]).run().await;
    assert_eq!((same.status, same.body.len()), (304, 0));
    assert_eq!(Curl::new(&pair.url("/a%20b")).run().await.body, b"spaced");
    assert_eq!(Curl::new(&pair.url("/missing")).run().await.status, 404);
    assert_eq!(Curl::new(&pair.url("/large")).args(["--data", "x"]).run().await.status, 501);
}

/// A server of the kind that many wrote in an hour: HTTP/1.0, no length, the end of the connection is the end.
const WITHOUT_LENGTH: &str = r#"
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("X-Path", self.path)
        self.end_headers()
        for piece in range(100):
            self.wfile.write(b"%04d" % piece * 500)
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(201, "Made")
        self.end_headers()
        self.wfile.write(body)
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print("port", server.server_port, flush=True)
server.serve_forever()
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_python_script_that_tells_no_length() {
    let mut command = Command::new("python3");
    command.args(["-u", "-c", WITHOUT_LENGTH]);
    let python = Running::start(command);
    let port: u16 = python.line("its port", |line| line.strip_prefix("port ")?.parse().ok());
    let pair = Pair::start(&format!("http://127.0.0.1:{port}"));
    let want: Vec<u8> = (0..100).flat_map(|piece| format!("{piece:04}").repeat(500).into_bytes()).collect();
    for n in 0..3 {
        let reply = Curl::new(&pair.url(&format!("/{n}"))).run().await;
        assert!(reply.status == 200 && reply.body == want, "{} bytes: {}", reply.body.len(), reply.heads);
        assert_eq!(reply.header("X-Path"), Some(format!("/{n}").as_str()));
        let length = if WIRE == "classic" { Some("200000") } else { None };
        assert_eq!(reply.header("Content-Length"), length, "the classic wire collects it");
    }
    let body = noise(6, 100_000);
    let mut caller = Caller::connect(pair.near.address()).await;
    let reply = caller.ask(&crate::caller::request("POST", "/p").body(&body)).await;
    assert!(reply.status == 201 && reply.body == body);
    assert_eq!(caller.get("/after").await.body.len(), 200_000);
}
