//! Tokens: passwords that programs have. The secret is shown once; what is kept is its hash.
//!
//! A secret has 160 random bits, so nobody finds it by trying, and a hash that is quick to compute
//! is as good as a slow one.

use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// What every token begins with, so that scanners of leaked secrets know it.
const PREFIX: &str = "pht_";
const ID_DIGITS: usize = 8;
const SECRET_DIGITS: usize = 32;
/// Crockford's base 32 in lower case: 5 bits a digit, nothing to be mistaken for something else.
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// A token that was just made.
#[derive(Debug)]
pub struct FreshToken {
    /// The name it is kept by.
    pub id: String,
    /// What its owner is given; nobody can find it out later.
    pub secret: String,
    /// What is kept of that.
    pub hash: String,
}

/// Makes a token.
///
/// # Errors
/// When the system has no random bytes.
pub fn fresh_token() -> Result<FreshToken, getrandom::Error> {
    let mut random = [0; ID_DIGITS + SECRET_DIGITS];
    getrandom::fill(&mut random)?;
    let digits = |bytes: &[u8]| -> String {
        bytes.iter().map(|byte| char::from(DIGITS[usize::from(byte % 32)])).collect()
    };
    let id = digits(&random[..ID_DIGITS]);
    let secret = format!("{PREFIX}{id}_{}", digits(&random[ID_DIGITS..]));
    let hash = hash(&secret);
    Ok(FreshToken { id, secret, hash })
}

/// Which token a secret claims to be of; `None` for what is no token of ours.
pub(crate) fn claimed_id(secret: &str) -> Option<&str> {
    let (id, rest) = secret.strip_prefix(PREFIX)?.split_once('_')?;
    (id.len() == ID_DIGITS && rest.len() == SECRET_DIGITS).then_some(id)
}

/// Whether a secret is the one that was hashed; takes as long whichever byte is another.
pub(crate) fn is_secret_of(secret: &str, kept: &str) -> bool {
    hash(secret).as_bytes().ct_eq(kept.as_bytes()).into()
}

/// Whether a text can be the hash of a token.
pub(crate) fn is_hash(text: &str) -> bool {
    text.strip_prefix("sha256:")
        .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn hash(secret: &str) -> String {
    let digest = Sha256::digest(secret.as_bytes());
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_known_by_its_hash_alone() {
        let (one, other) = (fresh_token().expect("random"), fresh_token().expect("random"));
        assert_eq!(claimed_id(&one.secret), Some(one.id.as_str()));
        assert!(is_hash(&one.hash));
        assert!(is_secret_of(&one.secret, &one.hash));
        assert!(!is_secret_of(&one.secret, &other.hash));
        assert!(!one.hash.contains(&one.secret));
        for bad in ["", "pht_", "pht_abc_def", "password", "pht_0123456é_"] {
            assert_eq!(claimed_id(bad), None, "{bad}");
        }
    }
}
