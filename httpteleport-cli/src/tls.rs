//! TLS from files and from the system's trust, by rustls with ring.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, InconsistentKeys, RootCertStore, ServerConfig};

use crate::config::TlsFiles;
use crate::outbound::plain;

/// What is offered to HTTP peers that negotiate a protocol.
pub(crate) const HTTP_1_1: &[u8] = b"http/1.1";
/// The same, of HTTP/2.
pub(crate) const HTTP_2: &[u8] = b"h2";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The server side of `--in-tls-cert` and `--in-tls-key`; with `http`, it names HTTP/2 and HTTP/1.1 in ALPN.
///
/// # Errors
///
/// A file is unreadable, is not what it should be, or the two do not belong together: one line that names the option.
pub(crate) fn server_config(files: &TlsFiles, http: bool) -> anyhow::Result<Arc<ServerConfig>> {
    let chain = certificates(&files.cert).with_context(|| format!("--in-tls-cert {}", files.cert.display()))?;
    let key_option = || format!("--in-tls-key {}", files.key.display());
    let key = private_key(&files.key).with_context(key_option)?;
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let mut config = match builder.with_no_client_auth().with_single_cert(chain, key) {
        Ok(config) => config,
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            let cert = files.cert.display();
            return Err(anyhow::anyhow!("is not the key of the certificate in {cert}; give the two files of one pair"))
                .with_context(key_option);
        }
        Err(rustls::Error::InvalidCertificate(why)) => {
            return Err(anyhow::anyhow!("the certificate is not valid: {why}"))
                .with_context(|| format!("--in-tls-cert {}", files.cert.display()));
        }
        Err(error) => return Err(anyhow::anyhow!("cannot be used: {error}")).with_context(key_option),
    };
    if http {
        config.alpn_protocols = vec![HTTP_2.to_vec(), HTTP_1_1.to_vec()];
    }
    Ok(Arc::new(config))
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

fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let text = read(path)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().context("is not valid PEM")?;
    if chain.is_empty() {
        bail!("holds no certificate; it should have a PEM block that begins with -----BEGIN CERTIFICATE-----");
    }
    Ok(chain)
}

fn private_key(path: &Path) -> anyhow::Result<PrivateKeyDer<'static>> {
    let text = read(path)?;
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => anyhow::anyhow!(
            "holds no private key; it should have an unencrypted PEM block that begins with -----BEGIN PRIVATE KEY-----"
        ),
        error => anyhow::anyhow!("is not valid PEM: {error}"),
    })
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).map_err(|error| anyhow::anyhow!("cannot read the file: {}", plain(&error)))
}
