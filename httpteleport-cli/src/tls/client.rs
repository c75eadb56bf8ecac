//! The client side.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, bail};
use rustls::client::ResolvesClientCert;
use rustls::pki_types::ServerName;
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, RootCertStore};

use super::pair::{self, certified};
use super::{HTTP_1_1, HTTP_2, provider, roots_of};
use crate::config::ClientTls;
use crate::outbound::Place;

/// TLS to the upstreams of a group.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// Whom it trusts, and what it shows.
    pub(crate) config: Arc<ClientConfig>,
    /// The name that certificates have to be for, instead of each upstream's own.
    name: Option<ServerName<'static>>,
}

impl Client {
    /// The client side: trusts the certificates of `--out-ca`, or else the system's, and shows that of `--out-tls-cert`; with `http`,
    /// it offers HTTP/2 and HTTP/1.1 in ALPN.
    ///
    /// # Errors
    ///
    /// A file is unreadable or not what it should be, or the system trusts nobody: one line that says what to do.
    pub(crate) fn new(settings: &ClientTls, http: bool) -> anyhow::Result<Client> {
        let roots = roots(settings.ca.as_deref(), "--out-ca")?;
        let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
        let builder = builder.with_root_certificates(roots);
        let mut config = match &settings.pair {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let shown: Arc<dyn ResolvesClientCert> = Arc::new(SingleCertAndKey::from(certified(pair, "out")?));
                builder.with_client_cert_resolver(shown)
            }
        };
        if http {
            config.alpn_protocols = vec![HTTP_2.to_vec(), HTTP_1_1.to_vec()];
        }
        Ok(Client { config: Arc::new(config), name: settings.name.clone() })
    }

    /// The name that the certificate of this upstream has to be for.
    ///
    /// # Errors
    ///
    /// It has none, or one that no certificate can be for: one line that names the option.
    pub(crate) fn server_name(&self, place: &Place) -> anyhow::Result<ServerName<'static>> {
        if let Some(name) = &self.name {
            return Ok(name.clone());
        }
        let host = place.server_name().unwrap_or_default();
        ServerName::try_from(host.to_owned())
            .map_err(|_| anyhow::anyhow!("--out {place}: {host:?} cannot be the name in a certificate"))
    }
}

/// A client that trusts the certificates of the option's file, or else the system's, and shows none.
///
/// # Errors
///
/// The file is unreadable or not what it should be, or the system trusts nobody: one line that says what to do.
pub(crate) fn trusting(ca: Option<&Path>, option: &str) -> anyhow::Result<Arc<ClientConfig>> {
    let builder = ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    Ok(Arc::new(builder.with_root_certificates(roots(ca, option)?).with_no_client_auth()))
}

/// All that is wrong with the files of a group, each a line that names the option.
pub(crate) fn client_faults(settings: &ClientTls) -> Vec<String> {
    let trusted = settings.ca.as_deref().and_then(|ca| roots(Some(ca), "--out-ca").err());
    let shown = settings.pair.iter().flat_map(|pair| pair::faults(pair, "out"));
    trusted.into_iter().chain(shown).map(|error| format!("{error:#}")).collect()
}

fn roots(ca: Option<&Path>, option: &str) -> anyhow::Result<RootCertStore> {
    match ca {
        Some(path) => roots_of(path).with_context(|| format!("{option} {}", path.display())),
        None => system_roots(option),
    }
}

fn system_roots(option: &str) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    // Systems carry certificates that no parser likes; the rest is what counts.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        bail!(
            "{option}: this system trusts no certificate at all; install its CA certificates or give a file with this option"
        );
    }
    Ok(roots)
}
