//! SSH public keys, as lines of `authorized_keys` have them (sshd(8), RFC 4253 section 6.6).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest as _, Sha256};

/// Longest key that is read, bytes of its blob; one of 16,384 bits of RSA has some 2,100.
const BLOB_BYTES_MAX: usize = 16 << 10;

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshKey {
    /// What it is for, for example `ssh-ed25519`.
    pub algorithm: String,
    /// The key as it goes over the wire.
    pub blob: Vec<u8>,
    /// What its owner wrote behind it.
    pub comment: String,
}

/// A text that is no public key.
#[derive(Debug, thiserror::Error)]
pub enum NoKey {
    /// It is not made up of an algorithm and base64.
    #[error("this is no public key: 'ssh-ed25519 AAAA… somebody@somewhere' is the form of one")]
    Form,
    /// Somebody is about to give his secret away.
    #[error("this is a private key; the public one is in the file whose name ends in .pub")]
    Private,
    /// What is inside is for something else than what is written in front.
    #[error("the key inside is not of the kind that is written before it")]
    Kind,
    /// Options as in sshd's `authorized_keys` would be ignored, which is not what they are for.
    #[error("a key's options are not known here; only the key itself, and a comment")]
    Options,
}

impl SshKey {
    /// Reads one line.
    ///
    /// # Errors
    /// [`NoKey`].
    pub fn parse(line: &str) -> Result<Self, NoKey> {
        let line = line.trim();
        if line.contains("PRIVATE KEY") {
            return Err(NoKey::Private);
        }
        let mut words = line.splitn(3, [' ', '\t']);
        let (algorithm, encoded) = (words.next().unwrap_or_default(), words.next());
        let is_algorithm = |word: &str| {
            word.starts_with("ssh-")
                || word.starts_with("ecdsa-sha2-")
                || word.starts_with("sk-ssh-")
                || word.starts_with("sk-ecdsa-")
        };
        let encoded = encoded.ok_or(NoKey::Form)?;
        if !is_algorithm(algorithm) {
            let is_later = line.split([' ', '\t']).any(is_algorithm);
            return Err(if is_later { NoKey::Options } else { NoKey::Form });
        }
        let blob = STANDARD.decode(encoded.trim()).map_err(|_| NoKey::Form)?;
        if blob.len() > BLOB_BYTES_MAX {
            return Err(NoKey::Form);
        }
        let inside = blob.first_chunk().and_then(|length: &[u8; 4]| {
            blob[4..].get(..usize::try_from(u32::from_be_bytes(*length)).ok()?)
        });
        if inside != Some(algorithm.as_bytes()) {
            return Err(NoKey::Kind);
        }
        let comment = words.next().unwrap_or_default().trim().to_owned();
        Ok(SshKey { algorithm: algorithm.to_owned(), blob, comment })
    }

    /// `SHA256:…`, as `ssh-keygen -l` prints it.
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.blob)
    }

    /// The line again.
    pub fn line(&self) -> String {
        let line = format!("{} {} {}", self.algorithm, STANDARD.encode(&self.blob), self.comment);
        line.trim_end().to_owned()
    }
}

/// The fingerprint of a key as it goes over the wire.
pub(crate) fn fingerprint(blob: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(blob)))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A line that is formed as a key; nobody has its other half.
    pub fn line(number: u8) -> String {
        let mut blob = b"\0\0\0\x0bssh-ed25519\0\0\0\x20".to_vec();
        blob.extend([number; 32]);
        format!("ssh-ed25519 {} key {number}", STANDARD.encode(blob))
    }

    #[test]
    fn lines_are_read() {
        let key = SshKey::parse(&line(1)).expect("a key");
        assert_eq!((key.algorithm.as_str(), key.comment.as_str()), ("ssh-ed25519", "key 1"));
        assert_eq!(key.line(), line(1));
        assert_eq!(key.fingerprint().len(), "SHA256:".len() + 43);
        for (bad, words) in [
            ("", "no public key"),
            ("ssh-ed25519", "no public key"),
            ("ssh-ed25519 !!!", "no public key"),
            ("ssh-rsa AAAAC3NzaC1lZDI1NTE5", "not of the kind"),
            ("-----BEGIN OPENSSH PRIVATE KEY-----", "private key"),
            ("command=\"ls\" ssh-ed25519 AAAA", "options"),
        ] {
            let error = SshKey::parse(bad).expect_err(bad).to_string();
            assert!(error.contains(words), "{bad}: {error}");
        }
    }
}
