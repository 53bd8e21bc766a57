//! The keys by which pushes are signed, of either kind.

use crate::openpgp::{self, BEGIN_SIGNATURE, PgpKey};
use crate::{BadSignature, sshsig};

/// Keys of an account.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SigningKeys {
    /// SSH keys, by their form on the wire.
    pub ssh: Vec<Vec<u8>>,
    /// OpenPGP keys.
    pub openpgp: Vec<PgpKey>,
}

impl SigningKeys {
    /// Checks that a text was signed by one of them, at this time, in seconds since 1970; says by which, as
    /// its fingerprint.
    ///
    /// # Errors
    /// [`BadSignature`].
    pub fn check(&self, signature: &[u8], text: &[u8], now: u64) -> Result<String, BadSignature> {
        match signature.trim_ascii_start().starts_with(BEGIN_SIGNATURE) {
            true => openpgp::check_signature(signature, text, &self.openpgp, now),
            false => sshsig::check_signature(signature, text, &self.ssh),
        }
    }
}
