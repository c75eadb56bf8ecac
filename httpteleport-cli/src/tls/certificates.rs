//! The certificates of a server, and which of them a client gets.

use std::fmt;
use std::sync::Arc;

use rustls::client::verify_server_name;
use rustls::pki_types::ServerName;
use rustls::server::{ClientHello, ParsedCertificate, ResolvesServerCert};
use rustls::sign::CertifiedKey;

/// Shows each client the first certificate that is for the name it asks for, or else the first.
pub(super) struct Certificates(pub(super) Vec<Arc<CertifiedKey>>);

impl Certificates {
    fn for_name(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let name = ServerName::try_from(name).ok()?;
        self.0.iter().find(|certified| {
            let parsed = certified.end_entity_cert().and_then(ParsedCertificate::try_from);
            parsed.is_ok_and(|certificate| verify_server_name(&certificate, &name).is_ok())
        })
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let only = self.0.len() == 1;
        let named = hello.server_name().filter(|_| !only).and_then(|name| self.for_name(name));
        named.or(self.0.first()).cloned()
    }
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} certificates", self.0.len())
    }
}
