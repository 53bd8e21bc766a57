//! The rules of git-daemon(1): which services, which paths, and what is said to whom.

mod access_hook;
mod paths;
mod virtual_host;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use host::{Admitted, Caller, Exchange, Host, Refusal, RepositoryName, Request, Road, ServeError};
use host::{Switch, Task};
use wire::daemon::{DaemonRequest, read_any_head};
use wire::{Service, WriteSink};

pub use paths::PathSettings;

use crate::connection::{Ended, INPUT_BYTES};
use access_hook::Told;
use virtual_host::VirtualHost;

/// How much somebody has to know of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Importance {
    /// Whoever looks after the server should see it.
    Error,
    /// What happens from moment to moment.
    Info,
}

/// Where words for whoever looks after the server go.
pub type Log = Arc<dyn Fn(Importance, &str) + Send + Sync>;

/// The rules.
#[derive(Clone)]
pub struct DaemonSettings {
    /// Whether fetches are answered, and whether repositories may say otherwise.
    pub upload_pack: Switch,
    /// The same of pushes.
    pub receive_pack: Switch,
    /// The same of archives.
    pub upload_archive: Switch,
    /// Whether clients are told why they are refused.
    pub informative_errors: bool,
    /// How paths are made.
    pub paths: PathSettings,
    /// Whether `~user` is left alone, as with strict paths.
    pub strict_paths: bool,
    /// A program that may refuse.
    pub access_hook: Option<PathBuf>,
    /// Where what happens is told.
    pub log: Log,
}

/// What a refused client is told unless errors are informative.
const REFUSED: &str = "access denied or repository not exported";

/// One client, from its first message to the end.
pub(crate) struct Client<'a> {
    pub host: &'a Host,
    pub rules: &'a DaemonSettings,
    pub peer: Option<SocketAddr>,
}

/// The limit of a conversation that has one: pushes have none, as in git.
pub(crate) fn idle_timeout(message: &[u8], timeout: Duration) -> Option<Duration> {
    let fetches = message.starts_with(b"git-upload-pack ");
    (fetches && timeout != Duration::MAX).then_some(timeout)
}

impl Client<'_> {
    fn error(&self, words: &str) {
        (self.rules.log)(Importance::Error, words);
    }

    fn info(&self, words: &str) {
        (self.rules.log)(Importance::Info, words);
    }

    /// Notes where somebody comes from.
    pub fn connected(&self) {
        if let Some(peer) = self.peer {
            self.info(&format!("Connection from {peer}"));
        }
    }

    /// Answers the first message, and all that follows.
    pub fn answer(&self, message: &[u8], input: Box<dyn Read>, output: Box<dyn Write>) -> Ended {
        let asked = match read_any_head(message) {
            Ok(asked) => asked,
            Err(_) => return self.no_request(message),
        };
        let host = match asked.host.as_deref().map(VirtualHost::read).transpose() {
            Ok(host) => host,
            Err(words) => {
                self.error(words);
                return Ended::Done;
            }
        };
        if let Some(named) = &asked.host {
            let named = String::from_utf8_lossy(named);
            self.info(&format!("Extended attribute \"host\": {named}"));
        }
        let shown = String::from_utf8_lossy(&asked.path).into_owned();
        let service = short(asked.service);
        self.info(&format!("Request {service} for '{shown}'"));
        let admitted = match self.admit(&asked, host.as_ref()) {
            Ok(admitted) => admitted,
            Err(why) => return self.refused(&why, &shown),
        };
        if let Some(hook) = &self.rules.access_hook {
            let host = host.unwrap_or_default();
            let (path, peer) = (admitted.name(), self.peer);
            let told = Told { service, path, host: &host, peer };
            if let Err(why) = access_hook::ask(hook, &told) {
                return self.refused(&why, &shown);
            }
        }
        let mut input = BufReader::with_capacity(INPUT_BYTES, input);
        self.run(admitted, &mut input, output)
    }

    fn run(&self, admitted: Admitted, input: &mut dyn BufRead, output: Box<dyn Write>) -> Ended {
        match admitted.run(input, &mut WriteSink::new(output)) {
            Ok(_) => Ended::Done,
            Err(error) => {
                self.error(&format!("fatal: {error}"));
                match error {
                    ServeError::Wire(wire::Error::HungUp) => Ended::Done,
                    error if error.was_told() => Ended::Told,
                    error => Ended::Refused(error.words_for_peer()),
                }
            }
        }
    }

    /// What is no request of a service that is here.
    fn no_request(&self, message: &[u8]) -> Ended {
        let line = message.split(|byte| matches!(byte, 0 | b'\n')).next().unwrap_or_default();
        let line = String::from_utf8_lossy(line);
        self.error(&format!("Protocol error: '{}'", line.escape_debug()));
        Ended::Done
    }

    fn refused(&self, why: &str, path: &str) -> Ended {
        let informative = self.rules.informative_errors;
        let why = if informative { why } else { REFUSED };
        Ended::Refused(format!("{why}: {path}"))
    }

    /// Asks the host; what the client is told if it may be told why.
    fn admit(&self, asked: &DaemonRequest, host: Option<&VirtualHost>) -> Result<Admitted, String> {
        let name = short(asked.service);
        let switch = match asked.service {
            Service::UploadPack => self.rules.upload_pack,
            Service::ReceivePack => self.rules.receive_pack,
            Service::UploadArchive => self.rules.upload_archive,
        };
        if !switch.on && !switch.repository_decides {
            self.error(&format!("'{name}': service not enabled."));
            return Err("service not enabled".to_owned());
        }
        let no_such = "no such repository";
        let candidates = self.rules.paths.candidates(&asked.path, host).map_err(|words| {
            self.error(&words);
            no_such.to_owned()
        })?;
        let mut refused = None;
        for path in candidates {
            if self.rules.paths.interpolated_path.is_some() {
                self.info(&format!("Interpolated dir '{}'", path.display()));
            }
            match self.host.admit(self.request(asked, switch, &path)) {
                Ok(admitted) => return Ok(admitted),
                Err(refusal) => refused = Some(refusal),
            }
            if !matches!(refused, Some(Refusal::NotARepository { .. })) {
                break;
            }
        }
        let told = match refused {
            Some(refusal @ Refusal::NotEnabled { .. }) => {
                self.error(&format!("{refusal}"));
                "service not enabled"
            }
            Some(refusal @ Refusal::NotExported { .. }) => {
                self.error(&format!("{refusal}."));
                "repository not exported"
            }
            Some(refusal @ Refusal::Busy { .. }) => {
                self.error(&refusal.to_string());
                "the server is busy; try again"
            }
            Some(refusal) => {
                self.error(&refusal.to_string());
                no_such
            }
            None => no_such,
        };
        Err(told.to_owned())
    }

    fn request(&self, asked: &DaemonRequest, switch: Switch, path: &Path) -> Request {
        let home = std::env::var_os("HOME");
        let expanded = match self.rules.strict_paths {
            true => None,
            false => host::expand_user(path, home.as_deref().map(Path::new)),
        };
        Request {
            repository: RepositoryName::local_path(expanded.as_deref().unwrap_or(path)),
            task: Task::Smart {
                service: asked.service,
                exchange: Exchange::Conversation,
                protocol: asked.protocol.of_service(asked.service),
            },
            caller: Caller { identity: None, address: self.peer.map(|peer| peer.ip()) },
            road: Road::Daemon(switch),
        }
    }
}

/// The name of a service without `git-`.
fn short(service: Service) -> &'static str {
    service.name().strip_prefix("git-").unwrap_or(service.name())
}
