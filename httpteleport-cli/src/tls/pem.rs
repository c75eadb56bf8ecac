//! PEM files.

use std::path::Path;

use anyhow::{Context, bail};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::outbound::plain;

/// The certificates of a file, in their order; at least one.
pub(super) fn certificates(path: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let text = read(path)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().context("is not valid PEM")?;
    if chain.is_empty() {
        bail!("holds no certificate; it should have a PEM block that begins with -----BEGIN CERTIFICATE-----");
    }
    Ok(chain)
}

/// The private key of a file.
pub(super) fn private_key(path: &Path) -> anyhow::Result<PrivateKeyDer<'static>> {
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
