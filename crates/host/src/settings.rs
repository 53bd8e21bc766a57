//! The host's rules, each a named setting with a default.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use object::HashKind;
use serve::ServerInfo;
use serve::hooks::{HookEnvironment, HookLimits};
use wire::Limits;

use crate::{Caller, FetchBudget, Refusal, TurnSettings, UpkeepSettings, WatchSettings};

/// Who may push, until accounts exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushAccess {
    /// Anybody who reaches the server.
    Anybody,
    /// Nobody: the server listens to other machines and `allow_anonymous_push` is off.
    NotAnonymously,
    /// Nobody: the server is read-only.
    ReadOnly,
}

impl PushAccess {
    pub(crate) fn check(self, caller: &Caller) -> Result<(), Refusal> {
        let words = match self {
            PushAccess::Anybody => return Ok(()),
            PushAccess::NotAnonymously if caller.name.is_some() => return Ok(()),
            PushAccess::NotAnonymously => {
                "anonymous pushes are off because this server listens to other machines; \
                 start it with --allow-anonymous-push to take them"
            }
            PushAccess::ReadOnly => "this server is read-only (--read-only)",
        };
        Err(Refusal::Forbidden { words: words.into() })
    }
}

/// The rules of a host.
#[derive(Clone)]
pub struct Settings {
    /// Who may push.
    pub push_access: PushAccess,
    /// Whether a push to a name that does not exist makes the repository.
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

/// Looks up an environment variable.
pub type Variable = Arc<dyn Fn(&str) -> Option<OsString> + Send + Sync>;

impl Default for Settings {
    fn default() -> Self {
        Settings {
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
