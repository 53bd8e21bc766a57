//! How servers are reached.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use wire::Limits;

use crate::Credentials;

/// How servers are reached. The defaults are git's, as far as it has any.
#[derive(Clone)]
pub struct Options {
    /// What the client calls itself (`packhorse/VERSION`).
    pub agent: String,
    /// How long a server may take until it says the first (30 s).
    pub connect_timeout: Duration,
    /// How long it may say nothing after that (90 s; servers say at least that they are there each 30 s).
    pub silence_max: Duration,
    /// How much is taken from a server.
    pub limits: Limits,
    /// The git that serves folders of this machine.
    pub git: OsString,
    /// How ssh is called.
    pub ssh: Ssh,
    /// How HTTP is spoken.
    pub http: Http,
    /// Who knows logins for HTTP.
    pub credentials: Arc<dyn Credentials>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            agent: concat!("packhorse/", env!("CARGO_PKG_VERSION")).to_owned(),
            connect_timeout: Duration::from_secs(30),
            silence_max: Duration::from_secs(90),
            limits: Limits::default(),
            git: "git".into(),
            ssh: Ssh::default(),
            http: Http::default(),
            credentials: Arc::new(crate::NoCredentials),
        }
    }
}

/// How ssh is called.
#[derive(Debug, Clone)]
pub struct Ssh {
    /// Words for a shell (`GIT_SSH_COMMAND`, `core.sshCommand`), which count before the program.
    pub command: Option<OsString>,
    /// A program (`GIT_SSH`; `ssh`).
    pub program: OsString,
    /// Whose options it has (`ssh.variant`, `GIT_SSH_VARIANT`); seen from its name where it is not said.
    pub variant: Option<SshVariant>,
    /// Whether nobody is there to be asked.
    pub is_batch: bool,
}

impl Default for Ssh {
    fn default() -> Self {
        Ssh { command: None, program: "ssh".into(), variant: None, is_batch: false }
    }
}

/// Whose options an ssh program has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SshVariant {
    /// OpenSSH's.
    OpenSsh,
    /// PuTTY's.
    Plink,
    /// None but a host and a command.
    Simple,
}

impl SshVariant {
    /// As `ssh.variant` has it; `None` for `auto`, and what is not known.
    pub fn from_setting(text: &str) -> Option<Self> {
        match text {
            "ssh" => Some(SshVariant::OpenSsh),
            "plink" | "putty" | "tortoiseplink" => Some(SshVariant::Plink),
            "simple" => Some(SshVariant::Simple),
            _ => None,
        }
    }
}

impl Ssh {
    /// Whose options are used.
    pub(crate) fn variant(&self) -> SshVariant {
        if let Some(variant) = self.variant {
            return variant;
        }
        let program = match &self.command {
            Some(words) => words.to_string_lossy().split_whitespace().next().map(str::to_owned),
            None => Some(self.program.to_string_lossy().into_owned()),
        };
        let program = program.unwrap_or_default();
        let name = Path::new(program.trim_matches(['\'', '"'])).file_stem().unwrap_or_default();
        match name.to_string_lossy().to_ascii_lowercase().as_str() {
            "plink" | "tortoiseplink" => SshVariant::Plink,
            _ => SshVariant::OpenSsh,
        }
    }
}

/// How HTTP is spoken.
#[derive(Debug, Clone)]
pub struct Http {
    /// Whether certificates are looked at (`http.sslVerify`).
    pub verifies: bool,
    /// Certificates of authorities, beside the system's (`http.sslCAInfo`).
    pub authorities: Option<PathBuf>,
    /// Headers that are sent as well (`http.extraHeader`).
    pub headers: Vec<(String, String)>,
    /// How often another address is followed, at first (20).
    pub redirects_max: usize,
}

impl Default for Http {
    fn default() -> Self {
        Http { verifies: true, authorities: None, headers: Vec::new(), redirects_max: 20 }
    }
}
