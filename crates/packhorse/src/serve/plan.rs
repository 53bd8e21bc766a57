//! From the command line and the configuration file to what a server is started with.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use access::Watched;
use bstr::BString;
use front_git::GitSettings;
use front_http::HttpSettings;
use host::{
    AttemptSettings, Audit, Authority, Catalogue, MemoryPool, PushAccess, Settings, UpkeepSettings,
    WatchSettings,
};

use super::acme::AcmePlan;
use super::roads::{HttpsPlan, SshPlan, https_plan, ssh_plan};
use super::system::Given;
use crate::cli::ServeOptions;
use crate::config::{
    self, AccessConfig, AuditConfig, FileConfig, LimitsConfig, MaintenanceConfig, WatchConfig,
};
use crate::machine;
use crate::store::{StoreUrl, StoresConfig, store_url};
use crate::webhook;

/// Where a server listens unless told otherwise.
const LISTEN_DEFAULT: &str = "127.0.0.1:8417";
/// How long one fetch may be worked on unless told otherwise.
const FETCH_WORK_MAX: Duration = Duration::from_secs(3600);

/// What a server is started with, after options and file were put together.
pub(super) struct Plan {
    pub(super) served: Served,
    /// Stores of some repositories, beside that.
    pub(super) routes: Vec<(String, StoreUrl)>,
    pub(super) stores: StoresConfig,
    /// Where HTTP is spoken.
    pub(super) listen: Option<SocketAddr>,
    pub(super) https: Option<HttpsPlan>,
    pub(super) git_listen: Option<SocketAddr>,
    pub(super) git: GitSettings,
    pub(super) ssh: Option<SshPlan>,
    pub(super) allow_anonymous_push: bool,
    pub(super) settings: Settings,
    pub(super) http: HttpSettings,
    pub(super) webhooks: Option<(webhooks::Settings, Vec<webhooks::Hook>)>,
}

/// Where the repositories are.
pub(super) enum Served {
    Directory(PathBuf),
    Store(StoreUrl, StoresConfig),
}

impl Served {
    pub(super) fn catalogue(&self, settings: &Settings) -> Result<Catalogue, String> {
        match self {
            Served::Directory(directory) => Catalogue::of_folder(directory, settings)
                .map_err(|error| format!("cannot serve '{}': {error}", directory.display())),
            Served::Store(url, config) => Ok(Catalogue::of_store(url.open(config)?, settings)),
        }
    }
}

impl std::fmt::Display for Served {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Served::Directory(path) => path.display().fmt(f),
            Served::Store(url, _) => url.fmt(f),
        }
    }
}

/// Puts options and file together.
pub(super) fn plan(options: &ServeOptions, given: &Given) -> Result<Plan, String> {
    let file = match &options.config {
        Some(path) => config::read(path)?,
        None => FileConfig::default(),
    };
    let default_listen = || LISTEN_DEFAULT.parse().expect("a valid address");
    let https = https_plan(options, &file.https, given)?;
    let listen = options
        .listen
        .or(file.listen)
        .or_else(|| (https.is_none() && !given.has("http")).then(default_listen));
    let acme = https.as_ref().and_then(|https| https.acme.as_ref());
    if acme.is_some_and(AcmePlan::needs_http) && listen.is_none() && !given.has("http") {
        return Err("http-01 is looked for by HTTP: listen has to say where that is".to_owned());
    }
    let read_only = options.read_only || file.read_only;
    let allow_anonymous_push = options.allow_anonymous_push || file.allow_anonymous_push;
    let git_listen = options.git_listen.or(file.git.listen);
    // Whoever reaches the one port is not asked who he is, and so at the other.
    let https_listen = https.as_ref().and_then(|https| https.listen);
    let are_local = [listen, https_listen, git_listen.filter(|_| file.git.receive_pack)];
    // Who opened a socket for this server knows who can reach it, and does not say.
    let was_given = ["http", "https", "git"].iter().any(|name| given.has(name));
    let are_local =
        !was_given && are_local.iter().flatten().all(|address| address.ip().is_loopback());
    let access_file = options.access.clone().or_else(|| file.access.file.clone());
    let authority = access_file.map(|path| authority(&path)).transpose()?;
    let audit = audit(&file.audit)?;
    let push_access = match (read_only, are_local || allow_anonymous_push) {
        (true, _) => PushAccess::ReadOnly,
        (false, true) => PushAccess::Anybody,
        (false, false) => PushAccess::NotAnonymously,
    };
    let mut settings = Settings {
        authority,
        audit,
        attempts: attempt_settings(&file.access, &file.limits),
        cert_nonce_seed: cert_nonce_seed(&file.access),
        push_access,
        create_on_push: options.create_on_push || file.create_on_push,
        upkeep: upkeep_settings(&file.maintenance),
        watch: watch_settings(&file.watch),
        download_address: file.bucket.download_address_ms.map(Duration::from_millis),
        memory_freed: machine::memory_freed,
        ..Settings::default()
    };
    let mut http = HttpSettings::default();
    if let Some(heartbeat) = file.watch.heartbeat_ms {
        http.heartbeat = Duration::from_millis(heartbeat);
    }
    set_limits(&file.limits, &mut settings, &mut http);
    let git = GitSettings {
        receive_pack: file.git.receive_pack,
        upload_archive: file.git.upload_archive,
        header_timeout: http.header_timeout,
        idle_timeout: http.idle_timeout,
        drain_timeout: http.drain_timeout,
        connections_max: http.connections_max,
        heartbeat: http.heartbeat,
    };
    let ssh = ssh_plan(options.ssh_listen, &file.ssh, &http, given)?;
    if ssh.is_some() && settings.authority.is_none() {
        return Err(
            "by SSH, accounts log in with their keys: --access FILE says whose they are".into()
        );
    }
    let served = served(options, &file)?;
    let webhooks = webhook::config::plan(&file.webhooks, &file.webhook, &file.folder)?;
    let (routes, stores) = (StoreUrl::routes_of_file(&file)?, StoresConfig::of_file(&file));
    Ok(Plan {
        served,
        routes,
        stores,
        listen,
        https,
        git_listen,
        git,
        ssh,
        allow_anonymous_push,
        settings,
        http,
        webhooks,
    })
}

/// Accounts and rules; a server does not start with some that nobody understands.
fn authority(path: &Path) -> Result<Arc<dyn Authority>, String> {
    let watched = Watched::new(access::open(path)).map_err(|error| error.to_string())?;
    Ok(Arc::new(watched))
}

fn audit(config: &AuditConfig) -> Result<Option<Arc<Audit>>, String> {
    let Some(path) = &config.file else { return Ok(None) };
    let audit = Audit::open(path, config.reads.unwrap_or(true))
        .map_err(|error| format!("cannot write '{}': {error}", path.display()))?;
    Ok(Some(Arc::new(audit)))
}

fn attempt_settings(access: &AccessConfig, limits: &LimitsConfig) -> AttemptSettings {
    let default = AttemptSettings::default();
    let forgotten = access.login_failure_forgotten_ms.map(|ms| Duration::from_millis(ms.get()));
    let addresses = access.login_addresses_max.map(NonZeroUsize::get);
    AttemptSettings {
        failures_max: access.login_failures_max.unwrap_or(default.failures_max),
        forgotten_after: forgotten.unwrap_or(default.forgotten_after),
        addresses_max: addresses.unwrap_or(default.addresses_max),
        connections_max: limits.connections_per_address_max.unwrap_or(default.connections_max),
        ..default
    }
}

/// What is configured, or something that nobody can know, for as long as this server runs.
fn cert_nonce_seed(access: &AccessConfig) -> BString {
    access.cert_nonce_seed.clone().map_or_else(random_seed, BString::from)
}

fn random_seed() -> BString {
    match access::fresh_token() {
        Ok(token) => token.secret.into(),
        Err(error) => {
            tracing::error!(%error, "no random bytes; pushes that have to be signed are refused");
            BString::default()
        }
    }
}

/// What is served: what the command line says, or else the file.
fn served(options: &ServeOptions, file: &FileConfig) -> Result<Served, String> {
    let stores = StoresConfig::of_file(file);
    let given = store_url(&options.store, &options.refs, &options.blobs)?;
    if let Some(url) = given {
        return Ok(Served::Store(StoreUrl::parse(&url)?, stores));
    }
    if let Some(directory) = &options.directory {
        return Ok(Served::Directory(directory.clone()));
    }
    match (StoreUrl::of_file(file)?, &file.directory) {
        (Some(_), Some(_)) => {
            Err("the configuration names both a directory and a store".to_owned())
        }
        (Some(url), None) => Ok(Served::Store(url, stores)),
        (None, directory) => Ok(Served::Directory(directory.clone().unwrap_or_else(|| ".".into()))),
    }
}

fn set_limits(limits: &LimitsConfig, settings: &mut Settings, http: &mut HttpSettings) {
    fn set<T: Copy>(from: Option<T>, to: &mut T) {
        if let Some(value) = from {
            *to = value;
        }
    }
    set(limits.requests_max, &mut settings.requests_max);
    set(limits.connections_max, &mut http.connections_max);
    set(limits.idle_timeout_ms.map(Duration::from_millis), &mut http.idle_timeout);
    set(limits.header_timeout_ms.map(Duration::from_millis), &mut http.header_timeout);
    set(limits.streams_per_connection_max, &mut http.streams_per_connection_max);
    set(limits.discarded_bytes_max, &mut http.discarded_bytes_max);
    set(limits.drain_timeout_ms.map(Duration::from_millis), &mut http.drain_timeout);
    set(limits.wants_max, &mut settings.limits.wants_max);
    set(limits.haves_max, &mut settings.limits.haves_max);
    set(limits.rounds_max, &mut settings.limits.rounds_max);
    set(limits.hook_timeout_ms, &mut settings.hook_timeout_ms);
    set(limits.push_commands_max, &mut settings.limits.push_commands_max);
    let memory = limits.memory.unwrap_or_else(machine::shared_memory_bytes);
    settings.engine.memory = Arc::new(MemoryPool::new(memory));
    set(limits.concurrent_fetches.map(NonZeroUsize::get), &mut settings.turns.concurrent_fetches);
    let concurrent_archives = limits.concurrent_archives.map(NonZeroUsize::get);
    set(concurrent_archives, &mut settings.turns.concurrent_archives);
    let converted = limits.archive_converted_bytes_max;
    set(converted, &mut settings.limits.archive_converted_bytes_max);
    set(limits.fetch_wait_ms.map(Duration::from_millis), &mut settings.turns.wait_max);
    let budget = &mut settings.fetch_budget;
    budget.work_max = Some(FETCH_WORK_MAX);
    set(limits.fetch_objects_max.map(Some), &mut budget.objects_max);
    set(limits.fetch_bytes_max.map(Some), &mut budget.bytes_max);
    set(limits.fetch_work_ms_max.map(Duration::from_millis).map(Some), &mut budget.work_max);
    set(limits.delta_cache_bytes, &mut settings.engine.delta_cache_bytes);
    set(limits.object_bytes_max, &mut settings.engine.object_bytes_max);
    set(limits.fresh_delta_bytes_max, &mut settings.engine.fresh_delta_bytes_max);
}

fn watch_settings(config: &WatchConfig) -> WatchSettings {
    let default = WatchSettings::default();
    let ms = |set: Option<u64>, default| set.map_or(default, Duration::from_millis);
    WatchSettings {
        subscribers_max: config.subscribers_max.unwrap_or(default.subscribers_max),
        refs_max: config.refs_max.unwrap_or(default.refs_max),
        remembered_max: config.remembered_max.unwrap_or(default.remembered_max),
        linger: ms(config.linger_ms, default.linger),
        retry: ms(config.retry_ms, default.retry),
        threads: config.threads.map_or(default.threads, NonZeroUsize::get),
        disk_poll: ms(config.disk_poll_ms, default.disk_poll),
    }
}

fn upkeep_settings(config: &MaintenanceConfig) -> UpkeepSettings {
    let default = UpkeepSettings::default();
    UpkeepSettings {
        enabled: config.enabled.unwrap_or(default.enabled),
        rest: config.rest_ms.map_or(default.rest, Duration::from_millis),
        share_under_load_percent: config
            .share_under_load_percent
            .unwrap_or(default.share_under_load_percent),
        threads: config.threads.map_or(default.threads, NonZeroUsize::get),
    }
}
