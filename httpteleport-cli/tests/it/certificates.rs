//! Several certificates on one input, and sessions that another node resumes.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, HandshakeKind};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::client::Client;
use crate::origin::Origin;
use crate::program::{Program, run};
use crate::tls::Identity;

async fn connect(
    config: &Arc<ClientConfig>,
    program: &Program,
    name: &'static str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(program.address()).await.expect("a connection");
    let name = ServerName::try_from(name).expect("a name");
    TlsConnector::from(Arc::clone(config)).connect(name, stream).await
}

#[tokio::test]
async fn each_name_gets_its_certificate_and_any_other_the_first() {
    let one = Identity::of("sni_one", &["one.example", "127.0.0.1"]);
    let two = Identity::of("sni_two", &["two.example", "*.wild.example"]);
    let origin = Origin::start().await;
    let (certs, keys) =
        (format!("{},{}", one.files().0, two.files().0), format!("{},{}", one.files().1, two.files().1));
    let args = ["--in", "https://127.0.0.1:0", "--out", &origin.url(), "--in-tls-cert", &certs, "--in-tls-key", &keys];
    let program = Program::start(&args).await;
    let (trusts_one, trusts_two) = (Arc::new(one.client_config()), Arc::new(two.client_config()));
    for (config, name) in [
        (&trusts_one, "one.example"),
        (&trusts_one, "127.0.0.1"),
        (&trusts_two, "two.example"),
        (&trusts_two, "a.wild.example"),
    ] {
        let mut client =
            Client::over(connect(config, &program, name).await.unwrap_or_else(|error| panic!("{name}: {error}")));
        assert_eq!(client.get("/size/1").await.text(), "x", "{name}");
    }
    let error = connect(&trusts_one, &program, "three.example").await.expect_err("no certificate is for that name");
    assert!(error.to_string().contains("not valid for name"), "the first was shown: {error}");
}

#[tokio::test]
async fn as_many_keys_as_certificates() {
    let one = Identity::new("sni_pair");
    let (cert, key) = one.files();
    let certs = format!("{cert},{cert}");
    let args =
        ["--in", "https://127.0.0.1:0", "--out", "http://127.0.0.1:1", "--in-tls-cert", &certs, "--in-tls-key", key];
    let (code, _, stderr) = run(&args).await;
    let want =
        "httptp: --in-tls-key: there are 2 certificates and 1 keys; give each certificate its key, in the same order\n";
    assert_eq!((code, stderr.as_str()), (Some(2), want));
}

/// How a client that has a session with the first node opens one with the second.
async fn second_handshake(
    name: &str,
    secrets: [&str; 2],
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> HandshakeKind {
    let identity = Identity::new(name);
    let (cert, key) = identity.files();
    let origin = Origin::start().await;
    let start = async |secret| {
        let input = ["--in", "https://127.0.0.1:0", "--in-tls-cert", cert, "--in-tls-key", key];
        Program::start(&[&input[..], &["--out", &origin.url(), "--in-tls-session-ticket-key", secret]].concat()).await
    };
    let (one, two) = (start(secrets[0]).await, start(secrets[1]).await);
    let config = Arc::new(identity.client_config_of(versions));
    // A ticket comes with the first bytes of a reply.
    let mut client = Client::over(connect(&config, &one, "localhost").await.expect("a handshake"));
    assert_eq!(client.get("/size/1").await.text(), "x");
    let stream = connect(&config, &two, "localhost").await.expect("a handshake");
    let kind = stream.get_ref().1.handshake_kind().expect("it is over");
    assert_eq!(Client::over(stream).get("/size/2").await.text(), "xx");
    kind
}

#[tokio::test]
async fn nodes_with_one_ticket_key_resume_each_others_sessions() {
    for (name, version) in [("tickets_12", &rustls::version::TLS12), ("tickets_13", &rustls::version::TLS13)] {
        assert_eq!(second_handshake(name, ["secret", "secret"], &[version]).await, HandshakeKind::Resumed, "{name}");
        assert_eq!(second_handshake(name, ["secret", "other"], &[version]).await, HandshakeKind::Full, "{name}");
    }
}
