//! What proves to a certificate authority that a name leads here: a file by HTTP (http-01, RFC 8555,
//! section 8.3), or a certificate of its own in a handshake (tls-alpn-01, RFC 8737).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use hyper::StatusCode;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::reply::{Reply, not_found, text};
use crate::response_body::ResponseBody;

/// What an authority names in a handshake when it looks for a certificate of its own.
pub(crate) const ACME_TLS: &[u8] = b"acme-tls/1";

/// Where an authority looks for files.
const FOLDER: &str = "/.well-known/acme-challenge/";

/// What authorities find while they look.
#[derive(Default)]
pub struct Challenges(Mutex<Pending>);

#[derive(Default)]
struct Pending {
    /// By their tokens.
    files: HashMap<String, String>,
    /// By the names in small letters.
    certificates: HashMap<String, Arc<CertifiedKey>>,
}

impl Challenges {
    /// Shows a file to whoever comes by HTTP.
    pub fn show_file(&self, token: &str, content: &str) {
        self.lock().files.insert(token.to_owned(), content.to_owned());
    }

    /// Shows a certificate to authorities that ask for this name.
    ///
    /// # Errors
    /// For a key that is none.
    pub fn show_certificate(
        &self,
        name: &str,
        certificate: CertificateDer<'static>,
        key: PrivateKeyDer<'static>,
    ) -> Result<(), rustls::Error> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let key = provider.key_provider.load_private_key(key)?;
        // What is critical in it is for authorities alone, so nobody else's reader looks at it.
        let key = CertifiedKey::new(vec![certificate], key);
        self.lock().certificates.insert(name.to_ascii_lowercase(), Arc::new(key));
        Ok(())
    }

    /// Shows nothing any more.
    pub fn clear(&self) {
        *self.lock() = Pending::default();
    }

    pub(crate) fn certificate(&self, name: &str) -> Option<Arc<CertifiedKey>> {
        self.lock().certificates.get(&name.to_ascii_lowercase()).cloned()
    }

    /// The answer, for a path that an authority asks for.
    pub(crate) fn reply(&self, path: &str) -> Option<Reply> {
        let token = path.strip_prefix(FOLDER)?;
        let content = self.lock().files.get(token).cloned();
        Some(content.map_or_else(not_found, |content| {
            let mut reply = text(StatusCode::OK, "");
            *reply.body_mut() = ResponseBody::from(Bytes::from(content));
            reply
        }))
    }

    fn lock(&self) -> MutexGuard<'_, Pending> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Challenges {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Challenges").finish_non_exhaustive()
    }
}
