//! The host's rules, each a named setting with a default.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use access::Authority;
use bstr::BString;
use object::HashKind;
use serve::ServerInfo;
use serve::hooks::{HookEnvironment, HookLimits};
use wire::Limits;

use crate::listener::Listener;
use crate::path_rules;
use crate::{AttemptSettings, Audit, FetchBudget, OwnerContext};
use crate::{TurnSettings, UpkeepSettings, WatchSettings};

/// Who may push where there are no accounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushAccess {
    /// Anybody who reaches the server.
    Anybody,
    /// Nobody: the server listens to other machines and `allow_anonymous_push` is off.
    NotAnonymously,
    /// Nobody: the server is read-only.
    ReadOnly,
}

/// The rules of a host.
#[derive(Clone)]
pub struct Settings {
    /// Who knows accounts and rules; without, `push_access` is all there is.
    pub authority: Option<Arc<dyn Authority>>,
    /// Where who did what is noted.
    pub audit: Option<Arc<Audit>>,
    /// Who hears of refs that a push has moved.
    pub listener: Option<Arc<dyn Listener>>,
    /// How many attempts to log in an address has.
    pub attempts: AttemptSettings,
    /// Who may push where there are no accounts; that nobody may holds for accounts, too.
    pub push_access: PushAccess,
    /// Whether a push to a name that does not exist makes the repository, where there are no
    /// accounts; rules say it of those.
    pub create_on_push: bool,
    /// The hash of repositories made so.
    pub create_hash: HashKind,
    /// The branch HEAD of such a repository names.
    pub create_branch: String,
    /// Requests that run at the same time.
    pub requests_max: usize,
    /// How many fetches are worked out at once.
    pub turns: TurnSettings,
    /// What one fetch may cost.
    pub fetch_budget: FetchBudget,
    /// How repositories are maintained behind the traffic.
    pub upkeep: UpkeepSettings,
    /// What watching may cost.
    pub watch: WatchSettings,
    /// What one request may hold.
    pub limits: Limits,
    /// Settings of the engine.
    pub engine: repository::Settings,
    /// What the server says about itself.
    pub server: ServerInfo,
    /// The environment configuration is read by and namespaces are found in.
    pub variable: Variable,
    /// What hooks start from.
    pub hook_environment: HookEnvironment,
    /// Milliseconds one hook may run before it is killed; 0 for no limit.
    pub hook_timeout_ms: u64,
    /// Signed pushes are taken, where rules ask for them, against nonces made of this; every server of
    /// the same repositories has the same.
    pub cert_nonce_seed: BString,
    /// Packs of pushes with fewer objects are unpacked, where the repository says nothing of it; `None`:
    /// all are kept, and maintenance joins them.
    pub unpack_limit: Option<u32>,
    /// receive-pack only: take objects without looking whether anything is missing.
    pub skip_connectivity_check: bool,
    /// receive-pack only: refuse packs that lean on objects they do not carry.
    pub reject_thin: bool,
    /// Words for a person at the server's own terminal go to standard error.
    pub console: bool,
    /// Whoever downloads a pack as a file is sent to the store itself, with an address that holds for so
    /// long, where the store gives one.
    pub download_address: Option<Duration>,
    /// The clock progress is timed by.
    pub now: fn() -> Instant,
    /// Seconds since 1970.
    pub now_seconds: fn() -> u64,
    /// Called when much memory has just been freed, which an allocator may like to keep.
    pub memory_freed: fn(),
}

impl Settings {
    /// The settings of a program that serves one caller with his own rights: its whole environment counts
    /// (`GIT_CONFIG_*`, `GIT_NAMESPACE`, `GIT_COMMITTER_*`, …).
    pub fn of_this_process() -> Self {
        let mut settings = Settings {
            push_access: PushAccess::Anybody,
            variable: Arc::new(|name| std::env::var_os(name)),
            hook_environment: HookEnvironment::of_this_process(),
            console: true,
            unpack_limit: Some(UNPACK_LIMIT),
            ..Settings::default()
        };
        if let Some(agent) = std::env::var_os("GIT_USER_AGENT") {
            settings.server.agent = agent.as_encoded_bytes().into();
        }
        settings.server.sideband_all =
            std::env::var_os("GIT_TEST_SIDEBAND_ALL").is_some_and(|value| {
                matches!(value.as_encoded_bytes(), b"1" | b"true" | b"yes" | b"on")
            });
        settings
    }

    /// Whose repositories such a program trusts (`safe.directory`).
    pub fn owner_context(&self) -> OwnerContext {
        path_rules::owner_context(&self.variable)
    }
}

/// As git's receive-pack has it (`receive.unpackLimit`), objects.
const UNPACK_LIMIT: u32 = 100;

/// Looks up an environment variable.
pub type Variable = Arc<dyn Fn(&str) -> Option<OsString> + Send + Sync>;

impl Default for Settings {
    fn default() -> Self {
        Settings {
            authority: None,
            audit: None,
            listener: None,
            attempts: AttemptSettings::default(),
            push_access: PushAccess::NotAnonymously,
            create_on_push: false,
            create_hash: HashKind::Sha1,
            create_branch: "main".into(),
            requests_max: 256,
            turns: TurnSettings::default(),
            fetch_budget: FetchBudget::default(),
            upkeep: UpkeepSettings::default(),
            watch: WatchSettings::default(),
            limits: Limits::default(),
            engine: repository::Settings::default(),
            server: ServerInfo {
                agent: concat!("packhorse/", env!("CARGO_PKG_VERSION")).into(),
                session_id: "".into(),
                sideband_all: false,
            },
            variable: Arc::new(|name| {
                SERVER_VARIABLES.contains(&name).then(|| std::env::var_os(name)).flatten()
            }),
            hook_environment: HookEnvironment::minimal(),
            hook_timeout_ms: HookLimits::default().hook_timeout_ms,
            cert_nonce_seed: BString::default(),
            unpack_limit: None,
            skip_connectivity_check: false,
            reject_thin: false,
            console: false,
            download_address: None,
            now: Instant::now,
            now_seconds: || {
                SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
            },
            memory_freed: || (),
        }
    }
}

/// What a long-running server's own environment decides: where the user's and the system's
/// configuration lie. Nothing a client sends reaches these.
const SERVER_VARIABLES: &[&str] =
    &["HOME", "XDG_CONFIG_HOME", "GIT_CONFIG_NOSYSTEM", "GIT_CONFIG_SYSTEM", "GIT_CONFIG_GLOBAL"];
