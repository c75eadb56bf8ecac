//! Upstreams that want a certificate: over TLS 1.3 they say so when the request is on its way, and the log names their alert each time.

use testkit::programs::Haproxy;
use tokio::net::TcpStream;

use crate::caller::{Caller, body, request};
use crate::node::{Certificates, Files, Node, text};

/// So many requests of each kind: what is heard first is a matter of moments.
const TIMES: usize = 40;

/// Sends requests with and without much of a body through a node without a certificate, each on a connection of its own.
async fn ask(out: &str, certificates: &Certificates, more: &[&str]) {
    let options = [&["--log-level", "debug"], &certificates.output()[..], more].concat();
    let near = Node::start("http://127.0.0.1:0", out, &options);
    for (time, content) in [&[][..], &[b'x'; 100_000]].into_iter().cycle().take(TIMES).enumerate() {
        let stream = TcpStream::connect(near.address()).await.expect("a connection");
        let client = stream.local_addr().expect("an address");
        let reply = Caller::over(stream).ask(&request("POST", "/").body(content)).await;
        assert_eq!(reply.status, 502, "{}", body(&reply));
        let line =
            near.tells("why", |line| line.contains(&format!("request of {client} to ")).then(|| line.to_owned()));
        assert!(line.contains("received fatal alert: CertificateRequired"), "{out} {more:?} {time}: {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_says_what_it_wants() {
    let files = Files::new();
    let certificates = Certificates::new(&files);
    let both = [&certificates.identity.cert_pem[..], &certificates.identity.key_pem].concat();
    let both = text(&files.write("both.pem", both.as_bytes()));
    for protocol in ["http/1.1", "h2"] {
        let ca = &certificates.ca_file;
        let haproxy = Haproxy::start(|address| {
            format!(
                "frontend f\n bind {address} ssl crt {both} ca-file {ca} verify required alpn {protocol}\n \
                 http-request return status 200\n"
            )
        });
        ask(&format!("https://{}", haproxy.address), &certificates, &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn so_do_nodes() {
    let files = Files::new();
    let certificates = Certificates::new(&files);
    // On the framed wire no request is sent before the server has let its client in.
    for (scheme, wire) in [("https", "auto"), ("teleports", "classic")] {
        let options = [&["--in-tls-client-ca", &certificates.ca_file], &certificates.input()[..]].concat();
        let far = Node::start(&format!("{scheme}://127.0.0.1:0"), "http://127.0.0.1:1", &options);
        ask(far.url(), &certificates, &["--wire", wire]).await;
    }
}
