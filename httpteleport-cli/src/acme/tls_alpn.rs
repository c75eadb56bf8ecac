//! Proofs that a name is ours, shown to an authority that looks by TLS (RFC 8737).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring::sign::any_supported_type;
use rustls::pki_types::PrivateKeyDer;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// What an authority that looks names in ALPN, and nobody else.
pub(super) const PROTOCOL: &[u8] = b"acme-tls/1";

type Proofs = Arc<Mutex<HashMap<String, Arc<CertifiedKey>>>>;

/// The proofs that are shown now.
#[derive(Clone, Debug, Default)]
pub(super) struct Challenges(Proofs);

/// Ends the showing when it is dropped.
pub(super) struct Shown {
    proofs: Proofs,
    name: String,
}

impl Challenges {
    /// Shows the proof for a name.
    ///
    /// # Errors
    ///
    /// It cannot be made.
    pub(super) fn show(&self, name: &str, digest: &[u8]) -> anyhow::Result<Shown> {
        let mut params = CertificateParams::new([name.to_owned()])?;
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        // Not checked against each other: rustls takes no certificate apart that has this extension.
        let proof = Arc::new(CertifiedKey::new(vec![certificate.into()], any_supported_type(&key)?));
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), proof);
        Ok(Shown { proofs: Arc::clone(&self.0), name: name.to_owned() })
    }

    /// What an authority meets that looks.
    ///
    /// # Errors
    ///
    /// rustls knows no such versions of TLS.
    pub(super) fn server_config(&self) -> anyhow::Result<Arc<ServerConfig>> {
        let builder = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
        let builder = builder.with_safe_default_protocol_versions()?.with_no_client_auth();
        let mut config = builder.with_cert_resolver(Arc::new(self.clone()));
        config.alpn_protocols = vec![PROTOCOL.to_vec()];
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for Challenges {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name()?.to_ascii_lowercase();
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&name).cloned()
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        self.proofs.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.name);
    }
}
