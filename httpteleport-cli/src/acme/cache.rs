//! Certificates and accounts on disk.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context;
use ring::digest::{SHA256, digest};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, DnsName, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use tokio::time::Instant;

use super::hosts::{Held, MOST};
use crate::files::{self, Secrecy};
use crate::misfit::Misfit;
use crate::tls::validity;

/// A folder of files `NAME.pem`, each a key and its certificates, and `account-....json`.
#[derive(Clone, Debug)]
pub(super) struct Cache(PathBuf);

impl Cache {
    /// Opens a folder; it is made if need be.
    ///
    /// # Errors
    ///
    /// It cannot be made, or is open to others: one line that names the option.
    pub(super) fn open(folder: &Path) -> anyhow::Result<Cache> {
        Cache::check(folder)?;
        files::folder(folder, "--autocert-cache-dir")?;
        Ok(Cache(folder.to_owned()))
    }

    /// Whether a folder will do, or one can be made there. Nothing is made.
    ///
    /// # Errors
    ///
    /// It will not: one line that names the option.
    pub(super) fn check(folder: &Path) -> anyhow::Result<()> {
        let option = || format!("--autocert-cache-dir {}", folder.display());
        let is_open = || fs::metadata(folder).is_ok_and(|there| there.permissions().mode() & 0o077 != 0);
        let open = || Err("others can look into it, and there are keys in it; chmod 700 it".to_owned());
        let checked = files::is_room(folder).and_then(|()| if is_open() { open() } else { Ok(()) });
        checked.map_err(Misfit::new).with_context(option)
    }

    /// The certificates that are there, with their names. What is no good is left alone; it is ordered when somebody needs it.
    pub(super) fn certificates(&self) -> Vec<(String, Held)> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().filter_map(Result::ok);
        let named = entries.filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?.strip_suffix(".pem")?.to_owned();
            DnsName::try_from(name.as_str()).ok()?;
            let held = held(&fs::read_to_string(entry.path()).ok()?).ok()?;
            Some((name, held))
        });
        named.take(MOST).collect()
    }

    /// Keeps a certificate with its key.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub(super) fn keep(&self, name: &str, pem: &str) -> anyhow::Result<()> {
        files::write(&self.0.join(format!("{name}.pem")), pem, Secrecy::Owner, true)
    }

    /// The account with the authority that has this directory.
    pub(super) fn account(&self, directory: &str) -> Option<String> {
        fs::read_to_string(self.account_file(directory)).ok()
    }

    /// Keeps it.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub(super) fn keep_account(&self, directory: &str, account: &str) -> anyhow::Result<()> {
        files::write(&self.account_file(directory), account, Secrecy::Owner, true)
    }

    fn account_file(&self, directory: &str) -> PathBuf {
        let hash = digest(&SHA256, directory.as_bytes());
        let hash: String = hash.as_ref()[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        self.0.join(format!("account-{hash}.json"))
    }
}

/// A key and its certificates, and when they should be others: when two thirds of their time are over, or a little before.
///
/// # Errors
///
/// It is not what it should be, or is over.
pub(super) fn held(pem: &str) -> anyhow::Result<Held> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>()?;
    let (begin, end) = validity(chain.first().context("there is no certificate")?)?;
    let (now, moment) = (SystemTime::now(), Instant::now());
    let left = end.duration_since(now).context("the certificate is over")?;
    let jitter = 1.0 - fastrand::f64() / 10.0;
    let renew = begin + end.duration_since(begin)?.mul_f64(2.0 / 3.0 * jitter);
    let key = PrivateKeyDer::from_pem_slice(pem.as_bytes())?;
    let key = CertifiedKey::from_der(chain, key, &rustls::crypto::ring::default_provider())?;
    let wait = renew.duration_since(now).unwrap_or_default();
    Ok(Held { key: Arc::new(key), renew: moment + wait, end: moment + left })
}
