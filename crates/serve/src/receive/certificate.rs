//! A signed push: its certificate is kept as a blob, and hooks are told what is known of it.
//!
//! Nothing is decided here: whether a signature or a nonce is good enough is up to the hooks.

use std::ffi::{OsStr, OsString};
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;

use bstr::BString;
use object::{Kind, ObjectId};
use repository::Repository;
use wire::PushCert;

use crate::Error;

use super::nonce::{NonceStatus, Nonces};
use super::signature::Signature;

/// Keeps a certificate as a loose blob, beside the objects of the push: hooks read it by name.
pub(super) fn store(repo: &Repository, cert: &PushCert) -> Result<ObjectId, Error> {
    let content = cert.as_bytes();
    let id = object::object_id(repo.hash(), Kind::Blob, content)
        .map_err(|collision| Error::Refused(format!("push certificate: {collision}")))?;
    let mut text = object::loose_header(Kind::Blob, content.len() as u64, &mut [0; 32]).to_vec();
    text.extend_from_slice(content);
    let mut compressed = Vec::new();
    pack::inflate::deflate(&text, COMPRESSION_LEVEL, &mut compressed);

    let hex = id.to_hex();
    let name = format!("{}/{}", &hex[..2], &hex[2..]);
    let mut stage = repo.blobs().stage()?;
    let mut writer = stage.create(&name)?;
    writer.write_all(&compressed).map_err(|error| storage::Error::io(&name, error))?;
    writer.finish()?;
    stage.publish()?;
    Ok(id)
}

/// zlib's own default.
const COMPRESSION_LEVEL: i32 = -1;

/// What hooks are told of a certificate.
pub(super) struct Certificate {
    id: ObjectId,
    signature: Signature,
    nonce: Option<(BString, NonceStatus)>,
}

impl Certificate {
    /// Judges a certificate that was stored as `id`. `given` is the nonce this session
    /// advertised, or would have.
    pub fn judge(
        cert: &PushCert,
        id: ObjectId,
        signature: Signature,
        nonces: Option<&Nonces<'_>>,
        given: Option<BString>,
        stateless: bool,
        slop_seconds: u64,
    ) -> Self {
        let nonce = nonces.zip(given).map(|(nonces, mut given)| {
            let found = cert.header("nonce");
            let status = nonces.check(found, &mut given, stateless, slop_seconds);
            (given, status)
        });
        Certificate { id, signature, nonce }
    }

    /// The variables of `pre-receive` and `post-receive`.
    pub fn variables(&self) -> Vec<(OsString, OsString)> {
        let Signature { status, signer, key } = &self.signature;
        let mut variables = vec![
            ("GIT_PUSH_CERT".into(), self.id.to_hex().into()),
            ("GIT_PUSH_CERT_SIGNER".into(), OsStr::from_bytes(signer).to_owned()),
            ("GIT_PUSH_CERT_KEY".into(), OsStr::from_bytes(key).to_owned()),
            ("GIT_PUSH_CERT_STATUS".into(), status.unwrap_or('N').to_string().into()),
        ];
        if let Some((nonce, status)) = &self.nonce {
            let nonce = nonce.to_string();
            variables.push(("GIT_PUSH_CERT_NONCE".into(), nonce.into()));
            variables.push(("GIT_PUSH_CERT_NONCE_STATUS".into(), status.word().into()));
            if let NonceStatus::Slop(seconds) = status {
                let seconds = seconds.to_string();
                variables.push(("GIT_PUSH_CERT_NONCE_SLOP".into(), seconds.into()));
            }
        }
        variables
    }
}
