//! What an administrator writes: the form of the file, and of the database.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Date, Level};

/// Whoever asks, known or not.
pub const WHO_ANYONE: &str = "anyone";
/// Whoever has an account.
pub const WHO_USERS: &str = "users";

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Records {
    /// Accounts, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub users: BTreeMap<String, UserRecord>,
    /// Who is in which group: names of users, and of other groups behind an `@`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, Vec<String>>,
    /// Tokens, by id.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tokens: BTreeMap<String, TokenRecord>,
    /// Who may do what in which repositories. They are gone through in order, and each that fits
    /// gives or takes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<Rule>,
    /// What may become of which refs. All that fit hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub protect: Vec<Protect>,
}

/// One account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserRecord {
    /// What stands in reflogs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// SSH keys, as lines of `authorized_keys`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// OpenPGP keys, armoured, by which pushes are signed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub openpgp_keys: Vec<String>,
    /// The account is kept, and cannot be used.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
}

/// One token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRecord {
    /// Whose it is.
    pub user: String,
    /// `sha256:` and the hash of the secret in hexadecimal.
    pub hash: String,
    /// What it is for.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
    /// The most that may be done with it, whatever its owner may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Level>,
    /// The repositories it is for; none stand for all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub repositories: Vec<String>,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Date>,
    /// When it was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Date>,
}

/// Gives a level to somebody, or takes it away.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// Patterns of repositories' names, without `.git`.
    pub repositories: Vec<String>,
    /// `anyone`, `users`, names of users, `@` and names of groups.
    pub who: Vec<String>,
    /// They may do at least this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow: Option<Level>,
    /// They may not do this, nor what includes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deny: Option<Level>,
}

/// What may become of refs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Protect {
    /// Patterns of repositories' names, without `.git`.
    pub repositories: Vec<String>,
    /// Patterns of refs, which begin with `refs/`.
    pub refs: Vec<String>,
    /// Who may make such a ref; without it, whoever may push.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub create: Option<Vec<String>>,
    /// Who may move it forward.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<Vec<String>>,
    /// Who may move it to where its history is not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force: Option<Vec<String>>,
    /// Who may remove it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delete: Option<Vec<String>>,
    /// Pushes to it are signed, by a key of whoever pushes.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub signed: bool,
    /// No file that comes with a push to it has more bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_bytes_max: Option<u64>,
    /// Patterns of files no push to it may change.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths_denied: Vec<String>,
    /// Those for whom none of this holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<String>,
    /// It holds for administrators of the repository, too.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub also_admins: bool,
}
