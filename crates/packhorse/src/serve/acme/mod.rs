//! Certificates from an authority, asked for and renewed by this server itself (ACME, RFC 8555).
//!
//! What comes is written to a file, which HTTPS reads again as it does with any other; nothing else
//! leads from here to there but [`Challenges`].

mod lifetime;
mod order;

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use front_http::{CertificateFiles, Challenges};
use sha2::{Digest as _, Sha256};

use super::roads::{state_file, write};
use crate::config::{AcmeChallenge, AcmeConfig};

/// The authority that is asked unless another one is named.
const DIRECTORY: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// How long nobody is asked again after the first time that nothing came; then twice as long each time.
const RETRY_FIRST: Duration = Duration::from_secs(60);
/// And never longer than this, unless something else is said.
const RETRY_MAX: Duration = Duration::from_secs(3600);
/// How often it is looked whether a certificate is due: a clock may be set.
const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// One order may take so long, with all that an authority does for it.
const ORDER_TIME: Duration = Duration::from_secs(600);

/// What is asked for, and of whom.
#[derive(Debug, Clone)]
pub(super) struct AcmePlan {
    domains: Vec<String>,
    contact: Vec<String>,
    challenge: AcmeChallenge,
    directory: String,
    /// What the authority's own HTTPS is trusted by, if not by what the system trusts.
    root: Option<PathBuf>,
    /// The account at the authority that an account there is bound to: its id and key.
    external_account: Option<(String, Vec<u8>)>,
    /// The certificate, those above it, and the key.
    file: PathBuf,
    account: PathBuf,
    retry_max: Duration,
}

impl AcmePlan {
    /// Puts together what is configured; in an error, what is missing.
    pub(super) fn new(config: &AcmeConfig) -> Result<Self, String> {
        if !config.terms_of_service_agreed {
            return Err("a certificate authority wants to know that its terms are agreed to: \
                 https.acme.terms_of_service_agreed = true"
                .into());
        }
        if config.domains.is_empty() {
            return Err("https.acme.domains names what a certificate is to be for".into());
        }
        let is_name = |name: &String| {
            name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-.".contains(&byte))
                && !name.is_empty()
        };
        if let Some(wrong) = config.domains.iter().find(|name| !is_name(name)) {
            return Err(format!("https.acme.domains: '{wrong}' is no name of a host"));
        }
        let external_account = match (&config.external_account_id, &config.external_account_key) {
            (Some(id), Some(key)) => {
                let key = key.trim_end_matches('=').replace('+', "-").replace('/', "_");
                let key = URL_SAFE_NO_PAD
                    .decode(key)
                    .map_err(|_| "https.acme.external_account_key is no base64")?;
                Some((id.clone(), key))
            }
            (None, None) => None,
            _ => return Err("an external account has both an id and a key".into()),
        };
        let directory = config.directory.clone().unwrap_or_else(|| DIRECTORY.to_owned());
        // Another authority is another account.
        let digest = Sha256::digest(directory.as_bytes());
        let name: String = digest[..4].iter().map(|byte| format!("{byte:02x}")).collect();
        let folder = state_file("acme")?.join(name);
        Ok(AcmePlan {
            domains: config.domains.iter().map(|name| name.to_ascii_lowercase()).collect(),
            contact: config.contact.clone(),
            challenge: config.challenge,
            directory,
            root: config.root.clone(),
            external_account,
            file: folder.join("certificate.pem"),
            account: folder.join("account.json"),
            retry_max: config.retry_max_ms.map_or(RETRY_MAX, |ms| Duration::from_millis(ms.get())),
        })
    }

    /// Whether authorities come by HTTP.
    pub(super) fn needs_http(&self) -> bool {
        self.challenge == AcmeChallenge::Http01
    }

    /// Where the certificate is; one of this server's own, until there is another.
    pub(super) fn files(&self) -> Result<CertificateFiles, String> {
        if !self.file.exists() {
            let made = rcgen::generate_simple_self_signed(self.domains.clone())
                .map_err(|error| format!("no certificate for '{}': {error}", self.domains[0]))?;
            self.write(&made.cert.pem(), &made.signing_key.serialize_pem())?;
        }
        Ok(CertificateFiles { chain: self.file.clone(), key: self.file.clone() })
    }

    /// Puts a certificate and its key in the place of what is there, at once.
    fn write(&self, chain: &str, key: &str) -> Result<(), String> {
        let beside = self.file.with_extension("new");
        write(&beside, &format!("{key}{chain}"), 0o600)
            .and_then(|()| std::fs::rename(&beside, &self.file))
            .map_err(|error| format!("cannot write '{}': {error}", self.file.display()))
    }

    /// When the certificate has to be another; what cannot be read has to be now.
    fn due(&self) -> SystemTime {
        let read = std::fs::read(&self.file).ok();
        read.and_then(|pem| lifetime::due(&pem, &self.domains)).unwrap_or(SystemTime::UNIX_EPOCH)
    }

    /// Sees to it that there is a certificate, for as long as the server runs.
    pub(super) async fn keep(self, challenges: Arc<Challenges>) -> Infallible {
        let mut retry = RETRY_FIRST.min(self.retry_max);
        loop {
            if let Ok(left) = self.due().duration_since(SystemTime::now()) {
                retry = RETRY_FIRST.min(self.retry_max);
                tokio::time::sleep(left.min(LOOK_EVERY)).await;
                continue;
            }
            let ordered = tokio::time::timeout(ORDER_TIME, order::certificate(&self, &challenges));
            let ordered = ordered.await.unwrap_or_else(|_| Err("it takes too long".to_owned()));
            challenges.clear();
            match ordered {
                Ok(()) if self.due() > SystemTime::now() => {
                    tracing::warn!(domains = self.domains.join(" "), "a certificate has come");
                    continue;
                }
                Ok(()) => tracing::error!("the certificate that has come is due already"),
                Err(error) => {
                    let again_s = retry.as_secs();
                    tracing::error!(directory = self.directory, again_s, "no certificate: {error}");
                }
            }
            tokio::time::sleep(retry).await;
            retry = retry.saturating_mul(2).min(self.retry_max);
        }
    }
}
