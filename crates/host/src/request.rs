//! What a front-end knows of a request before anybody decided about it.

use std::net::IpAddr;

use access::{Identity, Level};
use bstr::BString;
use gitconfig::Config;
use serve::Exchange;
use wire::{Protocol, Service};

use crate::{Cursor, Refusal, RepositoryName};

/// Who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// Who he has shown to be, if he has.
    pub identity: Option<Identity>,
    /// Where the request comes from; `None` for a process on this machine.
    pub address: Option<IpAddr>,
}

/// Whoever has one address of a network of IPv6 has all of them.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) => {
            let network = u128::from(address) >> 64 << 64;
            IpAddr::V6(network.into())
        }
        address => address,
    }
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// A conversation in Git's smart protocol.
    Smart {
        /// Which of Git's services.
        service: Service,
        /// How far the exchange goes.
        exchange: Exchange,
        /// The protocol version the client asked for.
        protocol: Protocol,
    },
    /// A file of the repository, as old HTTP clients read it.
    File {
        /// Its path inside the repository, for example `info/refs`.
        path: String,
    },
    /// To be told what becomes of refs.
    Watch {
        /// How the refs were when the caller saw them last.
        since: Option<Cursor>,
        /// How the names begin that he wants to hear of; none stand for all.
        prefixes: Vec<BString>,
    },
}

impl Task {
    /// Its name in logs, and how much one has to be allowed for it.
    pub(crate) fn kind(&self) -> (&'static str, Level) {
        match self {
            Task::Smart { service, .. } => {
                let name = service.name();
                (name.strip_prefix("git-").unwrap_or(name), self.level())
            }
            Task::File { .. } => ("file", Level::Read),
            Task::Watch { .. } => ("watch", Level::Read),
        }
    }

    fn level(&self) -> Level {
        if self.writes() { Level::Write } else { Level::Read }
    }

    /// Whether the task may change the repository.
    pub fn writes(&self) -> bool {
        matches!(self, Task::Smart { service: Service::ReceivePack, .. })
    }
}

/// By which road a request came. Repositories may close a road to themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Road {
    /// HTTP. Closed by `http.uploadpack`, `http.receivepack` and `http.getanyfile`; for those who have
    /// not shown who they are, archives are opened by `http.uploadarchive` (git-http-backend(1)).
    Http,
    /// git://. Closed by `daemon.uploadpack`, `daemon.receivepack` and `daemon.uploadarch`
    /// (git-daemon(1)).
    Git,
    /// SSH, where everybody is somebody. Never closed.
    Ssh,
    /// The standard streams of a process that runs with the caller's rights. Never closed.
    Stdio,
    /// HTTP, by way of a web server that starts a program for each request. Closed by the settings of
    /// [`Road::Http`]; what holds without them is said here.
    Cgi(Switch),
    /// git://, with the rules of git-daemon(1): closed by the settings of [`Road::Git`] where they count.
    Daemon(Switch),
}

/// Whether a service is there unless the repository says otherwise, and whether it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Switch {
    /// What holds without a setting of the repository.
    pub on: bool,
    /// Whether such a setting counts.
    pub repository_decides: bool,
}

impl Road {
    /// Its name in logs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Road::Http => "http",
            Road::Git => "git",
            Road::Ssh => "ssh",
            Road::Stdio => "stdio",
            Road::Cgi(_) => "cgi",
            Road::Daemon(_) => "daemon",
        }
    }
}

/// A request that nobody has decided about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The repository, by the name the caller gave it.
    pub repository: RepositoryName,
    /// What is asked for.
    pub task: Task,
    /// Who asks.
    pub caller: Caller,
    /// How the request came.
    pub road: Road,
}

impl Request {
    /// Whether the repository's own configuration has turned this off. A setting that is no
    /// boolean turns off too: somebody meant to restrict something.
    pub(crate) fn check_allowed_by(&self, config: &Config) -> Result<(), Refusal> {
        let Some(key) = self.key() else { return Ok(()) };
        if let Road::Cgi(switch) | Road::Daemon(switch) = self.road {
            return self.check_switch(switch, key, config);
        }
        // Making archives costs more than sending what is stored.
        let archive = matches!(&self.task, Task::Smart { service: Service::UploadArchive, .. });
        let opened = !archive || self.road != Road::Http || self.caller.identity.is_some();
        match config.bool(key) {
            Ok(Some(true)) => Ok(()),
            Ok(None) if opened => Ok(()),
            Ok(None) => Err(Refusal::Forbidden {
                words: format!("the repository's configuration does not turn this on ({key})"),
            }),
            Ok(Some(false)) | Err(_) => Err(Refusal::Forbidden {
                words: format!("the repository's configuration turns this off ({key})"),
            }),
        }
    }

    /// The setting by which a repository closes this road.
    fn key(&self) -> Option<&'static str> {
        let service = match &self.task {
            Task::Smart { service, .. } => *service,
            Task::Watch { .. } | Task::File { .. } => Service::UploadPack,
        };
        let is_file = matches!(self.task, Task::File { .. });
        match (self.road, service) {
            (Road::Ssh | Road::Stdio, _) => None,
            (Road::Http | Road::Cgi(_), _) if is_file => Some("http.getanyfile"),
            (Road::Http | Road::Cgi(_), Service::UploadPack) => Some("http.uploadpack"),
            (Road::Http | Road::Cgi(_), Service::ReceivePack) => Some("http.receivepack"),
            (Road::Http | Road::Cgi(_), Service::UploadArchive) => Some("http.uploadarchive"),
            (Road::Git | Road::Daemon(_), Service::UploadPack) => Some("daemon.uploadpack"),
            (Road::Git | Road::Daemon(_), Service::ReceivePack) => Some("daemon.receivepack"),
            (Road::Git | Road::Daemon(_), Service::UploadArchive) => Some("daemon.uploadarch"),
        }
    }

    /// As git's own programs do, which give up over a setting that is no boolean.
    fn check_switch(&self, switch: Switch, key: &str, config: &Config) -> Result<(), Refusal> {
        let said = match switch.repository_decides {
            true => {
                config.bool(key).map_err(|error| Refusal::Forbidden { words: error.to_string() })?
            }
            false => None,
        };
        match said.unwrap_or(switch.on) {
            true => Ok(()),
            false => Err(Refusal::NotEnabled { service: self.task.kind().0 }),
        }
    }
}
