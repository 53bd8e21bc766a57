//! In the background: one for each repository, with a lock, a status and a log below its git directory.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::daemon::{self, Mode};
use crate::git::Repository;
use crate::note::{Note, Order};
use crate::settings::Action;
use crate::status::Status;

/// How long a daemon may take to begin, and to end.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often the status is written, at most.
const STATUS_EVERY: Duration = Duration::from_millis(200);
/// Bytes of a log; the one before it is kept.
const LOG_BYTES_MAX: u64 = 1 << 20;
/// Set for the process that goes into the background.
const DETACHED: &str = "PACKHORSE_REMOTE_DAEMON_DETACHED";
/// What it says when it has begun.
const READY: &str = "ready";

/// The daemon's files.
struct Files {
    folder: PathBuf,
}

impl Files {
    fn of(repository: &Repository) -> Self {
        Files { folder: repository.common_dir.join("remote-daemon") }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The lock, if nobody has it. Whoever dies gives it back, so that it is never stale.
    fn lock(&self) -> io::Result<Option<File>> {
        std::fs::create_dir_all(&self.folder)?;
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false);
        let file = file.open(self.path("lock"))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(file)),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The process that has the lock, if one has.
    fn running(&self) -> io::Result<Option<Pid>> {
        if !self.path("lock").exists() || self.lock()?.is_some() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(self.path("lock"))?;
        Ok(text.trim().parse().ok().and_then(Pid::from_raw))
    }
}

fn said(what: &str) -> impl Fn(io::Error) -> String + '_ {
    move |error| format!("{what}: {error}")
}

/// Starts a daemon in the background.
///
/// # Errors
/// In words.
#[allow(clippy::print_stdout, reason = "a command says what it did")]
pub fn start(repository: &Repository) -> Result<(), String> {
    if let Some(process) = Files::of(repository).running().map_err(said("the lock"))? {
        println!("already running (process {process})");
        return Ok(());
    }
    let program = std::env::current_exe().map_err(said("this program"))?;
    let mut command = Command::new(program);
    command.arg("-C").arg(&repository.git.folder).arg("run").env(DETACHED, "1");
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

/// Runs as the daemon of a repository until it is told to stop.
///
/// # Errors
/// In words.
pub async fn run(repository: Repository) -> Result<(), String> {
    let detached = std::env::var_os(DETACHED).is_some();
    let ran = begin(repository, detached).await;
    if let (true, Err(words)) = (detached, &ran) {
        tracing::error!("{words}");
        // Whoever started it waits for a word, or has gone.
        let _ = writeln!(io::stdout(), "{words}");
    }
    ran
}

async fn begin(repository: Repository, detached: bool) -> Result<(), String> {
    let files = Files::of(&repository);
    let lock = files.lock().map_err(said("the lock"))?;
    let Some(mut lock) = lock else {
        return Err("one is running already".to_owned());
    };
    let process = std::process::id();
    lock.set_len(0).and_then(|()| writeln!(lock, "{process}")).map_err(said("the lock"))?;
    log_to(LogFile::open(files.path("log")).map_err(said("the log"))?, detached);
    let (notes, noted) = mpsc::channel(256);
    let (orders, ordered) = mpsc::channel(16);
    obey_signals(orders).map_err(said("signals"))?;
    if detached {
        // It may be at the head of its own session by now.
        let _ = rustix::process::setsid();
        writeln!(io::stdout(), "{READY}").map_err(said("standard output"))?;
        let nothing = File::options().write(true).open("/dev/null").map_err(said("/dev/null"))?;
        rustix::stdio::dup2_stdout(&nothing).map_err(|error| error.to_string())?;
    }
    tracing::info!("begins (process {process})");
    let status = Status { process, since: now(), ..Status::default() };
    let writing = tokio::spawn(keep(files.path("status"), status, noted));
    let mode = Mode { usual: Action::Fetch, acts: true };
    let served = daemon::serve(repository, mode, notes, ordered).await;
    // It ends with those who tell.
    let _ = writing.await;
    let _ = std::fs::remove_file(files.path("status"));
    if served.is_ok() {
        tracing::info!("ends");
    }
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
        Note::Synced { .. } => {}
    }
}

fn now() -> u64 {
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
pub fn stop(repository: &Repository) -> Result<(), String> {
    let files = Files::of(repository);
    let running = || files.running().map_err(said("the lock"));
    let Some(process) = running()? else {
        println!("not running");
        return Ok(());
    };
    kill_process(process, Signal::TERM).map_err(|error| format!("cannot stop it: {error}"))?;
    let begun = Instant::now();
    while running()? == Some(process) {
        if begun.elapsed() > PATIENCE {
            return Err(format!("process {process} does not end"));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    println!("stopped");
    Ok(())
}

/// Says how the daemon in the background is.
#[allow(clippy::print_stdout, clippy::print_stderr, reason = "that is what it is for")]
pub fn status(repository: &Repository, json: bool) -> ExitCode {
    let files = Files::of(repository);
    match files.running() {
        Ok(Some(process)) => {
            let process = process.as_raw_nonzero().get().unsigned_abs();
            let known = Status::load(&files.path("status"));
            let status = known.filter(|status| status.process == process);
            let status = status.unwrap_or(Status { process, since: now(), ..Status::default() });
            match json {
                true => println!("{}", serde_json::to_string_pretty(&status).unwrap_or_default()),
                false => print!("{}", status.shown(now())),
            }
            ExitCode::SUCCESS
        }
        Ok(None) => {
            match json {
                true => println!("null"),
                false => println!("not running"),
            }
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("fatal: the lock: {error}");
            ExitCode::from(128)
        }
    }
}

/// Writes the last lines of a log; how long it is, in bytes.
fn log_lines(path: &Path, lines: usize, output: &mut impl Write) -> io::Result<u64> {
    let text = std::fs::read(path)?;
    let starts = text.iter().enumerate().rev().skip(1).filter(|(_, byte)| **byte == b'\n');
    let start = match lines.checked_sub(1) {
        Some(before) => starts.map(|(at, _)| at + 1).nth(before).unwrap_or(0),
        None => text.len(),
    };
    output.write_all(&text[start..])?;
    Ok(text.len() as u64)
}

/// Shows the log of the daemon in the background.
///
/// # Errors
/// In words.
pub fn log(repository: &Repository, lines: usize, follow: bool) -> Result<(), String> {
    let path = Files::of(repository).path("log");
    let failed = said("the log");
    let mut output = io::stdout();
    let mut at = match log_lines(&path, lines, &mut output) {
        Ok(at) => at,
        Err(error) if error.kind() == io::ErrorKind::NotFound && !follow => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(failed(error)),
    };
    if !follow {
        return Ok(());
    }
    loop {
        std::thread::sleep(Duration::from_millis(200));
        let Ok(mut file) = File::open(&path) else { continue };
        let len = file.metadata().map_err(&failed)?.len();
        if len < at {
            // Another one was begun.
            at = 0;
        }
        let mut text = Vec::new();
        let read = file.seek(SeekFrom::Start(at)).and_then(|_| file.read_to_end(&mut text));
        at += read.map_err(&failed)? as u64;
        if output.write_all(&text).and_then(|()| output.flush()).is_err() {
            return Ok(());
        }
    }
}

/// Prints a service unit for the user's systemd.
///
/// # Errors
/// In words.
#[allow(clippy::print_stdout, reason = "that is what it is for")]
pub fn unit(repository: &Repository) -> Result<(), String> {
    let program = std::env::current_exe().map_err(said("this program"))?;
    let quoted = |path: &Path| {
        // systemd.syntax(7), "Quoting"; `%` begins a specifier.
        let text = path.display().to_string();
        let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('%', "%%");
        format!("\"{}\"", text.replace('$', "$$"))
    };
    println!(
        "# Put this into ~/.config/systemd/user/git-remote-daemon-NAME.service, then:\n\
         # systemctl --user enable --now git-remote-daemon-NAME\n\
         [Unit]\n\
         Description=Keeps {} in step with its remotes\n\
         \n\
         [Service]\n\
         ExecStart={} -C {} run\n\
         ExecReload=/bin/kill -HUP $MAINPID\n\
         Restart=on-failure\n\
         RestartSec=10\n\
         \n\
         [Install]\n\
         WantedBy=default.target",
        repository.git.folder.display().to_string().replace('%', "%%"),
        quoted(&program),
        quoted(&repository.git.folder),
    );
    Ok(())
}

/// A log that begins anew when it is long; the one before it is kept.
struct LogFile {
    path: PathBuf,
    file: File,
    len: u64,
}

impl LogFile {
    fn open(path: PathBuf) -> io::Result<Self> {
        let file = OpenOptions::new().append(true).create(true).open(&path)?;
        let len = file.metadata()?.len();
        Ok(LogFile { path, file, len })
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.len >= LOG_BYTES_MAX {
            std::fs::rename(&self.path, self.path.with_extension("old"))?;
            *self = Self::open(self.path.clone())?;
        }
        self.len += bytes.len() as u64;
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Everything that is told goes to a file; in a terminal or service, there as well.
fn log_to(file: LogFile, detached: bool) {
    use tracing_subscriber::fmt::writer::{BoxMakeWriter, MakeWriterExt as _};
    let writer = match detached {
        true => BoxMakeWriter::new(Mutex::new(file)),
        false => BoxMakeWriter::new(Mutex::new(file).and(io::stderr)),
    };
    let subscriber =
        tracing_subscriber::fmt().with_writer(writer).with_ansi(false).with_target(false);
    // One is enough.
    let _ = subscriber.try_init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        std::fs::write(&path, "one\ntwo\nthree\n").expect("a file");
        let last = |lines| {
            let mut output = Vec::new();
            log_lines(&path, lines, &mut output).expect("read");
            String::from_utf8(output).expect("text")
        };
        assert_eq!(last(0), "");
        assert_eq!(last(1), "three\n");
        assert_eq!(last(2), "two\nthree\n");
        assert_eq!(last(9), "one\ntwo\nthree\n");
    }

    #[test]
    fn a_long_log_begins_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        std::fs::write(&path, vec![b'x'; LOG_BYTES_MAX as usize]).expect("a file");
        let mut log = LogFile::open(path.clone()).expect("a log");
        log.write_all(b"one\n").expect("written");
        assert_eq!(std::fs::read(&path).expect("a log"), b"one\n");
        assert_eq!(
            std::fs::metadata(path.with_extension("old")).expect("kept").len(),
            LOG_BYTES_MAX
        );
    }
}
