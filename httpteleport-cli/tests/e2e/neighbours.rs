//! Proxies of others before a pair, and their load generators on it.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use testkit::programs::{Curl, Haproxy, Listen, Nginx, Running, installed};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsConnector;

use crate::caller::Caller;
use crate::node::{Certificates, Files, Node, PATIENCE, Pair, noise, text};
use crate::origin::Origin;

/// What curl brings of `base`: a file up and down again, a reply without a body, and one that is none of 200.
async fn exchanges(base: &str, origin: &Origin) {
    let files = Files::new();
    let large = noise(3, 1_000_000);
    let upload = format!("@{}", text(&files.write("large", &large)));
    let reply = Curl::new(&format!("{base}/up")).args(["--data-binary", &upload]).run().await;
    assert_eq!((reply.exit, reply.status, reply.body == large), (0, 200, true), "{}", reply.heads);
    assert_eq!(origin.last().target, "/up");
    let reply = Curl::new(&format!("{base}/a?b=c")).run().await;
    assert_eq!((reply.exit, reply.status, &reply.body[..]), (0, 200, &b"GET /a?b=c"[..]));
    let reply = Curl::new(&format!("{base}/head")).arg("--head").run().await;
    assert_eq!((reply.exit, reply.status), (0, 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn nginx_before_a_pair() {
    let origin = Origin::start().await;
    let pair = Pair::start(&origin.url);
    let upstream = format!("upstream pair {{ server {}; keepalive 4; }}", pair.near.address());
    let server = "location / { proxy_pass http://pair; proxy_http_version 1.1; proxy_set_header Connection \"\"; \
                  proxy_set_header Host $host; proxy_set_header X-Forwarded-For $remote_addr; }";
    let nginx = Nginx::start_with(Listen::Tcp, &upstream, server);
    exchanges(&format!("http://{}", nginx.authority()), &origin).await;
    assert_eq!(origin.last().value("X-Forwarded-For"), Some("127.0.0.1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_before_a_pair_in_http_1_and_http_2() {
    for protocol in ["", "proto h2"] {
        let origin = Origin::start().await;
        let pair = Pair::start(&origin.url);
        let haproxy = Haproxy::start(|address| {
            format!(
                "frontend f\n bind {address}\n default_backend b\nbackend b\n server s {} {protocol}",
                pair.near.address()
            )
        });
        exchanges(&format!("http://{}", haproxy.address), &origin).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wrk_on_a_pair_before_nginx() {
    let nginx = Nginx::start(Listen::Tcp, "");
    nginx.file("page", &noise(4, 5000));
    let pair = Pair::start(&format!("http://{}", nginx.authority()));
    let program = installed("wrk").expect("wrk is not installed: `cargo xtask test` gets it, or `apt-get install wrk`");
    let mut command = Command::new(program);
    command.args(["--threads", "2", "--connections", "64", "--duration", "2s", &pair.url("/page")]);
    let wrk = Running::start(command);
    tokio::task::block_in_place(|| wrk.line("its end", |line| line.starts_with("Transfer/sec:").then_some(())));
    let said = wrk.output().join("\n");
    let requests = said.lines().find_map(|line| line.trim().split_once(" requests in ")?.0.parse::<u64>().ok());
    assert!(requests.is_some_and(|requests| requests > 100), "{said}");
    // It has a line of each only if there was any.
    assert!(!said.contains("Non-2xx") && !said.contains("Socket errors"), "{said}");
    let reply = Curl::new(&pair.url("/page")).run().await;
    assert_eq!(reply.body, noise(4, 5000));
}

/// The certificate that whoever listens there shows.
async fn shown(address: &str, connector: &TlsConnector) -> Vec<u8> {
    let stream = TcpStream::connect(address).await.expect("a connection");
    let name = ServerName::try_from("localhost").expect("a name");
    let stream = connector.connect(name, stream).await.expect("a certificate of the authority");
    stream.get_ref().1.peer_certificates().expect("it shows one")[0].to_vec()
}

/// 500 handshakes a second with an `https` input, and behind it a `teleports` link, while certificates of both sides of that and of
/// the input change.
#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_change_under_load_fail_no_request() {
    const CALLERS: u32 = 10;
    const CHANGES: usize = 3;
    let (origin, files) = (Origin::start().await, Files::new());
    let mut certificates = Certificates::new(&files);
    let asking = ["--in-tls-client-ca", &certificates.ca_file];
    let far = Node::start("teleports://127.0.0.1:0", &origin.url, &[&certificates.input()[..], &asking].concat());
    let showing = ["--out-tls-cert", &certificates.cert_file, "--out-tls-key", &certificates.key_file];
    let options = [&certificates.input()[..], &certificates.output(), &showing].concat();
    let near = Node::start("https://127.0.0.1:0", &far.url().replace("127.0.0.1", "localhost"), &options);

    let (over, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut config = ClientConfig::clone(&certificates.ca.client_config());
    config.resumption = Resumption::disabled(); // What is resumed shows no certificate.
    let connector = TlsConnector::from(Arc::new(config));
    let start = Instant::now();
    let mut callers = JoinSet::new();
    for caller in 0..CALLERS {
        let (over, served, connector) = (Arc::clone(&over), Arc::clone(&served), connector.clone());
        let address = near.address().to_owned();
        callers.spawn(async move {
            for turn in 0.. {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                sleep_until(start + Duration::from_millis(20) * turn + Duration::from_millis(2) * caller).await;
                let stream = TcpStream::connect(&address).await.expect("a connection");
                let name = ServerName::try_from("localhost").expect("a name");
                let stream = connector.connect(name, stream).await.expect("a certificate of the authority");
                let reply = timeout(PATIENCE, Caller::over(stream).get("/x")).await.expect("in time");
                assert_eq!((reply.status, &reply.body[..]), (200, &b"GET /x"[..]));
                served.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    for _ in 0..CHANGES {
        let until = served.load(Ordering::Relaxed) + 50;
        let before = shown(near.address(), &connector).await;
        certificates = certificates.renewed(&files);
        for address in [near.address(), far.address()] {
            let changed = async { while shown(address, &connector).await == before {} };
            timeout(PATIENCE, changed).await.expect("the new one is shown");
        }
        while served.load(Ordering::Relaxed) < until {
            tokio::task::yield_now().await;
            assert!(callers.try_join_next().is_none(), "a request failed");
        }
    }
    over.store(true, Ordering::Relaxed);
    while let Some(caller) = callers.join_next().await {
        caller.expect("no request failed");
    }
}
