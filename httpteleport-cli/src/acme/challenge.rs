//! How an authority is shown that a name is ours.

use std::str::FromStr;

use instant_acme::{ChallengeType, KeyAuthorization};

use super::http_01::{self, Tokens};
use super::tls_alpn::{self, Challenges};

/// Where an authority looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// At port 443, by TLS.
    #[default]
    TlsAlpn,
    /// At port 80, by HTTP in clear text.
    Http,
}

impl FromStr for Challenge {
    type Err = &'static str;

    fn from_str(name: &str) -> Result<Challenge, &'static str> {
        match name {
            "tls-alpn" => Ok(Challenge::TlsAlpn),
            "http" => Ok(Challenge::Http),
            _ => Err("use tls-alpn or http"),
        }
    }
}

/// Where what it wants to see is put.
pub(super) enum Proofs {
    TlsAlpn(Challenges),
    Http(Tokens),
}

/// A proof, there until this is dropped.
pub(super) enum Shown {
    TlsAlpn(#[expect(dead_code, reason = "its drop ends the showing")] tls_alpn::Shown),
    Http(#[expect(dead_code, reason = "its drop ends the showing")] http_01::Shown),
}

impl Proofs {
    /// What it is called by authorities, and the same in words.
    pub(super) fn kind(&self) -> (ChallengeType, &'static str) {
        match self {
            Proofs::TlsAlpn(_) => (ChallengeType::TlsAlpn01, "tls-alpn-01"),
            Proofs::Http(_) => (ChallengeType::Http01, "http-01"),
        }
    }

    /// Shows the proof for a name.
    ///
    /// # Errors
    ///
    /// It cannot be made.
    pub(super) fn show(&self, name: &str, token: &str, proof: &KeyAuthorization) -> anyhow::Result<Shown> {
        Ok(match self {
            Proofs::TlsAlpn(challenges) => Shown::TlsAlpn(challenges.show(name, proof.digest().as_ref())?),
            Proofs::Http(tokens) => Shown::Http(tokens.show(token, proof.as_str())),
        })
    }
}
