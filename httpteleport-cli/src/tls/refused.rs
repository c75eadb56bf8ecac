//! Clients whose certificate is not taken.

use std::error::Error as StdError;
use std::fmt::Display;
use std::io;

use rustls::{CertificateError, Error};

use crate::counters::Counters;

/// Counts and logs that the handshake with `whom` failed, if that was for the client's certificate; says whether it was.
pub(crate) fn refuses(whom: impl Display, error: &(dyn StdError + 'static), counters: &Counters) -> bool {
    let Some(why) = cause(error).and_then(reason) else { return false };
    counters.client_certificate.note("connection", whom, format_args!("refused: {why}"));
    true
}

/// The error of this type that is a cause of another one: what TLS says, or the system.
pub(crate) fn cause<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        // What an I/O error is made of is not its source.
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

/// A server asks for no certificates but those of its clients.
fn reason(error: &Error) -> Option<String> {
    match error {
        Error::NoCertificatesPresented => Some("it shows no certificate".to_owned()),
        Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure) => {
            Some("its certificate is for none of the names of --in-tls-client-names".to_owned())
        }
        Error::InvalidCertificate(why) => Some(format!("its certificate is not good: {why}")),
        _ => None,
    }
}
