//! TLS from files and from the system's trust, by rustls with ring.

use std::path::Path;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;

use self::pem::certificates;
use crate::misfit::Misfit;

mod certificates;
mod client;
mod client_names;
mod failed;
mod files;
mod lifetime;
mod pair;
mod pem;
mod refused;
mod server;
mod tickets;

pub(crate) use client::{Client, client_faults, trusting};
pub(crate) use client_names::{ClientNames, is_issued};
pub(crate) use failed::{begins, note_failed, says_nothing};
pub(crate) use files::{Digest, digest};
pub(crate) use lifetime::{name_and_end, validity};
pub(crate) use pair::is_pair;
pub(crate) use refused::{cause, refuses};
pub(crate) use server::{server_config, server_faults};

/// What is offered to HTTP peers that negotiate a protocol.
pub(crate) const HTTP_1_1: &[u8] = b"http/1.1";
/// The same, of HTTP/2.
pub(crate) const HTTP_2: &[u8] = b"h2";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Trust in the certificates of a file.
fn roots_of(path: &Path) -> Result<RootCertStore, Misfit> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path)? {
        let added = roots.add(certificate);
        added.map_err(|_| Misfit::new("holds a certificate that cannot be read; copy the file again"))?;
    }
    Ok(roots)
}
