//! How a certificate is ordered.

use std::time::Duration;

use anyhow::{Context, bail};
use instant_acme::{Account, AuthorizationStatus, ChallengeType, Identifier, NewOrder, OrderStatus, RetryPolicy};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

use super::challenge::Challenges;

/// How long the authority may take to look, and to make a certificate.
const PATIENCE: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(60));

/// Orders a certificate for the name: its key and the chain, PEM.
///
/// # Errors
///
/// The authority refuses, or cannot see that the name is ours.
pub(super) async fn order(account: &Account, name: &str, challenges: &Challenges) -> anyhow::Result<String> {
    let identifiers = [Identifier::Dns(name.to_owned())];
    let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
    // There as long as the authority may look.
    let mut shown = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        match authorization.status {
            AuthorizationStatus::Valid => continue,
            AuthorizationStatus::Pending => {}
            status => bail!("the authority does not ask for a proof: {status:?}"),
        }
        let challenge = authorization.challenge(ChallengeType::TlsAlpn01);
        let mut challenge = challenge.context("the authority offers no challenge of the kind tls-alpn-01")?;
        shown.push(challenges.show(name, challenge.key_authorization().digest().as_ref())?);
        challenge.set_ready().await?;
    }
    match order.poll_ready(&PATIENCE).await? {
        OrderStatus::Ready => {}
        status => bail!("the authority could not see that the name is ours: {status:?}"),
    }
    drop(shown);
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new([name.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    order.finalize_csr(params.serialize_request(&key)?.der()).await?;
    let chain = order.poll_certificate(&PATIENCE).await?;
    Ok(format!("{}{chain}", key.serialize_pem()))
}
