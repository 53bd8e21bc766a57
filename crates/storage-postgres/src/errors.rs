//! What the database says, in the words of storage errors.

use std::error::Error as _;
use std::io;

use postgres::error::SqlState;
use storage::Error;

/// Names the database in what went wrong with it.
pub(crate) fn failed(what: &str) -> impl FnOnce(postgres::Error) -> Error {
    move |error| sorted(what, &error)
}

fn sorted(what: &str, error: &postgres::Error) -> Error {
    let (what, words) = (what.to_owned(), words(error));
    let source = |kind| io::Error::new(kind, words.clone());
    let Some(state) = error.code() else {
        return match error.is_closed() || system_error(error).is_some() {
            true => {
                let kind = system_error(error).unwrap_or(io::ErrorKind::ConnectionReset);
                Error::Unavailable { what, source: source(kind) }
            }
            false => Error::Io { what, source: source(io::ErrorKind::Other) },
        };
    };
    if is_locked(error) {
        return Error::Locked { what, lock: "another transaction".to_owned() };
    }
    // Classes are the first two characters (PostgreSQL's documentation, appendix A).
    match &state.code()[..2] {
        "28" => Error::Refused { detail: format!("{what}: {words}"), what },
        "53" if *state == SqlState::DISK_FULL => {
            Error::Full { what, source: source(io::ErrorKind::StorageFull) }
        }
        "08" | "53" | "57" | "58" => {
            Error::Unavailable { what, source: source(io::ErrorKind::ResourceBusy) }
        }
        // A deadlock, or rows that changed under a transaction: the same call may succeed now.
        "40" => Error::Unavailable { what, source: source(io::ErrorKind::ResourceBusy) },
        "25" if *state == SqlState::READ_ONLY_SQL_TRANSACTION => {
            Error::ReadOnly { what, source: source(io::ErrorKind::ReadOnlyFilesystem) }
        }
        "42" if *state == SqlState::INSUFFICIENT_PRIVILEGE => {
            Error::ReadOnly { what, source: source(io::ErrorKind::PermissionDenied) }
        }
        "XX" => Error::corrupt(what, words),
        _ => Error::Io { what, source: source(io::ErrorKind::Other) },
    }
}

/// The error and what it comes from, in one line.
fn words(error: &postgres::Error) -> String {
    if let Some(said) = error.as_db_error() {
        let detail = said.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
        return format!("{}{detail}", said.message());
    }
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_words = inner.to_string();
        if !words.contains(&inner_words) {
            words = format!("{words}: {inner_words}");
        }
        source = inner.source();
    }
    words
}

/// What the system said, if it was the system.
fn system_error(error: &postgres::Error) -> Option<io::ErrorKind> {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(inner) = inner.downcast_ref::<io::Error>() {
            return Some(inner.kind());
        }
        source = inner.source();
    }
    None
}

/// Whether the database ended the connection; the client may not have noticed yet.
pub(crate) fn is_ended(error: &postgres::Error) -> bool {
    let ends = [SqlState::ADMIN_SHUTDOWN, SqlState::CRASH_SHUTDOWN];
    error.is_closed() || error.code().is_some_and(|state| ends.contains(state))
}

/// Whether somebody else held a lock for longer than the transaction waits.
pub(crate) fn is_locked(error: &postgres::Error) -> bool {
    error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE)
}

/// What a row belongs to.
pub(crate) enum Parent {
    Repository,
    Node,
}

/// What is there no more, when a row was refused because of that.
pub(crate) fn orphan_of(error: &postgres::Error) -> Option<Parent> {
    if error.code() != Some(&SqlState::FOREIGN_KEY_VIOLATION) {
        return None;
    }
    // PostgreSQL calls such a constraint TABLE_COLUMN_fkey.
    let constraint = error.as_db_error().and_then(|said| said.constraint());
    match constraint.is_some_and(|name| name.contains("_node_")) {
        true => Some(Parent::Node),
        false => Some(Parent::Repository),
    }
}

/// What is said to somebody who writes to such a repository.
pub(crate) fn removed() -> Error {
    Error::not_found("the repository, which was removed")
}
