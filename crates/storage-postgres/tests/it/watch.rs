//! Who watches hears what other servers do, also when notifications get lost.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use object::{HashKind, RefName};
use storage::{Moved, RepositoryStore as _, conformance};
use storage_postgres::{OpenOptions, PgStore};
use testkit::Postgres;

use crate::{edit, made, open, transaction};

/// Long enough for every machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whoever is not notified never looks by himself while a test runs.
fn only_notified() -> OpenOptions {
    OpenOptions { watch_poll: Duration::from_secs(600), ..OpenOptions::default() }
}

fn never_notified() -> OpenOptions {
    let watch_poll = Duration::from_millis(20);
    OpenOptions { watch_poll, listen: false, ..OpenOptions::default() }
}

fn conforms(url: &str, watcher: &OpenOptions, hash: HashKind) {
    let writer = open(url);
    let watcher = PgStore::open(url, watcher).expect("opens");
    let count = Mutex::new(0);
    conformance::watch::run(hash, &|| {
        let mut count = count.lock().expect("not poisoned");
        *count += 1;
        let name = format!("w{count}");
        let refs = made(&writer, &name, hash).refs;
        (refs, watcher.parts(&name).expect("readable").expect("just made").refs)
    });
}

#[test]
fn watching_conforms() {
    let server = Postgres::shared();
    conforms(&server.database(), &OpenOptions::default(), HashKind::Sha256);
    conforms(&server.database(), &never_notified(), HashKind::Sha1);
}

#[test]
fn notifications_come_at_once() {
    let server = Postgres::shared();
    let url = server.database();
    let (writer, watcher) = (open(&url), PgStore::open(&url, &only_notified()).expect("opens"));
    let refs = made(&writer, "r", HashKind::Sha1).refs;
    let watched = watcher.parts("r").expect("readable").expect("just made").refs;
    let (tell, told) = channel();
    let watching = watched.watch(Arc::new(move |moved| {
        let moved = match moved {
            Moved::Names(names) => names.to_vec(),
            Moved::Somehow => Vec::new(),
        };
        tell.send(moved).unwrap_or_default();
    }));
    let watching = watching.expect("watched");
    // The connection that listens has been made when the first look is over.
    assert!(told.recv_timeout(PATIENCE).expect("told to look").is_empty());
    for number in 0..20 {
        let name = format!("refs/heads/{number}");
        refs.commit(transaction(vec![edit(&name, None, Some(1))])).expect("fine");
        let heard = told.recv_timeout(PATIENCE).expect("notified");
        assert_eq!(heard, [RefName::new(name).expect("a name")]);
    }
    drop(watching);
}

#[test]
fn what_happens_while_a_connection_is_lost_is_heard() {
    let server = Postgres::shared();
    let url = server.database();
    let (writer, watcher) = (open(&url), open(&url));
    let refs = made(&writer, "r", HashKind::Sha1).refs;
    let watched = watcher.parts("r").expect("readable").expect("just made").refs;
    let (tell, told) = channel();
    let watching = watched.watch(Arc::new(move |_| tell.send(()).unwrap_or_default()));
    let watching = watching.expect("watched");
    told.recv_timeout(PATIENCE).expect("told to look");
    let database = url.rsplit('/').next().expect("a name");
    let ended = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()";
    for round in 0..3 {
        server.sql(database, ended);
        // A connection that was lost may be found out by this.
        let name = format!("refs/heads/{round}");
        if refs.commit(transaction(vec![edit(&name, None, Some(1))])).is_err() {
            let _ = refs.commit(transaction(vec![edit(&name, None, Some(1))]));
        }
        let found = || {
            let snapshot = watched.snapshot().expect("a snapshot");
            snapshot.get(name.as_str().into()).is_ok_and(|found| found.is_some())
        };
        loop {
            told.recv_timeout(PATIENCE).expect("told to look");
            if found() {
                break;
            }
        }
    }
    drop(watching);
}
