//! Options of the commands about accounts and rules.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};
use host::Level;

/// Where accounts and rules are.
#[derive(Debug, Args)]
pub struct AccessFile {
    /// The file with accounts and rules: TOML, or a small database if its name ends in .db
    /// [default: what PACKHORSE_ACCESS says].
    #[arg(long, value_name = "FILE", global = true, value_hint = ValueHint::FilePath)]
    pub access: Option<PathBuf>,
    /// Read from a server's configuration file where that is.
    #[arg(long, value_name = "FILE", global = true, value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
}

/// A command about accounts and rules, and where they are.
#[derive(Debug, Args)]
pub struct Accounts<C: Subcommand> {
    #[command(flatten)]
    pub file: AccessFile,
    #[command(subcommand)]
    pub command: C,
}

/// What `packhorse user` does.
#[derive(Debug, Subcommand)]
pub enum UserCommand {
    /// Make an account.
    Add {
        /// Its name.
        name: String,
        /// What stands in reflogs.
        #[arg(long)]
        email: Option<String>,
        /// A file with SSH public keys, a line each, or an OpenPGP key; - for standard input.
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        key: Option<PathBuf>,
    },
    /// Remove an account, its keys and tokens, and its name from groups and rules.
    Remove {
        /// Its name.
        name: String,
    },
    /// Keep an account, and let nobody use it.
    Disable {
        /// Its name.
        name: String,
    },
    /// Let a disabled account be used again.
    Enable {
        /// Its name.
        name: String,
    },
    /// List accounts.
    List,
}

/// What `packhorse key` does.
#[derive(Debug, Subcommand)]
pub enum KeyCommand {
    /// Give an account SSH keys, or an OpenPGP key by which its pushes are signed.
    Add {
        /// Whose.
        user: String,
        /// A file with SSH public keys, a line each, or an armoured OpenPGP key; - for standard input.
        #[arg(value_name = "FILE", default_value = "-", value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },
    /// Take a key away; whoever is connected with it can do nothing more.
    Remove {
        /// `SHA256:…`, as `ssh-keygen -l` and `packhorse key list` print it.
        fingerprint: String,
    },
    /// List keys, and when each was used last.
    List {
        /// Whose; without, everybody's.
        user: Option<String>,
    },
}

/// What `packhorse token` does.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token, and print its secret, this once.
    Add {
        /// Whose.
        user: String,
        /// What it is for.
        #[arg(long, default_value = "")]
        note: String,
        /// The most that may be done with it: read, write, create, admin.
        #[arg(long, value_name = "LEVEL")]
        scope: Option<Level>,
        /// A pattern of repositories it is for; may be given more than once [default: all].
        #[arg(long = "repository", value_name = "PATTERN")]
        repositories: Vec<String>,
        /// When it ends: a date, or a number of days from now.
        #[arg(long, value_name = "DATE|DAYS")]
        expires: Option<String>,
    },
    /// Remove a token.
    Remove {
        /// The name it is kept by.
        id: String,
    },
    /// List tokens, and when each was used last.
    List {
        /// Whose; without, everybody's.
        user: Option<String>,
    },
}

/// What `packhorse group` does.
#[derive(Debug, Subcommand)]
pub enum GroupCommand {
    /// Put users, or other groups (@NAME), into a group, which is made when there is none.
    Add {
        /// Its name.
        group: String,
        /// Whom.
        #[arg(required = true)]
        members: Vec<String>,
    },
    /// Take members out of a group; without members, remove it.
    Remove {
        /// Its name.
        group: String,
        /// Whom.
        members: Vec<String>,
    },
    /// List groups.
    List,
}

/// What `packhorse access` does.
#[derive(Debug, Subcommand)]
pub enum AccessCommand {
    /// Let somebody do something: put a rule at the end.
    Allow(RuleOptions),
    /// Take it from him: put a rule at the end.
    Deny(RuleOptions),
    /// List rules and protections by their numbers.
    List,
    /// Remove a rule.
    Remove {
        /// Its number.
        number: usize,
    },
    /// Say what may become of refs.
    Protect(ProtectOptions),
    /// Remove a protection.
    Unprotect {
        /// Its number.
        number: usize,
    },
    /// Say what somebody may do, and why.
    Explain {
        /// A user, or `anyone` for whoever has not said who he is.
        user: String,
        /// The repository's name.
        repository: String,
        /// A ref.
        #[arg(value_name = "REF")]
        name: Option<String>,
        /// As if he came with this token.
        #[arg(long, value_name = "ID")]
        token: Option<String>,
    },
    /// Say whether accounts and rules can be understood.
    Check,
}

/// A rule.
#[derive(Debug, Args)]
pub struct RuleOptions {
    /// read, write, create or admin.
    pub level: Level,
    /// `anyone`, `users` (whoever has an account), names of users, @ and names of groups.
    #[arg(required = true)]
    pub who: Vec<String>,
    /// Patterns of repositories' names: `*` stays between slashes, `**` does not; NAME/ is all below
    /// NAME; {user} is the name of whoever asks.
    #[arg(long = "in", value_name = "PATTERN", required = true)]
    pub repositories: Vec<String>,
    /// Make it the rule of this number, and move the others on.
    #[arg(long, value_name = "NUMBER")]
    pub at: Option<usize>,
}

/// A protection.
#[derive(Debug, Args)]
pub struct ProtectOptions {
    /// Patterns of refs, such as refs/heads/main or refs/tags/.
    #[arg(required = true, value_name = "REF")]
    pub refs: Vec<String>,
    /// Patterns of repositories' names.
    #[arg(long = "in", value_name = "PATTERN", required = true)]
    pub repositories: Vec<String>,
    /// Who may make such a ref, separated by commas; `nobody` for nobody.
    #[arg(long, value_name = "WHO", value_delimiter = ',')]
    pub create: Option<Vec<String>>,
    /// Who may move it forward.
    #[arg(long, value_name = "WHO", value_delimiter = ',')]
    pub update: Option<Vec<String>>,
    /// Who may move it to where its history is not kept.
    #[arg(long, value_name = "WHO", value_delimiter = ',')]
    pub force: Option<Vec<String>>,
    /// Who may remove it.
    #[arg(long, value_name = "WHO", value_delimiter = ',')]
    pub delete: Option<Vec<String>>,
    /// Pushes to it have to be signed by a key of whoever pushes.
    #[arg(long)]
    pub signed: bool,
    /// The most bytes a file may have.
    #[arg(long, value_name = "N")]
    pub file_bytes_max: Option<u64>,
    /// A pattern of files nobody may touch; may be given more than once.
    #[arg(long = "deny-path", value_name = "PATTERN")]
    pub paths_denied: Vec<String>,
    /// For whom none of this holds.
    #[arg(long, value_name = "WHO", value_delimiter = ',')]
    pub except: Vec<String>,
    /// It holds for administrators, too.
    #[arg(long)]
    pub also_admins: bool,
}
