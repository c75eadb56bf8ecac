//! Which clients a server of TLS lets in.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};
use webpki::EndEntityCert;

use super::{provider, roots_of};

/// Most names in the option: each is compared with those of a client.
const MOST: usize = 1000;

/// DNS names that a client's certificate may have, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClientNames(Vec<Name>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Name {
    Exact(String),
    /// With the dot that it begins with.
    Suffix(String),
}

impl ClientNames {
    /// Reads names with commas between them: `near.example.com`, and `*.example.com` for all that end so.
    ///
    /// # Errors
    ///
    /// What is wrong with which of them.
    pub(crate) fn parse(text: &str) -> Result<ClientNames, String> {
        let names: Vec<_> = text.split(',').map(|name| Name::parse(name.trim())).collect::<Result<_, _>>()?;
        if names.len() > MOST {
            return Err(format!("there are more than {MOST} names; use *.example.com for all that end so"));
        }
        Ok(ClientNames(names))
    }

    fn has(&self, name: &str) -> bool {
        let name = name.to_ascii_lowercase();
        self.0.iter().any(|allowed| match allowed {
            Name::Exact(exact) => *exact == name,
            Name::Suffix(end) => name.len() > end.len() && name.ends_with(end),
        })
    }
}

impl Name {
    fn parse(text: &str) -> Result<Name, String> {
        let plain = text.strip_prefix("*.").unwrap_or(text);
        let is_label = |label: &str| {
            !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
        };
        if !plain.split('.').all(is_label) {
            return Err(format!(
                "{text:?} is no DNS name; write for example near.example.com, or *.example.com for all that end so"
            ));
        }
        let plain = plain.to_ascii_lowercase();
        Ok(if text.starts_with("*.") { Name::Suffix(format!(".{plain}")) } else { Name::Exact(plain) })
    }
}

/// Whether the authority in the file vouches for this certificate of a client, PEM.
pub(crate) fn is_issued(certificate: &str, authority: &Path) -> bool {
    let roots = roots_of(authority).ok();
    let verifier = roots.and_then(|roots| Named::new(roots, None).ok());
    let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).ok();
    let both = verifier.zip(certificate);
    both.is_some_and(|(verifier, shown)| verifier.verify_client_cert(&shown, &[], UnixTime::now()).is_ok())
}

/// Lets clients in whose certificate an authority has made, for one of the names if there are any.
pub(super) struct Named {
    authority: Arc<dyn ClientCertVerifier>,
    names: Option<ClientNames>,
}

impl Named {
    /// Those whom these authorities vouch for.
    ///
    /// # Errors
    ///
    /// There is no authority.
    pub(super) fn new(roots: RootCertStore, names: Option<ClientNames>) -> anyhow::Result<Named> {
        let authority = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build()?;
        Ok(Named { authority, names })
    }

    fn is_named(&self, certificate: &CertificateDer<'_>) -> bool {
        let Some(names) = &self.names else { return true };
        EndEntityCert::try_from(certificate).is_ok_and(|cert| cert.valid_dns_names().any(|name| names.has(name)))
    }
}

impl ClientCertVerifier for Named {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.authority.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verified = self.authority.verify_client_cert(certificate, intermediates, now)?;
        // The client is told that access is denied.
        let stranger = Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
        if self.is_named(certificate) { Ok(verified) } else { Err(stranger) }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authority.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authority.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authority.supported_verify_schemes()
    }
}

impl fmt::Debug for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Named({:?})", self.names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_whole_or_ends() {
        let names = ClientNames::parse("near.example.com, *.Wide.example").expect("names");
        for name in ["near.example.com", "NEAR.example.com", "a.wide.example", "b.a.wide.example"] {
            assert!(names.has(name), "{name}");
        }
        for name in ["example.com", "a.near.example.com", "wide.example", ".wide.example", "awide.example", ""] {
            assert!(!names.has(name), "{name}");
        }
    }

    #[test]
    fn what_is_no_name_is_told() {
        let many = vec!["a"; MOST + 1].join(",");
        for text in ["", "a,,b", "*", "*.", "a.*.b", "*a.b", "a..b", "a b", "https://a", &many] {
            assert!(ClientNames::parse(text).is_err(), "{text}");
        }
    }
}
