//! The server side.

use std::sync::Arc;

use anyhow::Context;
use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};

use super::certificates::Certificates;
use super::client_names::Named;
use super::pair::{self, certified};
use super::tickets::Tickets;
use super::{HTTP_1_1, HTTP_2, provider, roots_of};
use crate::config::{ClientCa, Tls};

/// The server side of `--in-tls-cert` and `--in-tls-key`, or of certificates that are `ordered`; with `http`, it names HTTP/2 and HTTP/1.1 in ALPN. With
/// `--in-tls-client-ca` it lets those clients in alone that show a certificate of that authority.
///
/// # Errors
///
/// A file is unreadable, is not what it should be, or two do not belong together: one line that names the option.
pub(crate) fn server_config(
    identity: &Tls,
    ordered: Option<Arc<dyn ResolvesServerCert>>,
    http: bool,
) -> anyhow::Result<Arc<ServerConfig>> {
    let pairs = identity.pairs.iter().map(|pair| certified(pair, "in")).collect::<anyhow::Result<_>>()?;
    let shown = ordered.unwrap_or_else(|| Arc::new(Certificates(pairs)));
    let builder = ServerConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()?;
    let mut config = match &identity.clients {
        None => builder.with_no_client_auth().with_cert_resolver(shown),
        Some(clients) => builder.with_client_cert_verifier(Arc::new(verifier(clients)?)).with_cert_resolver(shown),
    };
    if let Some(text) = &identity.ticket_key {
        config.ticketer = Arc::new(Tickets::new(text));
    }
    if identity.clients.is_some() {
        // Whoever resumes a session shows no certificate, so its end and other names would not be noticed.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    if http {
        config.alpn_protocols = vec![HTTP_2.to_vec(), HTTP_1_1.to_vec()];
    }
    Ok(Arc::new(config))
}

/// All that is wrong with the files of an input, each a line that names the option.
pub(crate) fn server_faults(identity: &Tls) -> Vec<String> {
    let pairs = identity.pairs.iter().flat_map(|pair| pair::faults(pair, "in"));
    let clients = identity.clients.iter().filter_map(|clients| verifier(clients).err());
    pairs.chain(clients).map(|error| format!("{error:#}")).collect()
}

fn verifier(clients: &ClientCa) -> anyhow::Result<Named> {
    let option = || format!("--in-tls-client-ca {}", clients.ca.display());
    let roots = roots_of(&clients.ca).with_context(option)?;
    Named::new(roots, clients.names.clone()).with_context(option)
}
