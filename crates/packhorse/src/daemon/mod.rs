//! `packhorse daemon`: git:// as git-daemon(1) serves it, with its options.

mod options;
mod sockets;

use std::convert::Infallible;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use front_git::{DaemonSettings, GitSettings, Importance, Log, Server};
use host::{Catalogue, Host, MemoryPool, PathRules, Settings};
use nix::syslog::{Facility, LogFlags, Severity};
use nix::unistd::{Gid, Group, User};
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::machine;
use options::{Destination, Options, USAGE, Wrong};

/// Exit status of git's programs when they do not understand their arguments.
const USAGE_STATUS: u8 = 129;
/// Exit status of git's programs when they give up.
const FATAL: u8 = 128;

/// How long conversations may go on after SIGTERM.
const DRAIN: Duration = Duration::from_secs(30);

/// Serves until it is told to stop.
#[allow(clippy::print_stderr, clippy::print_stdout)] // Whoever starts it is told what is wrong there.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let options = match Options::read(arguments) {
        Ok(options) => options,
        Err(Wrong::Help) => {
            // Whoever reads no further has read enough.
            let _ = writeln!(io::stdout(), "{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(Wrong::Usage) => {
            eprintln!("{USAGE}");
            return ExitCode::from(USAGE_STATUS);
        }
        Err(Wrong::Fatal(words)) => {
            eprintln!("fatal: {words}");
            return ExitCode::from(FATAL);
        }
    };
    let log = log(options.destination, options.verbose);
    let words = match serve(&options, &log) {
        Ok(()) => return ExitCode::SUCCESS,
        Err(words) => words,
    };
    match options.destination {
        Destination::Syslog => log(Importance::Error, &words),
        _ => eprintln!("fatal: {words}"),
    }
    ExitCode::from(FATAL)
}

/// Where words go, each line of them whole.
fn log(destination: Destination, verbose: bool) -> Log {
    if destination == Destination::Syslog {
        // Without it lines have no name, and are written all the same.
        let _ = nix::syslog::openlog(Some(c"git-daemon"), LogFlags::LOG_PID, Facility::LOG_DAEMON);
    }
    Arc::new(move |importance, words| {
        if importance == Importance::Info && !verbose {
            return;
        }
        let words = words.replace('\n', " ");
        // There is nobody else to tell.
        match destination {
            Destination::None => {}
            Destination::Stderr => {
                let line = format!("[{}] {words}\n", std::process::id());
                let _ = io::stderr().write_all(line.as_bytes());
            }
            Destination::Syslog => {
                let severity = match importance {
                    Importance::Error => Severity::LOG_ERR,
                    Importance::Info => Severity::LOG_INFO,
                };
                let _ = nix::syslog::syslog(severity, &words.replace('\0', " "));
            }
        }
    })
}

fn serve(options: &Options, log: &Log) -> Result<(), String> {
    let credentials = credentials(options)?;
    let rules = DaemonSettings {
        upload_pack: options.upload_pack,
        receive_pack: options.receive_pack,
        upload_archive: options.upload_archive,
        informative_errors: options.informative_errors,
        paths: options.paths.clone(),
        strict_paths: options.strict_paths,
        access_hook: options.access_hook.clone(),
        log: log.clone(),
    };
    let init_timeout = match options.init_timeout {
        0 => options.timeout,
        seconds => seconds,
    };
    let limit = |seconds| match seconds {
        0 => Duration::MAX,
        seconds => Duration::from_secs(u64::from(seconds)),
    };
    let settings = GitSettings {
        receive_pack: true,
        upload_archive: true,
        header_timeout: limit(init_timeout),
        idle_timeout: limit(options.timeout),
        drain_timeout: DRAIN,
        connections_max: options.connections_max.unwrap_or(usize::MAX),
        ..GitSettings::default()
    };
    if options.inetd || options.serve {
        return inetd(options, &settings, &rules);
    }
    if options.detach {
        nix::unistd::daemon(true, false).map_err(|error| format!("--detach: {error}"))?;
    }
    if let Some(file) = &options.pid_file {
        std::fs::write(file, format!("{}\n", std::process::id()))
            .map_err(|error| format!("could not open '{}' for writing: {error}", file.display()))?;
    }
    let port = options.port;
    let sockets = sockets::open(&options.listen, port, options.reuseaddr, log);
    if sockets.is_empty() {
        return Err(format!("unable to allocate any listen sockets on port {port}"));
    }
    if let Some(credentials) = credentials {
        credentials.take().map_err(|_| "cannot drop privileges".to_owned())?;
    }
    let host = Arc::new(host(options));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start: {error}"))?;
    runtime.block_on(async {
        let terminate = signal(SignalKind::terminate()).map_err(|error| error.to_string())?;
        let listeners = sockets.into_iter().map(tokio::net::TcpListener::from_std);
        let listeners: Result<Vec<_>, _> = listeners.collect();
        let listeners = listeners.map_err(|error| error.to_string())?;
        let server = Server::of_paths(host, settings, rules);
        log(Importance::Info, "Ready to rumble");
        let (stopping, told) = tokio::sync::oneshot::channel();
        let stop = async {
            // It is dropped when nobody listens to it any more.
            let _ = told.await;
        };
        tokio::select! {
            _ = server.run_all(listeners, stop) => {}
            never = told_twice(terminate, stopping) => match never {},
        }
        Ok::<_, String>(())
    })?;
    die_of_sigterm();
    Ok(())
}

/// Waits for the signal to stop; to be told so again is to end at once.
async fn told_twice(
    mut terminate: Signal,
    stopping: tokio::sync::oneshot::Sender<()>,
) -> Infallible {
    terminate.recv().await;
    let _ = stopping.send(());
    terminate.recv().await;
    die_of_sigterm();
    std::future::pending().await
}

/// Ends this process as the signal does that it waited for, so that whoever started it sees what happened.
fn die_of_sigterm() {
    // SAFETY: no handler of ours is put in place, and what was there before is not called again.
    #[allow(unsafe_code)]
    let restored = unsafe {
        nix::sys::signal::signal(nix::sys::signal::SIGTERM, nix::sys::signal::SigHandler::SigDfl)
    };
    if restored.is_ok() {
        // Where it does not end here, it ends by itself.
        let _ = nix::sys::signal::raise(nix::sys::signal::SIGTERM);
    }
}

fn inetd(options: &Options, settings: &GitSettings, rules: &DaemonSettings) -> Result<(), String> {
    let peer = std::env::var("REMOTE_ADDR").ok().and_then(|address| {
        let port = std::env::var("REMOTE_PORT").ok().and_then(|port| port.parse().ok());
        let address = address.trim_matches(['[', ']']).parse().ok()?;
        Some(std::net::SocketAddr::new(address, port.unwrap_or(0)))
    });
    let streams = rustix::io::dup(rustix::stdio::stdin())
        .and_then(|input| Ok((input, rustix::io::dup(rustix::stdio::stdout())?)))
        .map_err(|error| error.to_string())?;
    front_git::serve_streams(&host(options), settings, rules, streams, peer)
        .map_err(|error| error.to_string())
}

/// What is served: any path, by the rules of the options.
fn host(options: &Options) -> Host {
    let mut settings = Settings::of_this_process();
    settings.console = false;
    settings.requests_max = options.connections_max.unwrap_or(usize::MAX);
    settings.memory_freed = machine::memory_freed;
    settings.engine.memory = Arc::new(MemoryPool::new(machine::shared_memory_bytes()));
    let rules = PathRules {
        strict: options.strict_paths,
        owner: Some(settings.owner_context()),
        exported_only: !options.export_all,
        directories: options.directories.clone(),
    };
    Host::new(Catalogue::of_any_path(rules, &settings), settings)
}

/// Who to become.
struct Credentials {
    user: User,
    group: Gid,
}

fn credentials(options: &Options) -> Result<Option<Credentials>, String> {
    let Some(name) = &options.user else { return Ok(None) };
    let user = User::from_name(name).ok().flatten();
    let user = user.ok_or_else(|| format!("user not found - {name}"))?;
    let group = match &options.group {
        Some(name) => {
            let group = Group::from_name(name).ok().flatten();
            group.ok_or_else(|| format!("group not found - {name}"))?.gid
        }
        None => user.gid,
    };
    Ok(Some(Credentials { user, group }))
}

impl Credentials {
    /// Becomes somebody else, for good.
    fn take(self) -> nix::Result<()> {
        let name = std::ffi::CString::new(self.user.name).map_err(|_| nix::Error::EINVAL)?;
        nix::unistd::initgroups(&name, self.group)?;
        nix::unistd::setgid(self.group)?;
        nix::unistd::setuid(self.user.uid)
    }
}
