//! Accounts and rules: who somebody is, what he may do in which repository, and why.
//!
//! Floor 1. [`Records`] are what an administrator writes, in a TOML file or in a small database
//! ([`Source`]); a [`Book`] is the same, checked and ready to decide; an [`Authority`] is what the
//! host asks. Hosts that have accounts of their own (a forge's tables, OIDC) bring an authority of
//! their own instead. Nothing here knows of repositories, protocols or connections.

mod authority;
mod book;
mod date;
mod explain;
mod key;
mod level;
mod openpgp;
mod pattern;
mod protection;
mod records;
mod signing;
mod source;
mod sshsig;
mod token;
mod usage;

pub use authority::{Authority, AuthorityError, Credential, Decision, Identity, Proof};
pub use book::{Book, BookError};
pub use date::{Date, NoDate};
pub use key::{NoKey, SshKey};
pub use level::{Level, NoLevel};
pub use openpgp::{NoPgpKey, PgpKey};
pub use pattern::Pattern;
pub use protection::{Action, Protection};
pub use records::{Protect, Records, Rule, TokenRecord, UserRecord, WHO_ANYONE, WHO_USERS};
pub use signing::SigningKeys;
pub use source::{Source, SourceError, Watched, open};
pub use sshsig::BadSignature;
pub use token::{FreshToken, fresh_token};
pub use usage::Usage;
