//! What an input shows of itself by TLS, and what it wants to see.

use std::path::{Path, PathBuf};

use super::Mistakes;
use crate::acme::{Challenge, HostPattern};
use crate::cli::ListenerArgs;
use crate::endpoint::{Endpoint, Scheme};
use crate::tls::ClientNames;

/// Where certificates are ordered unless it is said otherwise.
const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// A server's identity.
#[derive(Clone, Debug)]
pub(crate) struct Tls {
    /// PEM files, the default first; at least one pair, or certificates are ordered.
    pub(crate) pairs: Vec<Pair>,
    /// What the key of session tickets is made of.
    pub(crate) ticket_key: Option<String>,
    /// How certificates are ordered, where there are no pairs.
    pub(crate) acme: Option<Acme>,
    /// Which clients are let in, if not all.
    pub(crate) clients: Option<ClientCa>,
}

/// How certificates are ordered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Acme {
    /// For which hosts.
    pub(crate) hosts: HostPattern,
    /// Folder where they are kept.
    pub(crate) cache: PathBuf,
    /// URL of the authority's directory.
    pub(crate) directory: String,
    /// PEM certificates to trust there instead of the system's.
    pub(crate) ca: Option<PathBuf>,
    /// Mail addresses that the authority may write to.
    pub(crate) contact: Vec<String>,
    /// Where the authority looks.
    pub(crate) challenge: Challenge,
}

/// Clients that have to show a certificate.
#[derive(Clone, Debug)]
pub(crate) struct ClientCa {
    /// PEM file of those who may have made it.
    pub(crate) ca: PathBuf,
    /// What it may be for; anything without this.
    pub(crate) names: Option<ClientNames>,
}

/// The files of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pair {
    /// PEM certificate chain, the holder's own first.
    pub(crate) cert: PathBuf,
    /// PEM private key.
    pub(crate) key: PathBuf,
}

impl Tls {
    /// The files that it is made of.
    pub(crate) fn files(&self) -> impl Iterator<Item = &Path> {
        let pairs = self.pairs.iter().flat_map(|pair| [pair.cert.as_path(), pair.key.as_path()]);
        pairs.chain(self.clients.iter().map(|clients| clients.ca.as_path()))
    }
}

/// A TLS input needs certificates and their keys, any other must have none: a certificate beside `http://` is a misunderstanding
/// that would leave traffic in clear text.
pub(super) fn of(args: &ListenerArgs, endpoint: &Endpoint, mistakes: &mut Mistakes) -> Option<Tls> {
    let tls = identity(args, endpoint, mistakes);
    note_idle_acme(args, tls.as_ref(), mistakes);
    tls
}

fn identity(args: &ListenerArgs, endpoint: &Endpoint, mistakes: &mut Mistakes) -> Option<Tls> {
    let given = |files: &Option<Vec<PathBuf>>| files.clone().unwrap_or_default();
    let (certs, keys) = (given(&args.in_tls_cert), given(&args.in_tls_key));
    if !endpoint.scheme.is_tls() {
        let options = [
            ("--in-tls-cert", !certs.is_empty()),
            ("--in-tls-key", !keys.is_empty()),
            ("--in-tls-session-ticket-key", args.in_tls_session_ticket_key.is_some()),
            ("--in-tls-client-ca", args.in_tls_client_ca.is_some()),
            ("--in-tls-client-names", args.in_tls_client_names.is_some()),
        ];
        for (option, _) in options.iter().filter(|option| option.1) {
            let line = format!(
                "{option}: the input {endpoint} does not use TLS; use https:// or teleports://, or drop the option"
            );
            mistakes.add_if_read("--in", line);
        }
        return None;
    }
    let acme = if certs.is_empty() { acme(args, endpoint) } else { None };
    match (certs.len(), keys.len()) {
        (0, 0) if acme.is_some() => {}
        (0, _) if endpoint.scheme == Scheme::Https && args.autocert_cache_dir.is_some() => mistakes.add(
            "--autocert-cache-dir: anyone could order certificates; say for which hosts with --autocert-host-regexp".to_owned(),
        ),
        (0, 0) if endpoint.scheme == Scheme::Https => mistakes.add(format!(
            "--in {endpoint}: needs a certificate; give PEM files with --in-tls-cert and --in-tls-key, or have one ordered for hosts that \
             --autocert-host-regexp takes"
        )),
        (0, _) => mistakes
            .add(format!("--in {endpoint}: needs a certificate; give PEM files with --in-tls-cert and --in-tls-key")),
        (_, 0) => mistakes
            .add(format!("--in {endpoint}: needs the certificate's key; give its PEM file with --in-tls-key")),
        (certs, keys) if certs != keys => mistakes.add(format!(
            "--in-tls-key: there are {certs} certificates and {keys} keys; give each certificate its key, in the same order"
        )),
        _ => {}
    }
    if args.in_tls_session_ticket_key.as_ref().is_some_and(String::is_empty) {
        mistakes.add(
            "--in-tls-session-ticket-key: is empty; give a text that nobody can guess, or drop the option".to_owned(),
        );
    }
    let clients = clients(args, mistakes);
    // Of unequal lists nobody knows which key is whose.
    let both = if certs.len() == keys.len() { certs } else { Vec::new() };
    let pairs = both.into_iter().zip(keys).map(|(cert, key)| Pair { cert, key }).collect();
    Some(Tls { pairs, ticket_key: args.in_tls_session_ticket_key.clone(), acme, clients })
}

/// How an https input gets certificates that it is not given.
fn acme(args: &ListenerArgs, endpoint: &Endpoint) -> Option<Acme> {
    let hosts = args.autocert_host_regexp.clone().filter(|_| endpoint.scheme == Scheme::Https)?;
    Some(Acme {
        hosts,
        cache: args.autocert_cache_dir.clone().unwrap_or_else(|| PathBuf::from("autocert-cache")),
        directory: args.acme_directory.clone().unwrap_or_else(|| LETS_ENCRYPT.to_owned()),
        ca: args.acme_ca.clone(),
        contact: args.acme_contact.clone().unwrap_or_default(),
        challenge: args.acme_challenge.unwrap_or_default(),
    })
}

/// Options of certificates that are ordered, where none are.
fn note_idle_acme(args: &ListenerArgs, tls: Option<&Tls>, mistakes: &mut Mistakes) {
    let options = [
        ("--autocert-host-regexp", args.autocert_host_regexp.is_some()),
        ("--acme-directory", args.acme_directory.is_some()),
        ("--acme-ca", args.acme_ca.is_some()),
        ("--acme-contact", args.acme_contact.is_some()),
        ("--acme-challenge", args.acme_challenge.is_some()),
    ];
    if tls.is_none_or(|tls| tls.acme.is_none()) {
        for (option, _) in options.iter().filter(|option| option.1) {
            mistakes.add_idle(format!("{option} has no effect: no certificates are ordered for this input"));
        }
    }
}

/// Whose certificates of clients are good.
fn clients(args: &ListenerArgs, mistakes: &mut Mistakes) -> Option<ClientCa> {
    let Some(ca) = args.in_tls_client_ca.clone() else {
        if args.in_tls_client_names.is_some() {
            mistakes.add(
                "--in-tls-client-names: clients show no certificate; say whose are good with --in-tls-client-ca"
                    .to_owned(),
            );
        }
        return None;
    };
    if args.in_tls_session_ticket_key.is_some() {
        mistakes.add(
            "--in-tls-session-ticket-key: sessions that are resumed would get round --in-tls-client-ca; drop one of the two"
                .to_owned(),
        );
    }
    Some(ClientCa { ca, names: args.in_tls_client_names.clone() })
}
