//! Forks: repositories of a store that begin with the refs of another one, and borrow its objects.
//!
//! Whoever lends drops nothing any more. He is told before anybody borrows, and while no maintenance
//! is at work that does not know; he is released after what was borrowed is the borrower's own, or
//! after the borrower is gone. A crash in between leaves a lender that keeps what nobody needs.

use std::io::Write as _;
use std::time::{Duration, Instant};

use bstr::ByteSlice as _;
use object::RefName;
use storage::forks::{ALTERNATES, BORROWERS, BORROWS_KEY, alternates_line, borrowers, lenders};
use storage::{BlobStore, NewRepository, Parts, RepositoryStore, Stage, Target};

use crate::connectivity::check_connected;
use crate::error::Result;
use crate::maintenance::upkeep::LOCK;
use crate::progress::Progress;
use crate::repository::{Repository, Settings};
use crate::transfer::{RefList, Transfer, copy_files};

/// Refs a fork begins with: branches and tags.
const FORKED: [&str; 2] = ["refs/heads/", "refs/tags/"];

/// How long a reserved name is tried again.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// Makes a fork; whether there was no repository of that name.
///
/// # Errors
/// [`storage::Error::NotFound`] for no such lender; [`storage::Error::Locked`] when others keep the lender
/// locked for longer than `wait`, such as a long round of maintenance; those of the store.
pub fn fork(store: &dyn RepositoryStore, lender: &str, name: &str, wait: Duration) -> Result<bool> {
    storage::check_repository_name(name)?;
    if store.find(name)?.is_some() {
        return Ok(false);
    }
    let (stored, from) = open(store, lender)?;
    if from.alternate_refs.len() >= storage::forks::NESTING_MAX {
        let detail = format!(
            "it borrows through {} others already; separate it first",
            from.alternate_refs.len()
        );
        return Err(storage::Error::Refused { what: lender.to_owned(), detail }.into());
    }
    // Nobody drops objects without having seen who borrows.
    let _quiet = reserved(&*from.blobs, LOCK, wait)?;
    let enter = || {
        rewrite_borrowers(&*from.blobs, wait, |names| {
            names.push(name.to_owned());
            Ok(())
        })
    };
    enter()?;
    let refs = RefList::read(&*from.refs)?.only(&FORKED);
    let head = match refs.head() {
        Some(Target::Symbolic(branch)) => branch.clone(),
        _ => RefName::new("refs/heads/main").expect("a valid name"),
    };
    let config = with_borrows(&stored.config, true);
    let made = store.create(name, &NewRepository { hash: stored.hash, head, config: &config })?;
    if !made {
        // Somebody was faster; perhaps with the same.
        release(store, lender, name, wait)?;
        return Ok(false);
    }
    let (_, to) = open(store, name)?;
    let mut stage = to.blobs.stage()?;
    let mut file = stage.create(ALTERNATES)?;
    let line = alternates_line(name, lender);
    file.write_all(line.as_bytes()).map_err(|error| storage::Error::io(ALTERNATES, error))?;
    file.finish()?;
    stage.publish()?;
    // Whoever had this name before may have been released meanwhile. From here on it is seen who has it now.
    enter()?;
    let (_, to) = open(store, name)?;
    RefList::read(&*to.refs)?.become_of(&refs, &*to.refs)?;
    Ok(true)
}

/// Copies what a repository borrows into it, and releases its lenders; what was copied.
///
/// Requests that began before may still take what lenders have for present. They get so much time (`grace`)
/// to end before it is looked once more whether all is there.
///
/// # Errors
/// [`storage::Error::NotFound`] for no such repository, [`crate::Error::Missing`] when it is not whole without its
/// lenders even so: then these keep what they have; those of the store.
pub fn separate(
    store: &dyn RepositoryStore,
    name: &str,
    (wait, grace): (Duration, Duration),
    progress: &mut dyn Progress,
) -> Result<Transfer> {
    let (mut stored, mut parts) = open(store, name)?;
    let lenders = lenders(name, &*parts.blobs)?;
    let mut transfer = Transfer { rounds: 1, ..Transfer::default() };
    if lenders.is_empty() {
        return Ok(transfer);
    }
    // Servers that have a borrower of this one open would go on with its lenders, which promise nothing
    // any more.
    let _quiet = reserved(&*parts.blobs, BORROWERS, wait)?;
    refuse_while_lent(store, name, &*parts.blobs, "separated")?;
    if parts.alternate_refs.is_empty() {
        // It was begun before, and did not come to its end.
        set_borrows(store, name, &stored, true)?;
        (stored, parts) = open(store, name)?;
    }
    let alone = Parts { alternates: Vec::new(), ..parts.clone() };
    copy_files(&parts, &alone, &mut transfer, progress)?;
    check_whole(&alone, progress)?;
    // From here on nobody borrows who opens it.
    set_borrows(store, name, &stored, false)?;
    std::thread::sleep(grace);
    copy_files(&parts, &alone, &mut transfer, progress)?;
    check_whole(&alone, progress)?;
    alone.blobs.delete(ALTERNATES)?;
    for lender in lenders {
        release(store, &lender, name, wait)?;
    }
    Ok(transfer)
}

fn check_whole(parts: &Parts, progress: &mut dyn Progress) -> Result<()> {
    let refs = RefList::read(&*parts.refs)?;
    let repository = Repository::open(parts.clone(), Settings::default());
    check_connected(&repository.objects()?, &refs.ids(), &[], refs.shallow(), progress)
}

/// Removes a repository, and releases its lenders; whether there was one.
///
/// # Errors
/// [`storage::Error::Refused`] while others borrow from it; those of the store.
pub fn remove(store: &dyn RepositoryStore, name: &str, wait: Duration) -> Result<bool> {
    let Some(stored) = store.find(name)? else { return Ok(false) };
    let own = store.own_parts(name, &stored)?;
    // Nobody becomes a borrower meanwhile, nor is about to.
    let forking = reserved(&*own.blobs, LOCK, wait)?;
    let quiet = reserved(&*own.blobs, BORROWERS, wait)?;
    refuse_while_lent(store, name, &*own.blobs, "removed")?;
    let lenders = lenders(name, &*own.blobs)?;
    let removed = store.remove(name)?;
    drop((quiet, forking));
    for lender in lenders {
        release(store, &lender, name, wait)?;
    }
    Ok(removed)
}

fn refuse_while_lent(
    store: &dyn RepositoryStore,
    name: &str,
    blobs: &dyn BlobStore,
    what: &str,
) -> Result<()> {
    let names = present(store, name, borrowers(blobs)?)?;
    if names.is_empty() {
        return Ok(());
    }
    let detail = format!(
        "'{name}' cannot be {what}: {} borrow its objects; separate or remove these first",
        names.join(", ")
    );
    Err(storage::Error::Refused { what: name.to_owned(), detail }.into())
}

/// Of those who are said to borrow from a repository, those who do.
fn present(store: &dyn RepositoryStore, lender: &str, names: Vec<String>) -> Result<Vec<String>> {
    let mut present = Vec::new();
    for name in names {
        let Some(stored) = store.find(&name)? else { continue };
        let own = store.own_parts(&name, &stored)?;
        if lenders(&name, &*own.blobs)?.iter().any(|one| one == lender) {
            present.push(name);
        }
    }
    Ok(present)
}

fn open(store: &dyn RepositoryStore, name: &str) -> Result<(storage::Stored, Parts)> {
    let missing = || storage::Error::not_found(format!("the repository '{name}'"));
    let stored = store.find(name)?.ok_or_else(missing)?;
    let parts = store.parts_of(name, &stored)?;
    Ok((stored, parts))
}

/// What a configuration says of whether a repository may have lenders.
fn borrows_lines(borrows: bool) -> Vec<u8> {
    let (section, key) = BORROWS_KEY.split_once('.').expect("a section and a key");
    format!("\n[{section}]\n\t{key} = {borrows}\n").into_bytes()
}

/// Says in the configuration whether there may be lenders.
fn set_borrows(
    store: &dyn RepositoryStore,
    name: &str,
    found: &storage::Stored,
    borrows: bool,
) -> Result<()> {
    let mut found = found.clone();
    loop {
        let config = with_borrows(&found.config, borrows);
        if config == found.config || store.configure(name, &found, &config)? {
            return Ok(());
        }
        let gone = || storage::Error::not_found(format!("the repository '{name}'"));
        found = store.find(name)?.ok_or_else(gone)?;
    }
}

fn with_borrows(config: &[u8], borrows: bool) -> Vec<u8> {
    let lines = borrows_lines(true);
    match (config.find(&lines), borrows) {
        // Somebody wrote it in another way: what comes last counts, and servers see that it is another one.
        (None, _) => [config, &borrows_lines(borrows)].concat(),
        (Some(at), false) => [&config[..at], &config[at + lines.len()..]].concat(),
        (Some(_), true) => config.to_vec(),
    }
}

/// A lender has one borrower less, unless another one has taken his name and borrows, too.
fn release(store: &dyn RepositoryStore, lender: &str, name: &str, wait: Duration) -> Result<()> {
    let Some(stored) = store.find(lender)? else { return Ok(()) };
    let own = store.own_parts(lender, &stored)?;
    rewrite_borrowers(&*own.blobs, wait, |names| {
        if present(store, lender, vec![name.to_owned()])?.is_empty() {
            names.retain(|other| other != name);
        }
        Ok(())
    })
}

fn rewrite_borrowers(
    blobs: &dyn BlobStore,
    wait: Duration,
    change: impl FnOnce(&mut Vec<String>) -> Result<()>,
) -> Result<()> {
    let mut stage = reserved(blobs, BORROWERS, wait)?;
    let before = borrowers(blobs)?;
    let mut names = before.clone();
    change(&mut names)?;
    names.sort_unstable();
    names.dedup();
    if names == before {
        return Ok(());
    }
    if names.is_empty() {
        return Ok(blobs.delete(BORROWERS)?);
    }
    let text: String = names.iter().map(|name| format!("{name}\n")).collect();
    let mut file = stage.create(BORROWERS)?;
    file.write_all(text.as_bytes()).map_err(|error| storage::Error::io(BORROWERS, error))?;
    file.finish()?;
    Ok(stage.publish()?)
}

/// A stage that has reserved a name, as soon as nobody else has.
fn reserved(blobs: &dyn BlobStore, name: &str, wait: Duration) -> Result<Box<dyn Stage>> {
    let end = Instant::now() + wait;
    loop {
        let mut stage = blobs.stage()?;
        match stage.replace(name) {
            Err(storage::Error::Locked { .. }) if Instant::now() < end => {
                std::thread::sleep(LOCK_PAUSE);
            }
            reserved => return Ok(reserved.map(|()| stage)?),
        }
    }
}
