//! Options of `httptp cert`.

use std::path::PathBuf;

use clap::Args;
use rustls::pki_types::{DnsName, ServerName};

use super::tls_name;
use crate::count;

/// As typed.
#[derive(Args, Clone, Debug)]
pub(crate) struct CertArgs {
    /// Names and addresses by which the near side reaches the far one: far.example.com,10.0.0.2
    #[arg(long = "for", value_name = "NAME[,NAME...]", required = true, value_delimiter = ',', value_parser = tls_name)]
    pub(crate) names: Vec<ServerName<'static>>,

    /// The name in the certificate of the near side, by which the far one lets it in
    #[arg(long, value_name = "NAME", default_value = "near", value_parser = dns_name)]
    pub(crate) near: DnsName<'static>,

    /// Folder for the files; it is made if need be
    #[arg(long, value_name = "FOLDER", default_value = "certs")]
    pub(crate) dir: PathBuf,

    /// How long the two certificates are good for; the authority is for 10 years
    #[arg(long, value_name = "DAYS", default_value_t = 365, value_parser = count::within(1..=3650_u16))]
    pub(crate) days: u16,

    /// Keep the authority that is in the folder, and replace the certificates of both sides
    #[arg(long, conflicts_with = "overwrite")]
    pub(crate) renew: bool,

    /// Replace what is in the folder, the authority too
    #[arg(long)]
    pub(crate) overwrite: bool,
}

fn dns_name(text: &str) -> Result<DnsName<'static>, &'static str> {
    DnsName::try_from(text.to_owned()).map_err(|_| "is no DNS name; write for example near.example.com")
}
