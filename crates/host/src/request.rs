//! What a front-end knows of a request before anybody decided about it.

use std::net::IpAddr;

use serve::Exchange;
use wire::{Protocol, Service};

use crate::RepositoryName;

/// Who asks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller {
    /// The name the caller proved to have, if any.
    pub name: Option<String>,
    /// Where the request comes from; `None` for a process on this machine.
    pub address: Option<IpAddr>,
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
}

impl Task {
    /// Whether the task may change the repository.
    pub fn writes(&self) -> bool {
        matches!(self, Task::Smart { service: Service::ReceivePack, .. })
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
}
