//! Certificates: read from files, and again when these change.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use sha2::{Digest as _, Sha256};
use tokio_rustls::TlsAcceptor;

use crate::challenges::{ACME_TLS, Challenges};

/// How often it is looked whether the files are others.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read or written.
    #[error("{0}: {1}")]
    Io(PathBuf, io::Error),
    /// A file is not what it should be.
    #[error("{0}: {1}")]
    Form(PathBuf, String),
}

/// Where a certificate and its key are, in PEM (RFC 7468).
#[derive(Debug, Clone)]
pub struct CertificateFiles {
    /// The certificate, and those between it and one that clients know.
    pub chain: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What a server needs to speak TLS.
#[derive(Clone)]
pub struct Tls {
    pub(crate) acceptor: TlsAcceptor,
    resolver: Arc<Resolver>,
    /// Seconds for which browsers are to come by TLS only (RFC 6797); `None` says nothing of it.
    pub hsts_max_age: Option<u64>,
}

impl Tls {
    /// Reads the files for the first time. `challenges` are for certificate authorities.
    ///
    /// # Errors
    /// [`TlsError`]. Later, what was read before goes on until it can be read again.
    pub fn new(files: CertificateFiles, challenges: Arc<Challenges>) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let resolver = Arc::new(Resolver::new(files, provider.clone())?);
        let versions = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| TlsError::Form(resolver.files.chain.clone(), error.to_string()))?;
        let shown = Shown { certificate: resolver.clone(), challenges };
        let mut config = versions.with_no_client_auth().with_cert_resolver(Arc::new(shown));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec(), ACME_TLS.to_vec()];
        Ok(Tls { acceptor: TlsAcceptor::from(Arc::new(config)), resolver, hsts_max_age: None })
    }

    /// SHA-256 of the certificate, as browsers show it.
    pub fn fingerprint(&self) -> String {
        let key = self.resolver.current();
        let certificate = key.cert.first().map_or(&[][..], |certificate| certificate.as_ref());
        let digits: Vec<String> =
            Sha256::digest(certificate).iter().map(|byte| format!("{byte:02X}")).collect();
        digits.join(":")
    }
}

/// How a file was when it was read.
type Stamp = Option<(u64, SystemTime)>;

fn stamp(path: &Path) -> Stamp {
    let meta = fs::metadata(path).ok()?;
    Some((meta.len(), meta.modified().ok()?))
}

struct Resolver {
    files: CertificateFiles,
    provider: Arc<CryptoProvider>,
    known: Mutex<Known>,
}

struct Known {
    key: Arc<CertifiedKey>,
    stamps: [Stamp; 2],
    looked: Instant,
}

impl std::fmt::Debug for Resolver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Resolver").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Resolver {
    fn new(files: CertificateFiles, provider: Arc<CryptoProvider>) -> Result<Self, TlsError> {
        let stamps = [stamp(&files.chain), stamp(&files.key)];
        let key = Arc::new(read(&files, &provider)?);
        let known = Mutex::new(Known { key, stamps, looked: Instant::now() });
        Ok(Resolver { files, provider, known })
    }

    fn current(&self) -> Arc<CertifiedKey> {
        let mut known = self.lock();
        if known.looked.elapsed() < LOOK_EVERY {
            return known.key.clone();
        }
        known.looked = Instant::now();
        let stamps = [stamp(&self.files.chain), stamp(&self.files.key)];
        if stamps != known.stamps {
            match read(&self.files, &self.provider) {
                Ok(key) => {
                    tracing::warn!(file = %self.files.chain.display(), "the certificate is another one now");
                    known.key = Arc::new(key);
                    known.stamps = stamps;
                }
                // The one of two files may be there before the other: they are tried again until
                // they fit.
                Err(error) => {
                    tracing::warn!(%error, "the certificate cannot be read; the one before goes on")
                }
            }
        }
        known.key.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Which certificate is for whom.
#[derive(Debug)]
struct Shown {
    certificate: Arc<Resolver>,
    challenges: Arc<Challenges>,
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let is_authority = hello.alpn().is_some_and(|mut names| names.all(|name| name == ACME_TLS));
        match is_authority {
            true => self.challenges.certificate(hello.server_name()?),
            false => Some(self.certificate.current()),
        }
    }
}

fn read(files: &CertificateFiles, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let form = |path: &Path, words: &dyn std::fmt::Display| {
        TlsError::Form(path.to_owned(), words.to_string())
    };
    let text = |path: &Path| fs::read(path).map_err(|error| TlsError::Io(path.to_owned(), error));
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&text(&files.chain)?)
        .collect::<Result<_, _>>()
        .map_err(|error| form(&files.chain, &error))?;
    if chain.is_empty() {
        return Err(form(&files.chain, &"there is no certificate in it"));
    }
    let key = PrivateKeyDer::from_pem_slice(&text(&files.key)?)
        .map_err(|error| form(&files.key, &format!("no private key: {error}")))?;
    CertifiedKey::from_der(chain, key, provider)
        .map_err(|error| form(&files.key, &format!("the key does not fit: {error}")))
}
