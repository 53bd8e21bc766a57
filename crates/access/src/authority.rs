//! What the host asks about somebody: the seam at which accounts are plugged in.

use crate::{Level, Protection, SigningKeys};

/// What somebody shows for who he is.
#[derive(Clone, Copy)]
pub enum Proof<'a> {
    /// A public key, by its form on the wire, whose other half he has used on this connection.
    SshKey {
        /// The key (RFC 4253 section 6.6).
        blob: &'a [u8],
    },
    /// A name and a secret, as HTTP's Basic has them (RFC 7617). A token says by itself whose it
    /// is; the name is for authorities that have passwords.
    Password {
        /// The name he gives.
        user: &'a str,
        /// The secret.
        secret: &'a str,
    },
}

impl std::fmt::Debug for Proof<'_> {
    /// Without the secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Proof::SshKey { .. } => f.write_str("SshKey"),
            Proof::Password { user, .. } => write!(f, "Password({user})"),
        }
    }
}

/// Somebody who has shown who he is, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The name of the account.
    pub user: String,
    /// What stands in reflogs.
    pub email: Option<String>,
    /// What he has shown.
    pub credential: Credential,
}

/// What somebody has shown, without being the thing itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Credential {
    /// An SSH key.
    Key {
        /// `SHA256:…`.
        fingerprint: String,
    },
    /// A token.
    Token {
        /// The name it is kept by.
        id: String,
    },
    /// Something that another authority knows about.
    Other(String),
}

impl std::fmt::Display for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Credential::Key { fingerprint } => write!(f, "key {fingerprint}"),
            Credential::Token { id } => write!(f, "token {id}"),
            Credential::Other(what) => f.write_str(what),
        }
    }
}

/// What somebody may do in one repository, at the moment it was asked.
#[derive(Debug, Clone, Default)]
pub struct Decision {
    /// What he had shown no longer proves anything: the key was removed, the token has ended.
    pub is_gone: bool,
    /// How much he may do.
    pub level: Level,
    /// What he may not do with single refs.
    pub protections: Vec<Protection>,
}

/// Whoever knows the accounts cannot be asked.
#[derive(Debug, thiserror::Error)]
#[error("accounts cannot be looked up: {0}")]
pub struct AuthorityError(pub String);

/// Who knows accounts and rules. Asked for every request, on threads that may wait; what it says
/// holds for that request alone.
pub trait Authority: Send + Sync {
    /// Who shows this; `None` when it proves nothing.
    ///
    /// # Errors
    /// [`AuthorityError`]; the caller is let in nowhere then.
    fn identify(&self, proof: &Proof<'_>, now: u64) -> Result<Option<Identity>, AuthorityError>;

    /// What somebody may do in the repository of this name (without `.git`), whether there is one
    /// or not; `who` is `None` for whoever has not said who he is. `now`: seconds since 1970.
    ///
    /// # Errors
    /// As above.
    fn decide(
        &self,
        who: Option<&Identity>,
        repository: &str,
        now: u64,
    ) -> Result<Decision, AuthorityError>;

    /// The keys of an account by which its pushes are signed.
    ///
    /// # Errors
    /// As above.
    fn keys_of(&self, user: &str) -> Result<SigningKeys, AuthorityError> {
        let _ = user;
        Ok(SigningKeys::default())
    }
}
