//! Contents of git-annex, to and from remotes: an extension that a caller has to ask for (docs/remote-daemon-protocol.md).
//!
//! Each remote has a queue, and, while there is something in it, a worker with one connection, to the first of its
//! nodes that has git-annex-shell.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bstr::BString;
use client::{AnnexKey, AnnexStore, Error, RemoteUrl};
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;

use crate::git::Repository;
use crate::listener::until;
use crate::note::Note;
use crate::settings::Remote;

/// Transfers of one remote that wait, at most.
const WAITING_MAX: usize = 10_000;
/// How often progress is told, at most.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);

/// The extension's name.
pub const ANNEX: &str = "ANNEX";

/// What is done with a content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// It goes to the remote.
    Store,
    /// It comes from there.
    Retrieve,
    /// It is looked whether it is there.
    Check,
}

/// One content of one remote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transfer {
    /// What is done with it.
    pub direction: Direction,
    /// The remote.
    pub remote: BString,
    /// By what git-annex knows the content.
    pub key: AnnexKey,
    /// The file it is in, or is to be in; nothing for a look.
    pub file: PathBuf,
}

impl Transfer {
    /// How it ended.
    pub fn ended(&self, outcome: Outcome) -> Note {
        let Transfer { direction, remote, key, .. } = self.clone();
        Note::Transferred { direction, remote, key, outcome }
    }
}

/// How a transfer ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It went well; of a look, it is there.
    Well,
    /// Of a look: it is not there.
    Absent,
    /// Why it did not.
    Failed(String),
}

/// What waits, of all remotes.
#[derive(Default)]
pub struct Transfers {
    waiting: Arc<Waiting>,
    workers: JoinSet<()>,
    /// How many workers there have been.
    begun: u64,
}

/// What waits for one worker.
struct Queue {
    worker: u64,
    transfers: VecDeque<Transfer>,
    /// The worker ends with it.
    _goes_on: oneshot::Sender<()>,
}

type Waiting = Mutex<BTreeMap<BString, Queue>>;

fn lock(waiting: &Waiting) -> MutexGuard<'_, BTreeMap<BString, Queue>> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Transfers {
    /// One more, unless it waits already; words, when it cannot be.
    pub fn add(
        &mut self,
        transfer: Transfer,
        remote: &Arc<Remote>,
        (repository, notes, paused): (&Arc<Repository>, &mpsc::Sender<Note>, watch::Receiver<bool>),
    ) -> Result<(), Note> {
        // Those that have ended are let go.
        while self.workers.try_join_next().is_some() {}
        let mut waiting = lock(&self.waiting);
        let name = transfer.remote.clone();
        if let Some(queue) = waiting.get_mut(&name) {
            if queue.transfers.len() >= WAITING_MAX {
                let words = format!("{WAITING_MAX} transfers wait already");
                return Err(transfer.ended(Outcome::Failed(words)));
            }
            if !queue.transfers.contains(&transfer) {
                queue.transfers.push_back(transfer);
            }
            return Ok(());
        }
        self.begun += 1;
        let (goes_on, ends) = oneshot::channel();
        let transfers = VecDeque::from([transfer]);
        waiting.insert(name, Queue { worker: self.begun, transfers, _goes_on: goes_on });
        drop(waiting);
        let worker = Worker {
            number: self.begun,
            remote: remote.clone(),
            repository: repository.clone(),
            notes: notes.clone(),
            waiting: self.waiting.clone(),
            store: None,
        };
        self.workers.spawn(worker.run(paused, ends));
        Ok(())
    }

    /// Ends those of a remote; they have not been answered.
    pub fn end(&mut self, remote: &BString) -> VecDeque<Transfer> {
        lock(&self.waiting).remove(remote).map(|queue| queue.transfers).unwrap_or_default()
    }
}

/// Works off the queue of one remote.
struct Worker {
    /// Which one it is.
    number: u64,
    remote: Arc<Remote>,
    repository: Arc<Repository>,
    notes: mpsc::Sender<Note>,
    waiting: Arc<Waiting>,
    store: Option<AnnexStore>,
}

impl Worker {
    async fn run(mut self, mut paused: watch::Receiver<bool>, mut ends: oneshot::Receiver<()>) {
        while let Some(transfer) = self.first() {
            let outcome = tokio::select! {
                outcome = async {
                    until(&mut paused, false).await;
                    tokio::select! {
                        outcome = self.transfer(&transfer) => Some(outcome),
                        () = until(&mut paused, true) => None,
                    }
                } => outcome,
                _ = &mut ends => return,
            };
            let Some(outcome) = outcome else {
                // From where it was, when it goes on.
                self.store = None;
                continue;
            };
            // Whoever says it again from now on wants it again.
            if self.settle() {
                // If nobody listens any more, this ends soon.
                let _ = self.notes.send(transfer.ended(outcome)).await;
            }
        }
    }

    /// What is to be done next. With the last, the queue goes.
    fn first(&self) -> Option<Transfer> {
        let mut waiting = lock(&self.waiting);
        let queue = waiting.get(&self.remote.name).filter(|queue| queue.worker == self.number)?;
        let first = queue.transfers.front().cloned();
        if first.is_none() {
            waiting.remove(&self.remote.name);
        }
        first
    }

    /// One is done; unless it is somebody else's by now.
    fn settle(&self) -> bool {
        let mut waiting = lock(&self.waiting);
        let queue = waiting.get_mut(&self.remote.name).filter(|one| one.worker == self.number);
        queue.and_then(|queue| queue.transfers.pop_front()).is_some()
    }

    async fn transfer(&mut self, transfer: &Transfer) -> Outcome {
        match self.attempt(transfer).await {
            Ok(outcome) => outcome,
            Err(words) => {
                // Nobody knows what the other end would say next.
                self.store = None;
                Outcome::Failed(words)
            }
        }
    }

    async fn attempt(&mut self, transfer: &Transfer) -> Result<Outcome, String> {
        let Transfer { direction, key, file, .. } = transfer;
        let in_file = |error: std::io::Error| format!("'{}': {error}", file.display());
        let mut options = tokio::fs::OpenOptions::new();
        options.read(true);
        let mut opened = match direction {
            Direction::Check => None,
            Direction::Store => Some(options.open(file).await.map_err(in_file)?),
            Direction::Retrieve => {
                options.write(true).create(true).truncate(false);
                Some(options.open(file).await.map_err(in_file)?)
            }
        };
        let mut store = match self.store.take() {
            Some(store) => store,
            None => self.connect().await?,
        };
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut told = Instant::now();
        let mut progress = |bytes: u64| {
            if told.elapsed() >= PROGRESS_EVERY {
                told = Instant::now();
                let (remote, key) = (transfer.remote.clone(), key.clone());
                // Whoever does not keep up does without.
                let _ = self.notes.try_send(Note::Progress { remote, key, bytes });
            }
        };
        let failed = |error: Error| error.to_string();
        let outcome = match (direction, &mut opened) {
            (Direction::Store, Some(file)) => {
                store.put(key, &name, file, &mut progress).await.map_err(failed)?;
                Outcome::Well
            }
            (Direction::Retrieve, Some(opened)) => {
                store.get(key, &name, opened, &mut progress).await.map_err(failed)?;
                opened.sync_data().await.map_err(in_file)?;
                check(key, file).await?
            }
            _ => match store.has(key).await.map_err(failed)? {
                true => Outcome::Well,
                false => Outcome::Absent,
            },
        };
        self.store = Some(store);
        Ok(outcome)
    }

    /// Connects to the first node that stores contents.
    async fn connect(&mut self) -> Result<AnnexStore, String> {
        let own = self.repository.git.line(&["config", "annex.uuid"]).await;
        let own = own.ok_or("git-annex does not know this repository: git annex init")?;
        let mut failures = Vec::new();
        for node in &self.remote.nodes {
            let Some(url @ (RemoteUrl::Ssh { .. } | RemoteUrl::Local(_))) = &node.url else {
                continue;
            };
            match AnnexStore::open(url, &own, &node.options).await {
                Ok(store) if self.is_known(store.uuid()) => {
                    let words = format!("contents by {} ({})", node.shown(), store.uuid());
                    let remote = self.remote.name.clone();
                    let _ = self.notes.send(Note::Status { remote, words }).await;
                    return Ok(store);
                }
                Ok(store) => {
                    let words = "is none that remote.NAME.annex-uuid names";
                    failures.push(format!("{}: {} {words}", node.shown(), store.uuid()));
                }
                Err(error) => failures.push(format!("{}: {error}", node.shown())),
            }
        }
        match failures.is_empty() {
            true => Err("contents come and go by ssh and in folders only".to_owned()),
            false => Err(failures.join("; ")),
        }
    }

    fn is_known(&self, uuid: &str) -> bool {
        let known = &self.remote.annex_uuids;
        known.is_empty() || known.iter().any(|known| known == uuid)
    }
}

/// Whether a content is what its key says, where that is a checksum of the SHA-2 family. What is not is no use
/// to anybody and goes.
async fn check(key: &AnnexKey, file: &Path) -> Result<Outcome, String> {
    let (key, path) = (key.clone(), file.to_owned());
    let checked = tokio::task::spawn_blocking(move || is_right(&key, &path)).await;
    match checked.map_err(|error| error.to_string())? {
        Ok(true) => Ok(Outcome::Well),
        Ok(false) => {
            let _ = tokio::fs::remove_file(file).await;
            Ok(Outcome::Failed("what came is not what the key says".to_owned()))
        }
        Err(error) => Err(format!("'{}': {error}", file.display())),
    }
}

fn is_right(key: &AnnexKey, path: &Path) -> std::io::Result<bool> {
    let (backend, name) = key.backend_and_name();
    let (expected, extended) = match backend.strip_suffix('E') {
        Some(_) => (name.split('.').next().unwrap_or_default(), true),
        None => (name, false),
    };
    let found = match if extended { &backend[..backend.len() - 1] } else { backend } {
        "SHA224" => digest::<Sha224>(path)?,
        "SHA256" => digest::<Sha256>(path)?,
        "SHA384" => digest::<Sha384>(path)?,
        "SHA512" => digest::<Sha512>(path)?,
        _ => return Ok(true),
    };
    Ok(found == expected)
}

fn digest<D: Digest>(path: &Path) -> std::io::Result<String> {
    let (mut file, mut digest) = (std::fs::File::open(path)?, D::new());
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => digest.update(&buffer[..count]),
        }
    }
    let mut text = String::new();
    for byte in digest.finalize() {
        // Nothing can go wrong when a String is written to.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_are_checked_by_their_keys() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("x");
        std::fs::write(&path, "abc").expect("a file");
        // FIPS 180-4's example.
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        for (key, right) in [
            (format!("SHA256-s3--{abc}"), true),
            (format!("SHA256E-s3--{abc}.tar.gz"), true),
            (format!("SHA512-s3--{abc}"), false),
            (format!("SHA256-s3--{abc}.gz"), false),
            ("WORM-s3-m1--x".to_owned(), true),
        ] {
            let is = is_right(&key.parse().expect("a key"), &path).expect("read");
            assert_eq!(is, right, "{key}");
        }
    }
}
