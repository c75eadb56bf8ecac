//! PEM files.

use std::path::Path;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use crate::misfit::Misfit;
use crate::outbound::plain;

/// The certificates of a file, in their order; at least one.
///
/// # Errors
///
/// The file cannot be read, or is not what it should be.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Misfit> {
    let text = read(path)?;
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(&text).collect::<Result<_, _>>().map_err(|error| damaged(&error))?;
    if chain.is_empty() {
        return Err(Misfit::new(
            "holds no certificate; it should have a PEM block that begins with -----BEGIN CERTIFICATE-----",
        ));
    }
    Ok(chain)
}

/// The private key of a file.
///
/// # Errors
///
/// The file cannot be read, or is not what it should be.
pub(super) fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Misfit> {
    PrivateKeyDer::from_pem_slice(&read(path)?).map_err(|error| match error {
        pem::Error::NoItemsFound => Misfit::new(
            "holds no private key; it should have an unencrypted PEM block that begins with -----BEGIN PRIVATE KEY-----",
        ),
        error => damaged(&error),
    })
}

fn read(path: &Path) -> Result<Vec<u8>, Misfit> {
    std::fs::read(path).map_err(|error| Misfit::new(format!("cannot read the file: {}", plain(&error))))
}

fn damaged(error: &pem::Error) -> Misfit {
    Misfit::new(match error {
        pem::Error::MissingSectionEnd { .. } => {
            "is not valid PEM: a block in it has no end; copy the file again, whole"
        }
        _ => "is not valid PEM: a block in it is damaged; copy the file again",
    })
}
