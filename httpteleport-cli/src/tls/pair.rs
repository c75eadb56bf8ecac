//! A certificate with its key.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use rustls::InconsistentKeys;
use rustls::sign::CertifiedKey;

use super::{pem, provider};
use crate::config::Pair;
use crate::misfit::Misfit;

/// Whether these files hold a certificate and its key.
pub(crate) fn is_pair(cert: &Path, key: &Path) -> bool {
    certified(&Pair { cert: cert.to_owned(), key: key.to_owned() }, "in").is_ok()
}

/// All that is wrong with a pair, each a line that names the option.
pub(super) fn faults(pair: &Pair, side: &str) -> Vec<anyhow::Error> {
    let cert = pem::certificates(&pair.cert).with_context(|| format!("--{side}-tls-cert {}", pair.cert.display()));
    let key = pem::private_key(&pair.key).with_context(|| format!("--{side}-tls-key {}", pair.key.display()));
    match (cert.err(), key.err()) {
        (None, None) => certified(pair, side).err().into_iter().collect(),
        (cert, key) => cert.into_iter().chain(key).collect(),
    }
}

/// Reads a pair; `side` is `in` or `out`, for the names of the options.
///
/// # Errors
///
/// A file is unreadable, is not what it should be, or the two do not belong together: one line that names the option.
pub(super) fn certified(pair: &Pair, side: &str) -> anyhow::Result<Arc<CertifiedKey>> {
    let cert_option = || format!("--{side}-tls-cert {}", pair.cert.display());
    let key_option = || format!("--{side}-tls-key {}", pair.key.display());
    let chain = pem::certificates(&pair.cert).with_context(cert_option)?;
    let key = pem::private_key(&pair.key).with_context(key_option)?;
    match CertifiedKey::from_der(chain, key, &provider()) {
        Ok(certified) => Ok(Arc::new(certified)),
        Err(rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            let cert = pair.cert.display();
            Err(Misfit::new(format!("is not the key of the certificate in {cert}; give the two files of one pair")))
                .with_context(key_option)
        }
        Err(rustls::Error::InvalidCertificate(_)) => {
            Err(Misfit::new("holds no certificate that can be read; copy the file again")).with_context(cert_option)
        }
        Err(_) => Err(Misfit::new(
            "holds no key that can be used; make one of RSA with 2048 bits or more, of ECDSA, or of Ed25519",
        ))
        .with_context(key_option),
    }
}
