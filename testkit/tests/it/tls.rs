//! The certificates work with rustls: trusted by those who know the authority, for the names asked.

use std::sync::Arc;

use testkit::pipe::duplex;
use testkit::tls::Ca;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Connects to `name` as somebody who trusts `trusted`; what the server says, or why not.
async fn connect(trusted: &Ca, issuer: &Ca, name: &'static str) -> std::io::Result<String> {
    let (a, b) = duplex();
    let acceptor = TlsAcceptor::from(issuer.issue(&["localhost", "127.0.0.1"]).server_config());
    let server = async move {
        if let Ok(mut stream) = acceptor.accept(b).await {
            stream.write_all(b"welcome").await.unwrap();
            stream.shutdown().await.unwrap();
        }
    };
    let connector = TlsConnector::from(Arc::clone(&trusted.client_config()));
    let client = async move {
        let mut stream = connector.connect(ServerName::try_from(name).unwrap(), a).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        Ok(text)
    };
    tokio::join!(server, client).1
}

#[tokio::test]
async fn trusted_for_its_names_only() {
    let ca = Ca::new();
    assert_eq!(connect(&ca, &ca, "localhost").await.unwrap(), "welcome");
    assert_eq!(connect(&ca, &ca, "127.0.0.1").await.unwrap(), "welcome");
    assert!(connect(&ca, &ca, "elsewhere").await.is_err());
    assert!(connect(&Ca::new(), &ca, "localhost").await.is_err());
}

#[test]
fn pem_is_pem() {
    let ca = Ca::new();
    let identity = ca.issue(&["localhost"]);
    assert!(ca.pem().starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(identity.cert_pem.starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(identity.key_pem.starts_with("-----BEGIN PRIVATE KEY-----"));
}
