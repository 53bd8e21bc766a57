//! `packhorse serve`: from options to a running server, and what it says at start.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use front_git::GitSettings;
use front_http::{HttpSettings, Server};
use host::{
    Catalogue, Host, Listed, MemoryPool, PushAccess, Settings, UpkeepSettings, WatchSettings,
};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::cli::ServeOptions;
use crate::config::{self, FileConfig, LimitsConfig, MaintenanceConfig, WatchConfig};
use crate::machine;
use crate::store::{StoreUrl, StoresConfig, open_routes, store_url};

/// Where a server listens unless told otherwise.
const LISTEN_DEFAULT: &str = "127.0.0.1:8417";
/// How long one fetch may be worked on unless told otherwise.
const FETCH_WORK_MAX: Duration = Duration::from_secs(3600);
/// Repositories listed one by one at start; more are counted.
const LISTED_MAX: usize = 20;
/// Repositories counted at start.
const COUNTED_MAX: usize = 10_000;

/// What a server is started with, after options and file were put together.
struct Plan {
    served: Served,
    /// Stores of some repositories, beside that.
    routes: Vec<(String, StoreUrl)>,
    stores: StoresConfig,
    listen: SocketAddr,
    git_listen: Option<SocketAddr>,
    git: GitSettings,
    allow_anonymous_push: bool,
    settings: Settings,
    http: HttpSettings,
}

/// Where the repositories are.
enum Served {
    Directory(PathBuf),
    Store(StoreUrl, StoresConfig),
}

impl Served {
    fn catalogue(&self, settings: &Settings) -> Result<Catalogue, String> {
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

/// Runs the server until it is told to stop.
#[allow(clippy::print_stderr)] // A server that cannot start says so where it was started.
pub fn run(options: ServeOptions) -> ExitCode {
    start_log();
    match plan(options).and_then(serve) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("packhorse: some requests did not end in time and were cut off");
            ExitCode::FAILURE
        }
        Err(words) => {
            eprintln!("packhorse: {words}");
            ExitCode::FAILURE
        }
    }
}

fn start_log() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("PACKHORSE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
}

fn plan(options: ServeOptions) -> Result<Plan, String> {
    let file = match &options.config {
        Some(path) => config::read(path)?,
        None => FileConfig::default(),
    };
    let default_listen = || LISTEN_DEFAULT.parse().expect("a valid address");
    let listen = options.listen.or(file.listen).unwrap_or_else(default_listen);
    let read_only = options.read_only || file.read_only;
    let allow_anonymous_push = options.allow_anonymous_push || file.allow_anonymous_push;
    let git_listen = options.git_listen.or(file.git.listen);
    // Whoever reaches the one port is not asked who he is, and so at the other.
    let are_local = [Some(listen), git_listen.filter(|_| file.git.receive_pack)];
    let are_local = are_local.iter().flatten().all(|address| address.ip().is_loopback());
    let push_access = match (read_only, are_local || allow_anonymous_push) {
        (true, _) => PushAccess::ReadOnly,
        (false, true) => PushAccess::Anybody,
        (false, false) => PushAccess::NotAnonymously,
    };
    let mut settings = Settings {
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
        header_timeout: http.header_timeout,
        idle_timeout: http.idle_timeout,
        drain_timeout: http.drain_timeout,
        connections_max: http.connections_max,
    };
    let served = served(&options, &file)?;
    let (routes, stores) = (StoreUrl::routes_of_file(&file)?, StoresConfig::of_file(&file));
    Ok(Plan {
        served,
        routes,
        stores,
        listen,
        git_listen,
        git,
        allow_anonymous_push,
        settings,
        http,
    })
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

fn serve(plan: Plan) -> Result<bool, String> {
    let catalogue = plan.served.catalogue(&plan.settings)?;
    let catalogue = catalogue.with_stores(open_routes(&plan.routes, &plan.stores)?);
    let listed = catalogue.list(COUNTED_MAX);
    // Made here and dropped here: a store must not be asked, nor closed, where futures are run.
    let host = Arc::new(Host::new(catalogue, plan.settings.clone()));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(plan.settings.requests_max.saturating_add(Server::SPARE_THREADS))
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start: {error}"))?;
    let drained = runtime.block_on(async {
        let listener = TcpListener::bind(plan.listen)
            .await
            .map_err(|error| format!("cannot listen on {}: {error}", plan.listen))?;
        let address = listener.local_addr().map_err(|error| error.to_string())?;
        let git = match plan.git_listen {
            Some(at) => {
                let listener = TcpListener::bind(at).await;
                Some(listener.map_err(|error| format!("cannot listen on {at}: {error}"))?)
            }
            None => None,
        };
        let git_address = git.as_ref().and_then(|listener| listener.local_addr().ok());
        let stop = stop_signal().map_err(|error| format!("cannot listen for signals: {error}"))?;
        welcome(&plan, &listed, (address, git_address));
        host.start_upkeep();
        let (stopping, stopped) = watch::channel(false);
        let stop = async move {
            stop.await;
            // Who does not listen to it is not there.
            let _ = stopping.send(true);
        };
        let until = |mut stopped: watch::Receiver<bool>| async move {
            let _ = stopped.wait_for(|is_over| *is_over).await;
        };
        let http = Server::new(host.clone(), plan.http.clone());
        let http = http.run(listener, until(stopped.clone()));
        let git = async {
            let Some(listener) = git else { return true };
            let server = front_git::Server::new(host.clone(), plan.git.clone());
            server.run(listener, until(stopped)).await
        };
        let (http, git, ()) = tokio::join!(http, git, stop);
        Ok::<_, String>(http && git)
    });
    // Threads that still answer somebody are not waited for twice.
    runtime.shutdown_timeout(Duration::from_millis(100));
    drained
}

/// Ready at Ctrl-C or SIGTERM, from now on; a second Ctrl-C ends the process at once.
fn stop_signal() -> std::io::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::warn!("stopping: running requests are finished first");
        tokio::spawn(async move {
            interrupt.recv().await;
            std::process::exit(130);
        });
    })
}

#[allow(clippy::print_stdout)] // What is served, and how, is this command's answer.
fn welcome(
    plan: &Plan,
    listed: &(Vec<Listed>, bool),
    (address, git): (SocketAddr, Option<SocketAddr>),
) {
    use std::io::Write as _;
    println!("{}", welcome_text(plan, listed, address));
    if let Some(git) = git {
        let pushes = if plan.git.receive_pack { "" } else { "; no pushes (git.receive_pack)" };
        println!("listening on git://{git}/{pushes}");
    }
    let _ = std::io::stdout().flush();
}

fn welcome_text(plan: &Plan, (listed, more): &(Vec<Listed>, bool), address: SocketAddr) -> String {
    let base = format!("http://{address}");
    let mut text = String::new();
    if listed.len() <= LISTED_MAX {
        for repository in listed {
            text.push_str(&format!("{base}/{}\n", repository.url_path()));
        }
    } else {
        let more = if *more { "more than " } else { "" };
        let example = listed[0].url_path();
        text.push_str(&format!("{more}{} repositories, such as {base}/{example}\n", listed.len()));
    }
    if listed.is_empty() {
        text.push_str(&format!("no repository in '{}' yet\n", plan.served));
    }
    text.push_str(&format!("\nlistening on {base}/ (--listen ADDR changes that)\n"));
    text.push_str(match plan.settings.push_access {
        PushAccess::ReadOnly => "pushes: off (--read-only)\n",
        PushAccess::NotAnonymously => {
            "pushes: off, because other machines can reach this address and nobody is asked who \
             they are; --allow-anonymous-push takes them from anybody\n"
        }
        PushAccess::Anybody if plan.allow_anonymous_push && !plan.listen.ip().is_loopback() => {
            "pushes: from anybody who reaches this address (--allow-anonymous-push)\n"
        }
        PushAccess::Anybody => "pushes: from this machine (--read-only turns them off)\n",
    });
    if plan.settings.push_access == PushAccess::Anybody {
        text.push_str(match plan.settings.create_on_push {
            true => "pushing to a new name makes a repository (--create-on-push)\n",
            false => "pushing to a new name is refused (--create-on-push makes a repository)\n",
        });
    }
    text.push_str(match plan.settings.upkeep.enabled {
        true => "maintenance: some time after a push (maintenance.enabled = false turns it off)\n",
        false => "maintenance: off (maintenance.enabled = true turns it on)\n",
    });
    text.truncate(text.trim_end().len());
    text
}
