//! upload-pack, receive-pack and upload-archive over standard input and output: drop-ins for git's
//! programs.
//!
//! Floor 6: sees `host` and `wire`. The program runs with the rights of whoever started it,
//! so any path of the machine may be named, and errors name it.

mod timed_input;
mod timed_output;

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use host::{Caller, Catalogue, Exchange, Host, PathRules, Refusal, Request, Settings, Task};
use host::{EventForm, EventStream, NameError, RepositoryName, Road, WatchedRefs};
use wire::{Protocol, Service, Sink, WriteSink};

use timed_input::TimedInput;
use timed_output::TimedOutput;

/// Where the repository is.
pub enum Place {
    /// A path of this machine.
    Directory {
        /// The path, which may begin with `~`.
        path: PathBuf,
        /// Take the path as it is, without guesses about `.git`.
        strict: bool,
    },
    /// A name in a catalogue, which is made with the settings of the session.
    Named {
        /// The name, as in a URL.
        name: String,
        /// Whether others can have open what it is in while a client is told what happens there.
        shared: bool,
        /// Makes the catalogue.
        catalogue: Box<dyn FnOnce(&Settings) -> Catalogue>,
        /// Make a repository when a push names one that does not exist.
        create_on_push: bool,
    },
}

/// What the command line said.
pub struct Invocation {
    /// Which program.
    pub service: Service,
    /// How far the exchange goes.
    pub exchange: Exchange,
    /// Silence of the client after which the session is ended.
    pub timeout: Option<Duration>,
    /// The repository.
    pub place: Place,
    /// receive-pack: take objects without looking whether anything is missing.
    pub skip_connectivity_check: bool,
    /// receive-pack: refuse packs that lean on objects they do not carry.
    pub reject_thin: bool,
}

/// Why a session ended early; said already to the client as far as the protocol allows.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It was not let in.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The repository's name cannot be one.
    #[error(transparent)]
    BadName(#[from] NameError),
    /// It did not come to its end.
    #[error(transparent)]
    Ended(#[from] host::ServeError),
}

/// Serves one session on standard input and output, with settings from this process'
/// environment (`GIT_PROTOCOL`, `GIT_CONFIG_*`, `GIT_NAMESPACE`, `GIT_COMMITTER_*`, …).
///
/// # Errors
/// [`Error`]; its text is for standard error.
pub fn serve_process(invocation: Invocation) -> Result<(), Error> {
    let protocol = std::env::var_os("GIT_PROTOCOL")
        .map_or(Protocol::V0, |value| Protocol::from_git_protocol(value.as_encoded_bytes()));
    let input: Box<dyn BufRead> = match invocation.timeout {
        Some(timeout) => Box::new(BufReader::with_capacity(INPUT_BYTES, TimedInput::new(timeout))),
        None => Box::new(BufReader::with_capacity(INPUT_BYTES, io::stdin())),
    };
    // Past the standard library's line buffer: packs are written as they lie.
    let stdout = rustix::io::dup(rustix::stdio::stdout()).map_err(host::ServeError::output)?;
    let stdout = std::fs::File::from(stdout);
    let settings = process_settings(&invocation);
    match invocation.timeout {
        Some(timeout) => {
            let output = TimedOutput::new(stdout, timeout, || abandon("timed out"));
            serve(invocation, protocol, settings, input, &mut WriteSink::new(output))
        }
        None => serve(invocation, protocol, settings, input, &mut WriteSink::new(stdout)),
    }
}

/// Ends the process while another of its threads waits for the client.
fn abandon(words: &str) {
    // It may be closed, and there is nobody else to tell.
    let _ = writeln!(io::stderr(), "fatal: {words}");
    std::process::exit(FATAL.into());
}

/// Exit status of git's programs when they give up.
pub const FATAL: u8 = 128;

/// Silence after which whoever watches is told that the connection is alive.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// Input taken at a time, bytes.
const INPUT_BYTES: usize = 64 << 10;

fn serve(
    invocation: Invocation,
    protocol: Protocol,
    settings: Settings,
    mut input: Box<dyn BufRead>,
    output: &mut dyn Sink,
) -> Result<(), Error> {
    // What is told of one request of a web server is not told to whoever sends the next.
    let can_watch = invocation.exchange == Exchange::Conversation
        && !matches!(invocation.place, Place::Named { shared: false, .. });
    let (catalogue, repository) = found(invocation.place, invocation.service, &settings)?;
    let host = Host::new(catalogue, settings);
    let request = Request {
        repository,
        task: Task::Smart {
            service: invocation.service,
            exchange: invocation.exchange,
            protocol: protocol.of_service(invocation.service),
        },
        caller: Caller::default(),
        road: Road::Stdio,
    };
    let admitted = host.admit(request)?;
    let watched = match can_watch {
        true => admitted.converse(&mut *input, output)?,
        false => admitted.run(&mut *input, output).map(|_| None)?,
    };
    if let Some(watched) = watched {
        drop(input);
        end_with_input();
        watch(watched, output)?;
    }
    Ok(())
}

/// Tells the client what happens, until it takes no more, or nothing more will.
fn watch(watched: WatchedRefs, output: &mut dyn Sink) -> Result<(), host::ServeError> {
    let mut events = EventStream::new(watched, EventForm::PACKETS);
    while let Some(bytes) = events.next_within(HEARTBEAT) {
        output.send(bytes).and_then(|()| output.flush()).map_err(host::ServeError::output)?;
    }
    Ok(())
}

/// Ends the process when whoever started it closes its standard input: who watches has nothing to say but that.
fn end_with_input() {
    std::thread::spawn(|| {
        // Whatever keeps it from being read ends it, too.
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(0);
    });
}

/// Where to look, and for what.
fn found(
    place: Place,
    service: Service,
    settings: &Settings,
) -> Result<(Catalogue, RepositoryName), Error> {
    let (path, strict) = match place {
        Place::Directory { path, strict } => (path, strict),
        Place::Named { name, catalogue, .. } => {
            return Ok((catalogue(settings), RepositoryName::new(name.as_bytes())?));
        }
    };
    // As in git, whoever only reads may read what is somebody else's.
    let owner = (service != Service::UploadPack).then(|| settings.owner_context());
    let rules = PathRules { strict, owner, ..PathRules::default() };
    let catalogue = Catalogue::of_any_path(rules, settings);
    let path = expand_user(&path, (settings.variable)("HOME"));
    Ok((catalogue, RepositoryName::local_path(&path)))
}

fn expand_user(directory: &Path, home: Option<OsString>) -> PathBuf {
    host::expand_user(directory, home.as_deref().map(Path::new))
        .unwrap_or_else(|| directory.to_owned())
}

/// The settings of a program that serves its own caller: its whole environment counts.
fn process_settings(invocation: &Invocation) -> Settings {
    Settings {
        skip_connectivity_check: invocation.skip_connectivity_check,
        reject_thin: invocation.reject_thin,
        create_on_push: matches!(invocation.place, Place::Named { create_on_push: true, .. }),
        ..Settings::of_this_process()
    }
}
