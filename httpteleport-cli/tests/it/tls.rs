//! https on either side, with certificates from files.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, ServerConfig};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::admin::{get, value};
use crate::client::Client;
use crate::origin::Origin;
use crate::program::{Program, logged};

/// A self-signed certificate for 127.0.0.1 and localhost, in files.
pub(crate) struct Identity {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
    made: rcgen::CertifiedKey<rcgen::KeyPair>,
}

impl Identity {
    /// The paths of both files, certificate first.
    pub(crate) fn files(&self) -> (&str, &str) {
        (self.cert.to_str().expect("UTF-8"), self.key.to_str().expect("UTF-8"))
    }

    pub(crate) fn new(name: &str) -> Identity {
        Identity::of(name, &["127.0.0.1", "localhost"])
    }

    /// One for other names.
    pub(crate) fn of(name: &str, names: &[&str]) -> Identity {
        let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
        let made = rcgen::generate_simple_self_signed(names).expect("a key");
        let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let (cert, key) = (directory.join(format!("{name}.cert.pem")), directory.join(format!("{name}.key.pem")));
        fs::write(&cert, made.cert.pem()).expect("written");
        fs::write(&key, made.signing_key.serialize_pem()).expect("written");
        Identity { cert, key, made }
    }

    pub(crate) fn server(&self) -> ServerConfig {
        let key = PrivateKeyDer::try_from(self.made.signing_key.serialize_der()).expect("a key");
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let builder =
            ServerConfig::builder_with_provider(ring).with_safe_default_protocol_versions().expect("versions");
        builder.with_no_client_auth().with_single_cert(vec![self.made.cert.der().clone()], key).expect("a pair")
    }

    pub(crate) fn client(&self) -> TlsConnector {
        TlsConnector::from(Arc::new(self.client_config()))
    }

    /// What trusts this certificate alone.
    pub(crate) fn client_config(&self) -> ClientConfig {
        self.client_config_of(rustls::ALL_VERSIONS)
    }

    /// The same, and speaks these versions alone.
    pub(crate) fn client_config_of(&self, versions: &[&'static rustls::SupportedProtocolVersion]) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(self.made.cert.der().clone()).expect("a certificate");
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(ring).with_protocol_versions(versions).expect("versions");
        builder.with_root_certificates(roots).with_no_client_auth()
    }
}

#[tokio::test]
async fn https_in() {
    let (identity, origin) = (Identity::new("https_in"), Origin::start().await);
    let (cert, key) = (identity.cert.to_str().expect("UTF-8"), identity.key.to_str().expect("UTF-8"));
    let args = ["--in", "https://127.0.0.1:0", "--out", &origin.url(), "--in-tls-cert", cert, "--in-tls-key", key];
    let program = Program::start(&args).await;

    // Somebody who never finishes a handshake is in nobody's way.
    let _stalled = TcpStream::connect(program.address()).await.expect("a connection");
    let stream = TcpStream::connect(program.address()).await.expect("a connection");
    let name = ServerName::try_from("localhost").expect("a name");
    let mut client = Client::over(identity.client().connect(name, stream).await.expect("a handshake"));
    for _ in 0..3 {
        assert_eq!(client.get("/echo").await.text(), "GET /echo HTTP/1.1\nhost: test\n\n");
    }

    let mut plain = Client::connect(program.address()).await;
    plain.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").await;
    assert!(!plain.rest().await.starts_with(b"HTTP"), "clear text is not answered");
}

#[tokio::test]
async fn who_speaks_tls_where_there_is_none_and_the_other_way_round_is_told_as_that() {
    let identity = Identity::new("mixed_up");
    let (cert, key) = identity.files();
    let out = ["--out", "http://127.0.0.1:1", "--log-all-errors"];
    let tls = ["--in", "https://127.0.0.1:0", "--in-tls-cert", cert, "--in-tls-key", key];
    let (program, mut log) = Program::logged(&[&tls[..], &out].concat()).await;
    let mut clear = TcpStream::connect(program.address()).await.expect("a connection");
    clear.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.expect("written");
    logged(&mut log, "failed: the client does not speak TLS").await;
    let (program, mut log) = Program::logged(&[&["--in", "http://127.0.0.1:0"], &out[..]].concat()).await;
    let stream = TcpStream::connect(program.address()).await.expect("a connection");
    let name = ServerName::try_from("localhost").expect("a name");
    identity.client().connect(name, stream).await.expect_err("nobody speaks TLS there");
    logged(&mut log, "refused with 400: the client speaks TLS, and this input does not").await;
}

/// As load balancers do that look whether the port is there.
#[tokio::test]
async fn who_hangs_up_before_it_says_anything_is_no_news() {
    let (identity, folder) = (Identity::new("hangs_up"), tempfile::tempdir().expect("a folder"));
    let (cert, key) = identity.files();
    let cache = folder.path().join("cache");
    let cache = cache.to_str().expect("UTF-8");
    let ordered = ["--autocert-host-regexp", "a", "--autocert-cache-dir", cache, "--acme-ca", cert];
    let base = ["--in", "https://127.0.0.1:0", "--out", "http://127.0.0.1:1", "--admin", "127.0.0.1:0", "--log-level"];
    for options in [&["--in-tls-cert", cert, "--in-tls-key", key][..], &ordered] {
        let (mut program, mut log) = Program::logged(&[&base[..], &["debug"], options].concat()).await;
        let admin = program.admin().await;
        let failed = async || {
            let metrics = get(&admin, "/metrics").await;
            value(metrics.text(), "httptp_refusals_total", &["failed_handshake"])
        };
        drop(TcpStream::connect(program.address()).await.expect("a connection"));
        logged(&mut log, "DEBUG connection of 127.0.0.1").await;
        assert!(failed().await < 1.0);
        let mut stream = TcpStream::connect(program.address()).await.expect("a connection");
        stream.write_all(&[22, 3, 1]).await.expect("written");
        drop(stream);
        let line = logged(&mut log, " WARN TLS handshake of 127.0.0.1").await;
        assert!(line.ends_with("failed: the client hung up in the middle of it"), "{line}");
        assert!((1.0..2.0).contains(&failed().await));
    }
}

#[tokio::test]
async fn https_out_trusts_out_ca_alone() {
    let (identity, stranger) = (Identity::new("https_out"), Identity::new("stranger"));
    let origin = Origin::tls(identity.server()).await;
    let url = format!("https://{}", origin.address);
    let start = |ca: &Identity| {
        let ca = ca.cert.to_str().expect("UTF-8").to_owned();
        let url = url.clone();
        async move { Program::logged(&["--in", "http://127.0.0.1:0", "--out", &url, "--out-ca", &ca]).await }
    };
    let (program, _log) = start(&identity).await;
    let mut client = Client::connect(program.address()).await;
    for _ in 0..3 {
        assert_eq!(client.get("/size/2").await.text(), "xx");
    }
    assert_eq!(origin.connections(), 1);

    let (program, mut log) = start(&stranger).await;
    let reply = Client::connect(program.address()).await.get("/").await;
    assert_eq!((reply.status(), reply.text()), (502, "http: proxying error: TLS: the handshake failed\n"));
    let line = logged(&mut log, "cannot be reached").await;
    assert!(line.contains(&format!("{url} cannot be reached: TLS: invalid peer certificate")), "{line}");
}
