//! Certificates made on the spot, as PEM and as ready rustls configurations (ring, TLS 1.2 and 1.3).
//!
//! ```
//! let ca = testkit::tls::Ca::new();
//! let server = ca.issue(&["localhost", "127.0.0.1"]);
//! let acceptor = tokio_rustls::TlsAcceptor::from(server.server_config());
//! let connector = tokio_rustls::TlsConnector::from(ca.client_config());
//! # let _ = (acceptor, connector);
//! ```

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose};
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

/// A certificate authority that exists for one test.
pub struct Ca(CertifiedIssuer<'static, KeyPair>);

/// A certificate of a [`Ca`], with its key.
pub struct Identity {
    /// The certificate, PEM.
    pub cert_pem: String,
    /// Its private key, PKCS#8 PEM.
    pub key_pem: String,
    cert: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
}

impl Ca {
    /// Makes one.
    #[expect(clippy::new_without_default, reason = "each call makes another one; a default would suggest a value")]
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().expect("a key for the authority");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate for the authority"))
    }

    /// Its certificate, PEM: what a client has to trust.
    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// Issues a certificate for these host names and IP addresses, for servers and clients.
    ///
    /// # Panics
    ///
    /// A name is none.
    pub fn issue(&self, names: &[&str]) -> Identity {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let params = CertificateParams::new(names).expect("host names or IP addresses");
        let key = KeyPair::generate().expect("a key");
        let cert = params.signed_by(&key, &self.0).expect("a certificate");
        Identity {
            cert_pem: cert.pem(),
            key_pem: key.serialize_pem(),
            cert: cert.into(),
            key: PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        }
    }

    /// A client that trusts this authority alone and shows no certificate of its own.
    pub fn client_config(&self) -> Arc<ClientConfig> {
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let config = config.with_safe_default_protocol_versions().expect("ring knows TLS 1.2 and 1.3");
        Arc::new(config.with_root_certificates(self.roots()).with_no_client_auth())
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("a certificate just made");
        roots
    }
}

impl Identity {
    /// A server that shows this certificate and asks for none.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()));
        let config = config.with_safe_default_protocol_versions().expect("ring knows TLS 1.2 and 1.3");
        let config = config.with_no_client_auth().with_single_cert(vec![self.cert.clone()], self.key.clone_key());
        Arc::new(config.expect("a certificate and its own key"))
    }

    /// A server that shows this certificate and lets in those alone for whom this authority vouches.
    pub fn asking_server_config(&self, clients: &Ca) -> Arc<ServerConfig> {
        let provider = Arc::new(default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(clients.roots()), Arc::clone(&provider));
        let config = ServerConfig::builder_with_provider(provider);
        let config = config.with_safe_default_protocol_versions().expect("ring knows TLS 1.2 and 1.3");
        let config = config.with_client_cert_verifier(verifier.build().expect("an authority"));
        let config = config.with_single_cert(vec![self.cert.clone()], self.key.clone_key());
        Arc::new(config.expect("a certificate and its own key"))
    }
}
