//! TLS from files and from the system's trust, by rustls with ring.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, RootCertStore};

use self::pem::certificates;

mod certificates;
mod pem;
mod server;
mod tickets;

pub(crate) use server::server_config;

/// What is offered to HTTP peers that negotiate a protocol.
pub(crate) const HTTP_1_1: &[u8] = b"http/1.1";
/// The same, of HTTP/2.
pub(crate) const HTTP_2: &[u8] = b"h2";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The client side: trusts the certificates of `--out-ca`, or else the system's; with `http`, it offers HTTP/2 and HTTP/1.1 in ALPN.
///
/// # Errors
///
/// The file is unreadable or holds no certificate, or the system trusts none: one line that says what to do.
pub(crate) fn client_config(ca: Option<&Path>, http: bool) -> anyhow::Result<Arc<ClientConfig>> {
    let roots = match ca {
        Some(path) => roots_of(path).with_context(|| format!("--out-ca {}", path.display()))?,
        None => system_roots()?,
    };
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    if http {
        config.alpn_protocols = vec![HTTP_2.to_vec(), HTTP_1_1.to_vec()];
    }
    Ok(Arc::new(config))
}

fn roots_of(path: &Path) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        roots.add(certificate).context("a certificate in it is not valid")?;
    }
    Ok(roots)
}

fn system_roots() -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    // Systems carry certificates that no parser likes; the rest is what counts.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        bail!(
            "--out: this system trusts no certificate at all; install its CA certificates or give a file with --out-ca"
        );
    }
    Ok(roots)
}
