//! Every scheme on either side, every compression each way.

use testkit::programs::{Curl, Listen, Nginx};
use tokio::net::UnixStream;

use crate::caller::{Caller, request};
use crate::node::{Certificates, Files, Node, noise, text};
use crate::origin::Origin;

const COMPRESSIONS: [&str; 3] = ["none", "flate", "snappy"];

/// One exchange of each kind that matters to a transport: no body, a large one each way, a HEAD.
async fn exchange(near: &Node, certificates: &Certificates, files: &Files, body: &[u8]) {
    let upload = text(&files.path("upload"));
    let curl = |target: &str| match near.url().strip_prefix("unix:") {
        Some(path) => Curl::new(&format!("http://localhost{target}")).args(["--unix-socket", path]),
        None => Curl::new(&format!("{}{target}", near.url())).args(["--cacert", &certificates.ca_file]),
    };
    let what = near.url();
    let reply = curl("/small").run().await;
    assert_eq!((reply.exit, reply.status, &reply.body[..]), (0, 200, &b"GET /small"[..]), "{what}: {reply:?}");
    let reply = curl("/large").args(["--data-binary", &format!("@{upload}")]).run().await;
    assert!(reply.exit == 0 && reply.status == 200 && reply.body == body, "{what}: {} {}", reply.exit, reply.heads);
    let reply = curl("/head").arg("--head").run().await;
    assert_eq!((reply.exit, reply.status, reply.header("Content-Length")), (0, 200, Some("10")), "{what}: {reply:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn any_scheme_carries_any_other() {
    let files = Files::new();
    let certificates = Certificates::new(&files);
    let body = [noise(7, 100_000), b"compressible ".repeat(10_000)].concat();
    files.write("upload", &body);
    let origins = [Origin::start().await, Origin::tls(&certificates).await, Origin::unix(&files)];
    let front = format!("unix:{}", text(&files.path("front")));
    let inputs = ["http://127.0.0.1:0", "https://127.0.0.1:0", &front];
    for (turn, middle) in ["teleport://127.0.0.1:0", "teleports://127.0.0.1:0"].into_iter().enumerate() {
        for (at, origin) in origins.iter().enumerate() {
            // Over all turns, every input meets every output, and each compression every other.
            let pairs = [(at + turn) % 3, (at + turn + 1) % 3];
            let mut far_options = vec!["--in-compress", COMPRESSIONS[at]];
            if middle.starts_with("teleports") {
                far_options.extend(certificates.input());
            }
            if origin.url.starts_with("https") {
                far_options.extend(certificates.output());
            }
            let far = Node::start(middle, &origin.url, &far_options);
            for pick in pairs {
                let mut near_options = vec!["--out-compress", COMPRESSIONS[pick]];
                if inputs[pick].starts_with("https") {
                    near_options.extend(certificates.input());
                }
                if middle.starts_with("teleports") {
                    near_options.extend(certificates.output());
                }
                let near = Node::start(inputs[pick], far.url(), &near_options);
                exchange(&near, &certificates, &files, &body).await;
                // SIGKILL leaves the socket's file; the next one to listen there has to cope.
                drop(near);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chain_of_four_nodes() {
    let files = Files::new();
    let certificates = Certificates::new(&files);
    let body = noise(8, 200_000);
    files.write("upload", &body);
    let origin = Origin::start().await;
    let last = Node::start("teleport://127.0.0.1:0", &origin.url, &["--in-compress", "none"]);
    let third = Node::start(
        "teleports://127.0.0.1:0",
        last.url(),
        &[&certificates.input()[..], &["--in-compress", "snappy", "--out-compress", "flate", "--in-delay", "2ms"]]
            .concat(),
    );
    let second = Node::start(
        "teleport://127.0.0.1:0",
        third.url(),
        &[&certificates.output()[..], &["--out-compress", "none", "--out-delay", "2ms"]].concat(),
    );
    let first =
        Node::start("http://127.0.0.1:0", second.url(), &["--out-compress", "snappy", "--out-conns-per-addr", "3"]);
    exchange(&first, &certificates, &files, &body).await;
    let mut caller = Caller::connect(first.address()).await;
    for n in 0..20 {
        assert_eq!(caller.get(&format!("/{n}")).await.body, format!("GET /{n}").as_bytes());
    }
    assert_eq!(origin.requests().len(), 23);
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_over_tls_and_on_a_unix_socket() {
    let files = Files::new();
    let certificates = Certificates::new(&files);
    for listen in [Listen::Tls(&certificates.identity), Listen::Unix] {
        let nginx = Nginx::start(listen, "");
        nginx.file("file", b"from nginx");
        let (out, options) = match nginx.address {
            Some(address) => (format!("https://{address}"), certificates.output().to_vec()),
            None => (format!("unix:{}", text(&nginx.socket())), Vec::new()),
        };
        let far = Node::start("teleport://127.0.0.1:0", &out, &options);
        let near = Node::start("http://127.0.0.1:0", far.url(), &[]);
        let reply = Curl::new(&format!("{}/file", near.url())).run().await;
        assert_eq!((reply.status, &reply.body[..]), (200, &b"from nginx"[..]), "{out}: {reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_s_certificate_is_refused_on_teleports_and_https() {
    let (files, others) = (Files::new(), Files::new());
    let (certificates, stranger) = (Certificates::new(&files), Certificates::new(&others));
    let origin = Origin::tls(&certificates).await;
    let far = Node::start("teleports://127.0.0.1:0", "http://127.0.0.1:1", &certificates.input());
    for out in [&origin.url, far.url()] {
        let near = Node::start("http://127.0.0.1:0", out, &stranger.output());
        let reply = Caller::connect(near.address()).await.get("/").await;
        let body = String::from_utf8_lossy(&reply.body).into_owned();
        assert!(reply.status == 502 && !body.contains("127.0.0.1") && body.lines().count() == 1, "{reply:?}");
        let line = near.tells("why", |line| line.contains("cannot be reached").then(|| line.to_owned()));
        assert!(line.contains("certificate"), "{line}");
    }
    let near = Node::start(
        "https://127.0.0.1:0",
        &origin.url,
        &[certificates.input().as_slice(), &certificates.output()].concat(),
    );
    let refused = Curl::new(near.url()).args(["--cacert", &stranger.ca_file]).run().await;
    assert!(refused.exit != 0 && refused.status == 0, "curl does not trust it: {refused:?}");
    assert!(origin.requests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn http_over_a_unix_socket_keeps_its_connection() {
    let files = Files::new();
    let origin = Origin::unix(&files);
    let input = format!("unix:{}", text(&files.path("front")));
    let _near = Node::start(&input, &origin.url, &[]);
    let mut caller = Caller::over(UnixStream::connect(files.path("front")).await.expect("a connection"));
    for n in 0..100 {
        assert_eq!(caller.get(&format!("/{n}")).await.body, format!("GET /{n}").as_bytes());
        let body = noise(n, 1000);
        assert!(caller.ask(&request("PUT", "/").body(&body)).await.body == body);
    }
}
