//! In the background: one for each repository, or one for all, with a lock, a status and a log.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::{Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing::Dispatch;
use tracing::instrument::WithSubscriber as _;

use crate::daemon::{self, Mode};
use crate::git::Repository;
use crate::journal::journal;
use crate::note::{Note, Order};
use crate::place::{Lock, Place, Running};
use crate::settings::Action;
use crate::status::Status;
use crate::{all, journal};

/// How long a daemon may take to begin, and to end.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the status is written, at most.
const STATUS_EVERY: Duration = Duration::from_millis(200);
/// What a daemon says that has begun.
const READY: &str = "ready";

/// For which repositories a daemon is.
pub enum Whose {
    /// One.
    One(Repository),
    /// All that the user's configuration names.
    All(OsString),
}

impl Whose {
    /// Where its files are.
    ///
    /// # Errors
    /// In words.
    pub fn place(&self) -> Result<Place, String> {
        match self {
            Whose::One(repository) => Ok(Place::of(repository)),
            Whose::All(_) => Place::of_all(),
        }
    }

    /// How this program is told to run for it.
    fn arguments(&self) -> Vec<OsString> {
        match self {
            Whose::One(repository) => {
                vec!["-C".into(), repository.git.folder.clone().into(), "run".into()]
            }
            Whose::All(_) => vec!["run".into(), "--all".into()],
        }
    }
}

/// What went wrong, in words.
pub fn said(what: &str) -> impl Fn(io::Error) -> String + '_ {
    move |error| format!("{what}: {error}")
}

fn running(whose: &Whose) -> Result<Option<Running>, String> {
    whose.place()?.running().map_err(said("the lock"))
}

/// Starts a daemon in the background.
///
/// # Errors
/// In words.
#[allow(clippy::print_stdout, reason = "a command says what it did")]
pub fn start(whose: &Whose) -> Result<(), String> {
    if let Some(Running { process, for_all }) = running(whose)? {
        let which = if for_all { ", for all repositories" } else { "" };
        println!("already running (process {process}{which})");
        return Ok(());
    }
    let program = std::env::current_exe().map_err(said("this program"))?;
    let mut command = Command::new(program);
    command.args(whose.arguments()).arg("--detached");
    command.current_dir("/").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(said("cannot start"))?;
    let mut words = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_string(&mut words).map_err(said("cannot start"))?;
    }
    match words.trim() {
        READY => {
            println!("started (process {})", child.id());
            Ok(())
        }
        "" => Err("it ended without a word".to_owned()),
        words => Err(words.to_owned()),
    }
}

/// Runs as a daemon until it is told to stop.
///
/// # Errors
/// In words.
pub async fn run(whose: Whose, detached: bool) -> Result<(), String> {
    let ran = begin(whose, detached).await;
    if let (true, Err(words)) = (detached, &ran) {
        tracing::error!("{words}");
        // Whoever started it waits for a word, or has gone.
        let _ = writeln!(io::stdout(), "{words}");
    }
    ran
}

async fn begin(whose: Whose, detached: bool) -> Result<(), String> {
    let place = whose.place()?;
    let lock = place.take(false).map_err(said("the lock"))?;
    let lock = lock.ok_or("one is running already")?;
    let terminal = if detached { None } else { Some("") };
    let journal = journal(place.path("log"), terminal).map_err(said("the log"))?;
    // One is enough.
    let _ = tracing::dispatcher::set_global_default(journal.clone());
    let (orders, ordered) = mpsc::channel(16);
    obey_signals(orders).map_err(said("signals"))?;
    if detached {
        // It may be at the head of its own session by now.
        let _ = rustix::process::setsid();
        writeln!(io::stdout(), "{READY}").map_err(said("standard output"))?;
        let nothing = File::options().write(true).open("/dev/null").map_err(said("/dev/null"))?;
        rustix::stdio::dup2_stdout(&nothing).map_err(|error| error.to_string())?;
    }
    match whose {
        Whose::One(repository) => look_after(repository, lock, journal, ordered).await,
        Whose::All(git) => {
            let _lock = lock;
            all::run(git, detached, ordered).await
        }
    }
}

/// Is the daemon of a repository, of which this process has the lock, until it is told to stop.
///
/// # Errors
/// In words.
pub async fn look_after(
    repository: Repository,
    lock: Lock,
    journal: Dispatch,
    ordered: mpsc::Receiver<Order>,
) -> Result<(), String> {
    let status_path = Place::of(&repository).path("status");
    let process = std::process::id();
    let life = async {
        tracing::info!("begins (process {process})");
        let (notes, noted) = mpsc::channel(256);
        let status = Status { process, since: now(), ..Status::default() };
        let mode = Mode { usual: Action::Fetch, acts: true };
        // Who writes ends with those who tell.
        let (served, ()) = tokio::join!(
            daemon::serve(repository, mode, notes, ordered),
            keep(status_path.clone(), status, noted)
        );
        match &served {
            Ok(()) => tracing::info!("ends"),
            Err(words) => tracing::error!("ends: {words}"),
        }
        served
    };
    let served = life.with_subscriber(journal).await;
    let _ = std::fs::remove_file(status_path);
    drop(lock);
    served
}

/// Says and writes down what happens.
async fn keep(path: PathBuf, mut status: Status, mut notes: mpsc::Receiver<Note>) {
    let mut is_new = true;
    let mut is_full = false;
    loop {
        let note = match is_new {
            true => tokio::time::timeout(STATUS_EVERY, notes.recv()).await,
            false => Ok(notes.recv().await),
        };
        match note {
            Ok(Some(note)) => {
                say(&note);
                status.take(&note, now());
                is_new = true;
            }
            Ok(None) => return,
            Err(_) => {
                is_new = false;
                let saved = status.save(&path);
                if let (Err(error), false) = (&saved, is_full) {
                    tracing::warn!(%error, "the status is not written");
                }
                is_full = saved.is_err();
            }
        }
    }
}

fn say(note: &Note) {
    let remote = note.remote();
    let list = |names: &[bstr::BString]| bstr::BString::from(bstr::join(" ", names));
    match note {
        Note::Changed { refs, .. } => tracing::info!("{remote}: changed: {}", list(refs)),
        Note::Status { words, .. } if remote.is_empty() => tracing::info!("{words}"),
        Note::Status { words, .. } => tracing::info!("{remote}: {words}"),
        Note::Error { words, .. } if remote.is_empty() => tracing::error!("{words}"),
        Note::Error { words, .. } => tracing::error!("{remote}: {words}"),
        Note::Connected { url, way, .. } => tracing::info!("{remote}: connected to {url} ({way})"),
        Note::Disconnected { url, .. } => tracing::info!("{remote}: disconnected from {url}"),
        Note::Syncing { .. } => tracing::debug!("{remote}: fetches"),
        Note::Synced { .. }
        | Note::Extensions { .. }
        | Note::Progress { .. }
        | Note::Transferred { .. } => {}
    }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn obey_signals(orders: mpsc::Sender<Order>) -> io::Result<()> {
    let meanings = [
        (SignalKind::terminate(), Order::Stop),
        (SignalKind::interrupt(), Order::Stop),
        (SignalKind::hangup(), Order::Reload),
        (SignalKind::user_defined1(), Order::Retry),
    ];
    for (kind, order) in meanings {
        let (mut signals, orders) = (signal(kind)?, orders.clone());
        tokio::spawn(async move {
            while signals.recv().await.is_some() && orders.send(order.clone()).await.is_ok() {}
        });
    }
    Ok(())
}

/// Tells the daemon in the background to stop, and waits for it.
///
/// # Errors
/// In words.
#[allow(clippy::print_stdout, reason = "a command says what it did")]
pub fn stop(whose: &Whose) -> Result<(), String> {
    let Some(Running { process, for_all }) = running(whose)? else {
        println!("not running");
        return Ok(());
    };
    if for_all {
        return Err(format!(
            "process {process} looks after all repositories; git remote-daemon stop --all stops it"
        ));
    }
    kill_process(process, Signal::TERM).map_err(|error| format!("cannot stop it: {error}"))?;
    let begun = Instant::now();
    while running(whose)?.is_some_and(|running| running.process == process) {
        if begun.elapsed() > PATIENCE {
            return Err(format!("process {process} does not end"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    println!("stopped");
    Ok(())
}

/// How the daemon at a place is, if there is one.
pub fn found(place: &Place) -> io::Result<Option<Status>> {
    let Some(Running { process, .. }) = place.running()? else { return Ok(None) };
    let process = process.as_raw_nonzero().get().unsigned_abs();
    let known = Status::load(&place.path("status")).filter(|status| status.process == process);
    Ok(Some(known.unwrap_or(Status { process, since: now(), ..Status::default() })))
}

/// Says how the daemon in the background is; with status 1 when there is none.
#[allow(clippy::print_stdout, clippy::print_stderr, reason = "that is what it is for")]
pub fn status(whose: &Whose, json: bool) -> ExitCode {
    let shown = match whose {
        Whose::All(git) => all::status(git, json),
        Whose::One(repository) => {
            found(&Place::of(repository)).map_err(said("the lock")).map(|status| {
                match (&status, json) {
                    (None, true) => (false, "null\n".to_owned()),
                    (None, false) => (false, "not running\n".to_owned()),
                    (Some(status), true) => {
                        (true, serde_json::to_string_pretty(status).unwrap_or_default() + "\n")
                    }
                    (Some(status), false) => (true, status.shown(now())),
                }
            })
        }
    };
    match shown {
        Ok((is_running, text)) => {
            print!("{text}");
            if is_running { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(words) => {
            eprintln!("fatal: {words}");
            ExitCode::from(128)
        }
    }
}

/// Shows the log of the daemon in the background.
///
/// # Errors
/// In words.
pub fn log(whose: &Whose, lines: usize, follow: bool) -> Result<(), String> {
    journal::show(&whose.place()?.path("log"), lines, follow).map_err(said("the log"))
}

/// Prints a service unit for the user's systemd.
///
/// # Errors
/// In words.
#[allow(clippy::print_stdout, reason = "that is what it is for")]
pub fn unit(whose: &Whose) -> Result<(), String> {
    let program = std::env::current_exe().map_err(said("this program"))?;
    let quoted = |path: &Path| {
        // systemd.syntax(7), "Quoting"; `%` begins a specifier.
        let text = path.display().to_string();
        let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
        format!("\"{}\"", text.replace('$', "$$"))
    };
    let (name, what, arguments) = match whose {
        Whose::One(repository) => {
            let folder = &repository.git.folder;
            let shown = folder.display().to_string().replace('%', "%%");
            ("git-remote-daemon-NAME", shown, format!("-C {} run", quoted(folder)))
        }
        Whose::All(_) => ("git-remote-daemon", "repositories".to_owned(), "run --all".to_owned()),
    };
    println!(
        "# Put this into ~/.config/systemd/user/{name}.service, then:\n\
         # systemctl --user enable --now {name}\n\
         [Unit]\n\
         Description=Keeps {what} in step with remotes\n\
         \n\
         [Service]\n\
         ExecStart={} {arguments}\n\
         ExecReload=/bin/kill -HUP $MAINPID\n\
         Restart=on-failure\n\
         RestartSec=10\n\
         \n\
         [Install]\n\
         WantedBy=default.target",
        quoted(&program),
    );
    Ok(())
}
