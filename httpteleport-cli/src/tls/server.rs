//! The server side.

use std::sync::Arc;

use anyhow::Context;
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, ServerConfig};

use super::certificates::Certificates;
use super::tickets::Tickets;
use super::{HTTP_1_1, HTTP_2, pem, provider};
use crate::config::{Pair, Tls};

/// The server side of `--in-tls-cert` and `--in-tls-key`; with `http`, it names HTTP/2 and HTTP/1.1 in ALPN.
///
/// # Errors
///
/// A file is unreadable, is not what it should be, or two do not belong together: one line that names the option.
pub(crate) fn server_config(identity: &Tls, http: bool) -> anyhow::Result<Arc<ServerConfig>> {
    let certified = identity.pairs.iter().map(certified).collect::<anyhow::Result<_>>()?;
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(Certificates(certified)));
    if let Some(text) = &identity.ticket_key {
        config.ticketer = Arc::new(Tickets::new(text));
    }
    if http {
        config.alpn_protocols = vec![HTTP_2.to_vec(), HTTP_1_1.to_vec()];
    }
    Ok(Arc::new(config))
}

/// A certificate with its key.
fn certified(pair: &Pair) -> anyhow::Result<Arc<CertifiedKey>> {
    let cert_option = || format!("--in-tls-cert {}", pair.cert.display());
    let key_option = || format!("--in-tls-key {}", pair.key.display());
    let chain = pem::certificates(&pair.cert).with_context(cert_option)?;
    let key = pem::private_key(&pair.key).with_context(key_option)?;
    match CertifiedKey::from_der(chain, key, &provider()) {
        Ok(certified) => Ok(Arc::new(certified)),
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            let cert = pair.cert.display();
            Err(anyhow::anyhow!("is not the key of the certificate in {cert}; give the two files of one pair"))
                .with_context(key_option)
        }
        Err(rustls::Error::InvalidCertificate(why)) => {
            Err(anyhow::anyhow!("the certificate is not valid: {why}")).with_context(cert_option)
        }
        Err(error) => Err(anyhow::anyhow!("cannot be used: {error}")).with_context(key_option),
    }
}
