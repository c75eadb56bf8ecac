//! When certificates are good, and for whom, which rustls does not tell.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use super::pem;
use crate::config::Pair;

/// From when, and to when, a certificate is good.
///
/// # Errors
///
/// It is none.
pub(crate) fn validity(certificate: &CertificateDer<'_>) -> anyhow::Result<(SystemTime, SystemTime)> {
    let (_, parsed) = parse_x509_certificate(certificate).context("it is no certificate")?;
    Ok((time(parsed.validity().not_before.timestamp()), end(&parsed)))
}

/// Whom the certificate of a pair is for, by the first of its names, and when it ends; nothing of a file that has none.
pub(crate) fn name_and_end(pair: &Pair) -> Option<(String, SystemTime)> {
    let chain = pem::certificates(&pair.cert).ok()?;
    let (_, parsed) = parse_x509_certificate(chain.first()?).ok()?;
    let name = dns_name(&parsed).or_else(|| common_name(&parsed)).unwrap_or_default();
    Some((name.to_owned(), end(&parsed)))
}

fn end(certificate: &X509Certificate<'_>) -> SystemTime {
    time(certificate.validity().not_after.timestamp())
}

fn time(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}

fn dns_name<'a>(certificate: &'a X509Certificate<'_>) -> Option<&'a str> {
    let names = certificate.subject_alternative_name().ok()??;
    names.value.general_names.iter().find_map(|name| match name {
        GeneralName::DNSName(name) => Some(*name),
        _ => None,
    })
}

fn common_name<'a>(certificate: &'a X509Certificate<'_>) -> Option<&'a str> {
    certificate.subject().iter_common_name().next()?.as_str().ok()
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, KeyPair};

    use super::*;

    #[test]
    fn a_certificate_is_called_by_its_first_name() {
        let folder = tempfile::tempdir().expect("a folder");
        let pair = Pair { cert: folder.path().join("a.crt"), key: folder.path().join("a.key") };
        assert!(name_and_end(&pair).is_none(), "there is no file");
        for (names, want) in
            [(&["10.0.0.1", "a.example", "b.example"][..], "a.example"), (&["10.0.0.1"], "common"), (&[], "common")]
        {
            let names: Vec<_> = names.iter().map(|&name| name.to_owned()).collect();
            let mut params = CertificateParams::new(names).expect("names");
            params.distinguished_name.push(DnType::CommonName, "common");
            params.not_after = rcgen::date_time_ymd(2100, 1, 1);
            let key = KeyPair::generate().expect("a key");
            std::fs::write(&pair.cert, params.self_signed(&key).expect("signed").pem()).expect("written");
            assert_eq!(name_and_end(&pair), Some((want.to_owned(), time(4_102_444_800))));
        }
    }
}
