//! One order at an authority, from the account to the certificate.

use std::time::Duration;

use front_http::Challenges;
use instant_acme::{
    Account, AuthorizationHandle, AuthorizationStatus, ChallengeType, Error, ExternalAccountKey,
    Identifier, NewAccount, NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::pki_types::PrivateKeyDer;

use super::AcmePlan;
use crate::config::AcmeChallenge;
use crate::serve::roads::write;

/// How long an authority is asked whether it is ready.
const POLL_TIME: Duration = Duration::from_secs(180);

/// Asks for a certificate, shows what proves that the names lead here, and writes down what comes.
pub(super) async fn certificate(plan: &AcmePlan, challenges: &Challenges) -> Result<(), String> {
    let account = account(plan).await?;
    let names: Vec<Identifier> = plan.domains.iter().cloned().map(Identifier::Dns).collect();
    let mut order = account.new_order(&NewOrder::new(&names)).await.map_err(words)?;
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let authorization = authorization.map_err(words)?;
        match authorization.status {
            AuthorizationStatus::Valid => {}
            AuthorizationStatus::Pending => prove(plan, challenges, authorization).await?,
            status => return Err(format!("an authorization is {status:?}")),
        }
    }
    let polling = RetryPolicy::new().timeout(POLL_TIME);
    match order.poll_ready(&polling).await.map_err(words)? {
        OrderStatus::Ready | OrderStatus::Valid => {}
        status => return Err(format!("the order is {status:?}: {}", why(&mut order).await)),
    }
    let key = order.finalize().await.map_err(words)?;
    let chain = order.poll_certificate(&polling).await.map_err(words)?;
    plan.write(&chain, &key)
}

/// The account there, made at the first time.
async fn account(plan: &AcmePlan) -> Result<Account, String> {
    let builder = match &plan.root {
        Some(root) => Account::builder_with_root(root),
        None => Account::builder(),
    };
    let builder = builder.map_err(words)?;
    let file = &plan.account;
    if let Ok(text) = std::fs::read(file) {
        let known = serde_json::from_slice(&text)
            .map_err(|error| format!("'{}' is no account: {error}", file.display()))?;
        return builder.from_credentials(known).await.map_err(words);
    }
    let contact: Vec<&str> = plan.contact.iter().map(String::as_str).collect();
    let wanted = NewAccount {
        contact: &contact,
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let external = plan.external_account.as_ref();
    let external = external.map(|(id, key)| ExternalAccountKey::new(id.clone(), key));
    let made = builder.create(&wanted, plan.directory.clone(), external.as_ref()).await;
    let (account, credentials) = made.map_err(words)?;
    let text = serde_json::to_string(&credentials).map_err(|error| error.to_string())?;
    write(file, &text, 0o600)
        .map_err(|error| format!("cannot write '{}': {error}", file.display()))?;
    Ok(account)
}

/// Shows what an authority looks for, and lets it look.
async fn prove(
    plan: &AcmePlan,
    challenges: &Challenges,
    mut authorization: AuthorizationHandle<'_>,
) -> Result<(), String> {
    let kind = match plan.challenge {
        AcmeChallenge::TlsAlpn01 => ChallengeType::TlsAlpn01,
        AcmeChallenge::Http01 => ChallengeType::Http01,
    };
    let mut challenge = authorization
        .challenge(kind)
        .ok_or_else(|| format!("the authority does not offer {}", plan.challenge.name()))?;
    let proof = challenge.key_authorization();
    match plan.challenge {
        AcmeChallenge::Http01 => challenges.show_file(&challenge.token, proof.as_str()),
        AcmeChallenge::TlsAlpn01 => {
            let Identifier::Dns(name) = challenge.identifier().identifier else {
                return Err("the authority asks for something that is no name".to_owned());
            };
            show_certificate(challenges, name, proof.digest().as_ref())?;
        }
    }
    challenge.set_ready().await.map_err(words)
}

/// A certificate that says nothing but what the authority looks for (RFC 8737, section 3).
fn show_certificate(challenges: &Challenges, name: &str, digest: &[u8]) -> Result<(), String> {
    let made = || {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec![name.to_owned()])?;
        params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
        let certificate = params.self_signed(&key)?;
        Ok::<_, rcgen::Error>((certificate.der().clone(), key.serialize_der()))
    };
    let (certificate, key) = made().map_err(|error| error.to_string())?;
    challenges
        .show_certificate(name, certificate, PrivateKeyDer::Pkcs8(key.into()))
        .map_err(|error| error.to_string())
}

/// What an authority says about an order that came to nothing.
async fn why(order: &mut Order) -> String {
    let mut said = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        if let Ok(state) = authorization.refresh().await {
            let problems = state.challenges.iter().filter_map(|challenge| challenge.error.as_ref());
            said.extend(problems.map(ToString::to_string));
        }
    }
    said.join("; ")
}

fn words(error: Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    text
}
