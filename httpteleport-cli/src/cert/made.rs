//! Certificates and who makes them.

use std::fs;
use std::path::Path;

use anyhow::{Context, anyhow, bail};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use ring::digest::{SHA256, digest};
use time::{Duration, OffsetDateTime};

use crate::config::Pair;
use crate::outbound::plain;
use crate::tls::{is_issued, is_pair, name_and_end};

/// What authorities are called, before what tells one from another.
const NAME: &str = "httptp private authority";
/// How long the authority is good for, in days.
const AUTHORITY_DAYS: u16 = 3650;
/// Clocks of two machines may differ by so much.
const SKEW: Duration = Duration::hours(1);

/// A certificate and its key, PEM.
pub(super) struct Certificate {
    pub(super) certificate: String,
    pub(super) key: String,
}

/// Makes certificates.
pub(super) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    own: Certificate,
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    ///
    /// This machine gives no random numbers.
    pub(super) fn new() -> anyhow::Result<Authority> {
        let key = KeyPair::generate().context("cannot make a key")?;
        let params = authority(&name_of(&key));
        let certificate = params.self_signed(&key).context("cannot make a certificate")?.pem();
        let own = Certificate { certificate, key: key.serialize_pem() };
        Ok(Authority { issuer: Issuer::new(params, key), own })
    }

    /// One that was made here before.
    ///
    /// # Errors
    ///
    /// A file is not what it should be, or is not of an authority that was made here: one line that names the file.
    pub(super) fn read(certificate: &Path, key: &Path) -> anyhow::Result<Authority> {
        let pem = |path: &Path| {
            let text = fs::read_to_string(path);
            text.map_err(|error| anyhow!("--renew: {}: cannot read the file: {}", path.display(), plain(&error)))
        };
        let own = Certificate { certificate: pem(certificate)?, key: pem(key)? };
        let pair = KeyPair::from_pem(&own.key);
        let pair = pair.map_err(|_| anyhow!("--renew: {}: holds no private key of ours", key.display()))?;
        if !is_pair(certificate, key) {
            bail!("--renew: {}: is not the key of the certificate in {}", key.display(), certificate.display());
        }
        let files = Pair { cert: certificate.to_owned(), key: key.to_owned() };
        // Certificates name their authority. One of another name is none of ours, and what is made of it without a name is found out below.
        let name = name_and_end(&files).map(|(name, _)| name).filter(|name| name.starts_with(NAME)).unwrap_or_default();
        let made = Authority { issuer: Issuer::new(authority(&name), pair), own };
        if !is_issued(&made.client("try.example", 1)?.certificate, certificate) {
            bail!("--renew: {}: is of no authority that httptp cert has made, or is over", certificate.display());
        }
        Ok(made)
    }

    /// Its own certificate and key.
    pub(super) fn certificate(&self) -> &Certificate {
        &self.own
    }

    /// A certificate of a server with these names and addresses.
    ///
    /// # Errors
    ///
    /// One of them is none.
    pub(super) fn server(&self, names: &[String], days: u16) -> anyhow::Result<Certificate> {
        self.make(names, ExtendedKeyUsagePurpose::ServerAuth, days)
    }

    /// A certificate of a client with this name.
    ///
    /// # Errors
    ///
    /// It is none.
    pub(super) fn client(&self, name: &str, days: u16) -> anyhow::Result<Certificate> {
        self.make(&[name.to_owned()], ExtendedKeyUsagePurpose::ClientAuth, days)
    }

    fn make(&self, names: &[String], usage: ExtendedKeyUsagePurpose, days: u16) -> anyhow::Result<Certificate> {
        let mut params = CertificateParams::new(names).context("--for")?;
        name(&mut params, &names[0]);
        last(&mut params, days);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![usage];
        params.use_authority_key_identifier_extension = true;
        params.is_ca = IsCa::ExplicitNoCa;
        let key = KeyPair::generate().context("cannot make a key")?;
        let certificate = params.signed_by(&key, &self.issuer).context("cannot make a certificate")?;
        Ok(Certificate { certificate: certificate.pem(), key: key.serialize_pem() })
    }
}

/// A name of its own for an authority with this key: by the name of their authority certificates are told from those of another one.
fn name_of(key: &KeyPair) -> String {
    let digest = digest(&SHA256, key.public_key_raw());
    let id: String = digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("{NAME} {id}")
}

fn authority(called: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    name(&mut params, called);
    last(&mut params, AUTHORITY_DAYS);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// Replaces the name that rcgen gives everything.
fn name(params: &mut CertificateParams, name: &str) {
    // What X.509 allows there; verifiers look at the alternative names, where it stands whole.
    let name: String = name.chars().take(64).collect();
    params.distinguished_name.push(DnType::CommonName, name);
}

fn last(params: &mut CertificateParams, days: u16) {
    let now = OffsetDateTime::now_utc();
    params.not_before = now - SKEW;
    params.not_after = now + Duration::days(i64::from(days));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_authority_has_a_name_of_its_own_and_keeps_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let [one, other] = ["one", "other"].map(|name| {
            let (own, cert) = (Authority::new().expect("an authority"), folder.path().join(name));
            let pair = Pair { key: cert.with_extension("key"), cert };
            fs::write(&pair.cert, &own.certificate().certificate).expect("written");
            fs::write(&pair.key, &own.certificate().key).expect("written");
            pair
        });
        let name = |pair: &Pair| name_and_end(pair).expect("a certificate").0;
        assert!(name(&one).starts_with("httptp private authority ") && name(&one) != name(&other), "{}", name(&one));
        let again = Authority::read(&one.cert, &one.key).expect("the same");
        let made = again.client("near.example.com", 1).expect("fine").certificate;
        assert!(is_issued(&made, &one.cert) && !is_issued(&made, &other.cert));
    }
}
