//! How a certificate is ordered.

use std::time::Duration;

use anyhow::{Context, bail};
use instant_acme::{Account, AuthorizationStatus, Identifier, NewOrder, Order, OrderStatus, RetryPolicy};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};

use super::challenge::Proofs;

/// How long the authority may take to look, and to make a certificate.
const PATIENCE: RetryPolicy = RetryPolicy::new().timeout(Duration::from_secs(60));

/// Orders a certificate for the name: its key and the chain, PEM.
///
/// # Errors
///
/// The authority refuses, or cannot see that the name is ours.
pub(super) async fn order(account: &Account, name: &str, proofs: &Proofs) -> anyhow::Result<String> {
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
        let (kind, words) = proofs.kind();
        let challenge = authorization.challenge(kind);
        let mut challenge =
            challenge.with_context(|| format!("the authority offers no challenge of the kind {words}"))?;
        shown.push(proofs.show(name, &challenge.token, &challenge.key_authorization())?);
        challenge.set_ready().await?;
    }
    let ready = order.poll_ready(&PATIENCE).await;
    if !matches!(ready, Ok(OrderStatus::Ready)) {
        let why = refusal(&mut order).await;
        let status = why.map_or_else(|| ready.map(|status| format!("{status:?}")), Ok)?;
        bail!("the authority could not see that the name is ours: {status}");
    }
    drop(shown);
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new([name.to_owned()])?;
    params.distinguished_name = DistinguishedName::new();
    order.finalize_csr(params.serialize_request(&key)?.der()).await?;
    let chain = order.poll_certificate(&PATIENCE).await?;
    Ok(format!("{}{chain}", key.serialize_pem()))
}

/// What the authority says about its look, if that has failed.
async fn refusal(order: &mut Order) -> Option<String> {
    let mut authorizations = order.authorizations();
    while let Some(Ok(authorization)) = authorizations.next().await {
        if let Some(problem) = authorization.challenges.iter().find_map(|challenge| challenge.error.as_ref()) {
            return problem.detail.clone();
        }
    }
    None
}
