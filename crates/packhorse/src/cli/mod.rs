//! What can be said on the command line.

mod accounts;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueHint};

pub use accounts::{
    AccessCommand, AccessFile, Accounts, GroupCommand, KeyCommand, ProtectOptions, RuleOptions,
    TokenCommand, UserCommand,
};

/// A small, fast Git server.
#[derive(Debug, Parser)]
#[command(name = "packhorse", version, arg_required_else_help = true)]
#[command(
    after_help = "Start with:\n  packhorse serve ~/repos      serve a folder of repositories\n  \
                        packhorse serve .            serve the repository you stand in"
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve a folder of repositories, or one repository, over HTTP.
    Serve(ServeOptions),
    /// Keep repositories in the state in which serving them costs least.
    Maintain(MaintainOptions),
    /// Copy, check, list and remove repositories in any store.
    #[command(subcommand)]
    Repo(RepoCommand),
    /// Make, change and list accounts.
    User(Accounts<UserCommand>),
    /// Give accounts SSH keys, and take them away.
    Key(Accounts<KeyCommand>),
    /// Give accounts tokens for HTTP, and take them away.
    Token(Accounts<TokenCommand>),
    /// Put accounts into groups.
    Group(Accounts<GroupCommand>),
    /// Say who may do what, and why.
    Access(Accounts<AccessCommand>),
    /// Look after webhooks: what waits, what was delivered, and whether a receiver listens.
    Webhook(WebhookOptions),
    /// Answer one fetch on standard input and output, like git-upload-pack.
    #[command(name = "upload-pack")]
    UploadPack(UploadPackOptions),
    /// Answer one push on standard input and output, like git-receive-pack.
    #[command(name = "receive-pack")]
    ReceivePack(ReceivePackOptions),
    /// Make one archive on standard input and output, like git-upload-archive.
    #[command(name = "upload-archive")]
    UploadArchive(UploadArchiveOptions),
    /// Answer one HTTP request for a web server, like git-http-backend: all is in the environment (CGI).
    #[command(name = "http-backend")]
    HttpBackend,
    /// Serve git://, like git-daemon, with its options; `packhorse daemon --help` lists them.
    #[command(disable_help_flag = true)]
    Daemon {
        /// Options, and directories.
        #[arg(value_name = "OPTION|DIR", trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Parts of the server on their own, for measurements.
    #[command(hide = true, subcommand)]
    Dev(DevCommand),
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
}

/// Options of `packhorse webhook`.
#[derive(Debug, Args)]
pub struct WebhookOptions {
    /// The server's configuration file, where webhooks are.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub command: WebhookCommand,
}

/// What is done with webhooks.
#[derive(Debug, Subcommand)]
pub enum WebhookCommand {
    /// Print each webhook, how many deliveries wait for it and how many were given up.
    List,
    /// Print the last attempts to deliver.
    Log {
        /// Of this webhook.
        #[arg(value_name = "NAME")]
        hook: Option<String>,
        /// So many.
        #[arg(short = 'n', value_name = "N", default_value_t = 20)]
        count: usize,
    },
    /// Send a webhook a word that nothing happened, and print what it answers.
    Ping {
        /// Its name.
        #[arg(value_name = "NAME")]
        hook: String,
    },
    /// Deliver again what was given up; a running server finds it within webhooks.look_ms.
    Retry {
        /// The webhook.
        #[arg(value_name = "NAME")]
        hook: String,
        /// Deliveries, by their ids in the log; all, where none is named.
        #[arg(value_name = "ID")]
        ids: Vec<String>,
    },
}

/// Options of `packhorse serve`.
#[derive(Debug, Args)]
#[command(after_help = "PACKHORSE_LOG=info logs every request to standard error (error, warn, \
                        info, debug; the default is warn).")]
pub struct ServeOptions {
    /// A folder of repositories (folders inside it too), or one repository, bare or not.
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub directory: Option<PathBuf>,
    /// Serve the repositories of a store in place of a folder: kv:FILE, a key-value file, which is
    /// made when there is none, postgres://USER@HOST/DATABASE, or s3://BUCKET.
    #[arg(long, value_name = "URL", conflicts_with = "directory")]
    pub store: Option<String>,
    /// Keep refs in this store, and objects in that of --blobs.
    #[arg(long, value_name = "URL", requires = "blobs", conflicts_with_all = ["directory", "store"])]
    pub refs: Option<String>,
    /// Keep objects in this store, which may be dir:DIRECTORY, and refs in that of --refs.
    #[arg(long, value_name = "URL", requires = "refs")]
    pub blobs: Option<String>,
    /// Address and port, or a port of this machine alone; port 0 is any free one
    /// [default: 127.0.0.1:8417].
    #[arg(long, value_name = "ADDR", value_parser = crate::listen::parse)]
    pub listen: Option<SocketAddr>,
    /// Listen for HTTPS, too; without --listen, instead of HTTP.
    #[arg(long = "https", value_name = "ADDR", value_parser = crate::listen::parse)]
    pub https_listen: Option<SocketAddr>,
    /// The certificate for HTTPS in PEM, and those between it and one that clients know [default: one
    /// that this server makes for itself].
    #[arg(long, value_name = "FILE", requires = "tls_key", value_hint = ValueHint::FilePath)]
    pub tls_certificate: Option<PathBuf>,
    /// Its private key in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_certificate", value_hint = ValueHint::FilePath)]
    pub tls_key: Option<PathBuf>,
    /// Listen for git://, too; nobody who comes by it is asked who he is.
    #[arg(long = "git", value_name = "ADDR", value_parser = crate::listen::parse)]
    pub git_listen: Option<SocketAddr>,
    /// Who may do what: accounts and rules in a TOML file, or a small database if its name ends in
    /// .db. It is read again when it changes.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub access: Option<PathBuf>,
    /// Listen for SSH, too; accounts log in with their keys.
    #[arg(long = "ssh", value_name = "ADDR", value_parser = crate::listen::parse)]
    pub ssh_listen: Option<SocketAddr>,
    /// Make a repository when somebody pushes to a name that does not exist.
    #[arg(long)]
    pub create_on_push: bool,
    /// Refuse all pushes.
    #[arg(long)]
    pub read_only: bool,
    /// Take pushes from anybody who reaches the server, also from other machines.
    #[arg(long)]
    pub allow_anonymous_push: bool,
    /// Read options from a TOML file; those of the command line win.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
}

/// Options of `packhorse maintain`.
#[derive(Debug, Args)]
#[command(
    after_help = "A running server does this by itself some time after a push. `git gc` and \
                        this command keep out of each other's way."
)]
pub struct MaintainOptions {
    /// Repositories, bare or not, or STORE#NAME; with --all folders of repositories, or stores.
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath, default_value = ".")]
    pub places: Vec<PathBuf>,
    /// Maintain every repository in the folders, however deep, or in the stores.
    #[arg(long)]
    pub all: bool,
    /// Pack everything that is reachable into one pack, due or not.
    #[arg(long)]
    pub full: bool,
    /// Look for deltas anew instead of keeping those there are; implies --full.
    #[arg(long)]
    pub fresh_deltas: bool,
    /// Do only what cannot wait, as a server does.
    #[arg(long)]
    pub auto: bool,
    /// Say what would be done, and do nothing.
    #[arg(long, short = 'n')]
    pub dry_run: bool,
    /// Threads that look for deltas [default: pack.threads, or one per processor].
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Print nothing but errors.
    #[arg(long, short)]
    pub quiet: bool,
}

/// What `packhorse repo` does. A repository is named by its directory, or by the URL of a store,
/// `#` and its name in there.
#[derive(Debug, Subcommand)]
pub enum RepoCommand {
    /// Copy a repository to another place, while it is in use; an interrupted copy goes on when
    /// it is called again.
    Copy {
        /// A directory, or STORE#NAME.
        #[arg(value_name = "FROM", value_hint = ValueHint::DirPath)]
        from: String,
        /// As FROM; made when there is none.
        #[arg(value_name = "TO", value_hint = ValueHint::DirPath)]
        to: String,
        #[command(flatten)]
        options: CopyOptions,
    },
    /// Copy a repository of this machine, or one that git can clone, into a store.
    Import {
        /// The repository, bare or not; or its URL.
        #[arg(value_name = "DIR|URL", value_hint = ValueHint::DirPath)]
        from: PathBuf,
        /// The store.
        #[arg(long, value_name = "URL")]
        store: String,
        /// Its name in the store [default: that of the directory or in the URL].
        #[arg(value_name = "NAME")]
        name: Option<String>,
        #[command(flatten)]
        options: CopyOptions,
    },
    /// Copy a repository out of a store, into a bare repository of this machine.
    Export {
        /// The store.
        #[arg(long, value_name = "URL")]
        store: String,
        /// Its name in the store.
        #[arg(value_name = "NAME")]
        name: String,
        /// The directory, which is made [default: NAME.git here].
        #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
        directory: Option<PathBuf>,
        #[command(flatten)]
        options: CopyOptions,
    },
    /// Check that a repository is whole: every object, every index, all that refs reach.
    Fsck {
        /// Repositories: directories, or STORE#NAME.
        #[arg(value_name = "REPOSITORY", required = true, value_hint = ValueHint::DirPath)]
        repositories: Vec<String>,
        /// Print nothing but what is wrong.
        #[arg(long, short)]
        quiet: bool,
    },
    /// List the repositories of a store.
    List {
        /// The store.
        #[arg(value_name = "URL")]
        store: String,
    },
    /// Make a repository that begins with the branches and tags of another one in the same store,
    /// and borrows its objects.
    Fork {
        /// STORE#NAME.
        #[arg(value_name = "FROM")]
        from: String,
        /// The new name in the store.
        #[arg(value_name = "NAME")]
        name: String,
        /// How long to wait for maintenance of FROM, seconds.
        #[arg(long, value_name = "N", default_value_t = 600)]
        wait: u64,
    },
    /// Show the configuration of a repository in a store, or change it.
    Config {
        /// STORE#NAME.
        #[arg(value_name = "REPOSITORY")]
        repository: String,
        /// A key, as git config takes it.
        #[arg(value_name = "KEY", requires = "value")]
        key: Option<String>,
        /// Its value from now on.
        #[arg(value_name = "VALUE", allow_hyphen_values = true)]
        value: Option<String>,
        /// Put this file in place of all that is set; - for standard input.
        #[arg(long = "replace-with", value_name = "FILE", conflicts_with = "key", value_hint = ValueHint::FilePath)]
        file: Option<PathBuf>,
    },
    /// Copy what a fork borrows into it: it borrows no more.
    Separate {
        /// STORE#NAME.
        #[arg(value_name = "REPOSITORY")]
        repository: String,
        /// How long requests that began before have to end, seconds.
        #[arg(long, value_name = "N", default_value_t = 60)]
        grace: u64,
        /// Print nothing but errors.
        #[arg(long, short)]
        quiet: bool,
    },
    /// Remove a repository from a store, with all that is in it.
    Remove {
        /// STORE#NAME.
        #[arg(value_name = "REPOSITORY")]
        repository: String,
    },
}

/// How a repository is copied.
#[derive(Debug, Args)]
pub struct CopyOptions {
    /// Where there is a repository with refs already: make it the same, and remove the refs that
    /// FROM does not have.
    #[arg(long)]
    pub update: bool,
    /// Print nothing but errors.
    #[arg(long, short)]
    pub quiet: bool,
}

/// In which store a repository is, for the programs that answer one client.
#[derive(Debug, Default, Args)]
pub struct StoreOptions {
    /// Take DIR for a name in this store: kv:FILE, postgres://USER@HOST/DATABASE, s3://BUCKET, or
    /// REFS+OBJECTS.
    #[arg(long, value_name = "URL")]
    pub store: Option<String>,
    /// Read the store, and how it is used, from a server's configuration file.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub config: Option<PathBuf>,
}

/// Options of `packhorse upload-pack`, which are git's.
#[derive(Debug, Parser)]
#[command(name = "git-upload-pack", version)]
pub struct UploadPackOptions {
    /// Take DIR as it is: try no other name for the git directory.
    #[arg(long, overrides_with = "no_strict")]
    pub strict: bool,
    /// Try DIR/.git, DIR.git and DIR.git/.git too. This is the default.
    #[arg(long = "no-strict", overrides_with = "strict")]
    pub no_strict: bool,
    /// End the session when the client is silent for so many seconds; 0 waits for ever.
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub timeout: u32,
    /// Answer one request of an HTTP client, without an advertisement.
    #[arg(long)]
    pub stateless_rpc: bool,
    /// Write the advertisement and stop.
    #[arg(long, visible_alias = "advertise-refs", action = ArgAction::SetTrue)]
    pub http_backend_info_refs: bool,
    #[command(flatten)]
    pub store: StoreOptions,
    /// The repository.
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub directory: PathBuf,
}

/// Options of `packhorse receive-pack`, which are git's.
#[derive(Debug, Parser)]
#[command(name = "git-receive-pack", version)]
pub struct ReceivePackOptions {
    /// Answer one request of an HTTP client, without an advertisement.
    #[arg(long)]
    pub stateless_rpc: bool,
    /// Write the advertisement and stop.
    #[arg(long, visible_alias = "advertise-refs", action = ArgAction::SetTrue)]
    pub http_backend_info_refs: bool,
    /// Take objects without looking whether anything is missing.
    #[arg(long)]
    pub skip_connectivity_check: bool,
    /// Be quiet; the client decides that, so this is accepted and ignored.
    #[arg(long, short)]
    pub quiet: bool,
    /// Refuse packs that lean on objects they do not carry.
    #[arg(long, hide = true)]
    pub reject_thin_pack_for_testing: bool,
    #[command(flatten)]
    pub store: StoreOptions,
    /// Make a repository in the store when there is none of this name.
    #[arg(long)]
    pub create_on_push: bool,
    /// The repository.
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub directory: PathBuf,
}

/// Options of `packhorse upload-archive`: git's has none.
#[derive(Debug, Parser)]
#[command(name = "git-upload-archive", version)]
pub struct UploadArchiveOptions {
    #[command(flatten)]
    pub store: StoreOptions,
    /// The repository.
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub directory: PathBuf,
}

/// Parts of the server that can be run, and measured, on their own.
#[derive(Debug, Subcommand)]
pub enum DevCommand {
    /// Take the pack on standard input into a repository, and print its checksum.
    IndexPack(IndexPackOptions),
    /// Change refs from many threads for a while, and print how often and how fast that went.
    RefUpdates(RefUpdatesOptions),
}

/// Options of `packhorse dev ref-updates`.
#[derive(Debug, Args)]
pub struct RefUpdatesOptions {
    /// Repositories that are changed; made when they are not there.
    #[arg(long, value_name = "N", default_value = "1")]
    pub repositories: NonZeroUsize,
    /// Threads, each with a ref of its own.
    #[arg(long, value_name = "N", default_value = "1")]
    pub writers: NonZeroUsize,
    /// Seconds.
    #[arg(long, value_name = "N", default_value_t = 3)]
    pub seconds: u64,
    /// A store, or a folder that is there.
    #[arg(value_name = "STORE|DIR")]
    pub place: String,
}

/// Options of `packhorse dev index-pack`.
#[derive(Debug, Args)]
pub struct IndexPackOptions {
    /// Threads that work on the pack [default: one per processor].
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// The bare repository.
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub directory: PathBuf,
}
