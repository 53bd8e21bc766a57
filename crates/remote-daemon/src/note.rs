//! What the daemon has to say, and what it is told.

use bstr::BString;
use client::AnnexKey;

use crate::transfer::{Direction, Outcome, Transfer};

/// Something to be told to whoever listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// Refs of a remote are others than they were.
    Changed {
        /// The remote.
        remote: BString,
        /// Their names there.
        refs: Vec<BString>,
    },
    /// How it goes.
    Status {
        /// The remote; empty for all.
        remote: BString,
        /// Words for a person.
        words: String,
    },
    /// What went wrong. The daemon goes on.
    Error {
        /// The remote; empty for all.
        remote: BString,
        /// Words for a person.
        words: String,
    },
    /// A node is listened to.
    Connected {
        /// The remote.
        remote: BString,
        /// Its address, without a password.
        url: String,
        /// By which way.
        way: &'static str,
    },
    /// It is not any more.
    Disconnected {
        /// The remote.
        remote: BString,
        /// Its address, without a password.
        url: String,
    },
    /// A fetch or push begins.
    Syncing {
        /// The remote.
        remote: BString,
    },
    /// Extensions of the protocol that are spoken from now on.
    Extensions {
        /// Their names.
        names: Vec<&'static str>,
    },
    /// So much of a content has come or gone.
    Progress {
        /// The remote.
        remote: BString,
        /// The content.
        key: AnnexKey,
        /// Bytes.
        bytes: u64,
    },
    /// A content has come or gone, or has not.
    Transferred {
        /// What was to be done with it.
        direction: Direction,
        /// The remote.
        remote: BString,
        /// The content.
        key: AnnexKey,
        /// How it ended.
        outcome: Outcome,
    },
    /// And has ended.
    Synced {
        /// The remote.
        remote: BString,
        /// Whether it went well.
        well: bool,
    },
}

impl Note {
    /// The remote it is about; empty for all.
    pub fn remote(&self) -> &BString {
        match self {
            Note::Changed { remote, .. }
            | Note::Status { remote, .. }
            | Note::Error { remote, .. }
            | Note::Connected { remote, .. }
            | Note::Disconnected { remote, .. }
            | Note::Syncing { remote }
            | Note::Progress { remote, .. }
            | Note::Transferred { remote, .. }
            | Note::Synced { remote, .. } => remote,
            Note::Extensions { .. } => const { &BString::new(Vec::new()) },
        }
    }
}

/// What the daemon is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Close all connections, and wait.
    Pause,
    /// Go on.
    Resume,
    /// Push to a remote, as soon as that is possible.
    Push(BString),
    /// Speak extensions, as far as they are known: their names.
    Extend(Vec<BString>),
    /// Bring a content of git-annex there, or here.
    Transfer(Transfer),
    /// Read the configuration again.
    Reload,
    /// Look at every remote now: the network may have come back.
    Retry,
    /// End.
    Stop,
}
