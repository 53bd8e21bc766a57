//! The suite every backend runs, and what a database that others use too promises beyond it.

mod tls;
mod watch;

use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use object::{HashKind, ObjectId, RefName};
use storage::{
    BlobStore, Change, CommitError, Error, Expected, NewRepository, Parts, Peeled, RefEdit,
    RefStore, RefTransaction, RepositoryStore as _, Stage, Target, conformance,
};
use storage_postgres::{OpenOptions, PgStore};
use testkit::{Postgres, wait_until};

fn open(url: &str) -> PgStore {
    PgStore::open(url, &OpenOptions::default()).expect("opens")
}

fn made(store: &PgStore, name: &str, hash: HashKind) -> Parts {
    let head = RefName::new("refs/heads/main").expect("valid");
    let new = NewRepository { hash, head, config: b"[core]\n\tbare = true\n" };
    assert!(store.create(name, &new).expect("made"));
    store.parts(name).expect("readable").expect("just made")
}

#[test]
fn refs_conform() {
    let server = Postgres::shared();
    for hash in [HashKind::Sha1, HashKind::Sha256] {
        let store = open(&server.database());
        let count = Mutex::new(0);
        // Each case has a repository of its own, beside those of the others.
        conformance::refs::run(hash, &|| -> Arc<dyn RefStore> {
            let mut count = count.lock().expect("not poisoned");
            *count += 1;
            made(&store, &format!("r{count}"), hash).refs
        });
    }
}

#[test]
fn blobs_conform() {
    let server = Postgres::shared();
    let store = open(&server.database());
    let count = Mutex::new(0);
    conformance::blobs::run(&|| -> Arc<dyn BlobStore> {
        let mut count = count.lock().expect("not poisoned");
        *count += 1;
        made(&store, &format!("r{count}"), HashKind::Sha1).blobs
    });
}

#[test]
fn repositories_conform() {
    let server = Postgres::shared();
    conformance::repositories::run(&|| Arc::new(open(&server.database())));
}

fn id(byte: u8) -> ObjectId {
    ObjectId::from_bytes(&[byte; 20], HashKind::Sha1).expect("twenty bytes")
}

fn edit(name: &str, old: Option<u8>, new: Option<u8>) -> RefEdit {
    RefEdit {
        name: RefName::new(name).expect("valid"),
        expected: match old {
            Some(old) => Expected::MustExistAndMatch(Target::Id(id(old))),
            None => Expected::MustNotExist,
        },
        change: new.map_or(Change::Delete, |new| Change::Update(Target::Id(id(new)))),
        peeled: Peeled::Unknown,
        reflog: None,
    }
}

fn transaction(edits: Vec<RefEdit>) -> RefTransaction {
    RefTransaction { edits, ..RefTransaction::default() }
}

fn names(parts: &Parts) -> Vec<String> {
    let mut names = Vec::new();
    let snapshot = parts.refs.snapshot().expect("a snapshot");
    let mut visit = |found: storage::RefView<'_>| {
        names.push(found.name.to_string());
        std::ops::ControlFlow::Continue(())
    };
    snapshot.scan("refs/".into(), &mut visit).expect("a scan");
    names
}

fn put(parts: &Parts, name: &str, bytes: &[u8]) -> Box<dyn Stage> {
    let mut stage = parts.blobs.stage().expect("a stage");
    let mut writer = stage.create(name).expect("a writer");
    writer.write_all(bytes).expect("written");
    writer.finish().expect("finished");
    stage
}

#[test]
fn what_one_server_acknowledges_the_other_sees() {
    let server = Postgres::shared();
    let url = server.database();
    let (one, other) = (open(&url), open(&url));
    let ours = made(&one, "a", HashKind::Sha1);
    let theirs = other.parts("a").expect("readable").expect("there");
    for round in 1..20_u8 {
        let (writer, reader) = if round % 2 == 0 { (&ours, &theirs) } else { (&theirs, &ours) };
        let old = (round > 1).then(|| round - 1);
        let change = transaction(vec![edit("refs/heads/main", old, Some(round))]);
        writer.refs.commit(change).expect("nobody else writes");
        let found = reader.refs.snapshot().expect("a snapshot").get("refs/heads/main".into());
        assert_eq!(found.expect("readable").expect("there").target, Target::Id(id(round)));
        let name = format!("pack/pack-{round:040}.pack");
        put(writer, &name, &[round; 10]).publish().expect("published");
        assert_eq!(reader.blobs.read(&name, 0..99).expect("readable"), vec![round; 10]);
    }
}

#[test]
fn of_servers_that_want_the_same_name_one_gets_it() {
    let server = Postgres::shared();
    let url = server.database();
    let store = open(&url);
    made(&store, "a", HashKind::Sha1);
    // Names that cannot exist together, and one that all want.
    let wanted = ["refs/heads/x", "refs/heads/x/y", "refs/heads/x/y/z", "refs/heads/x"];
    for _ in 0..5 {
        let won: Vec<bool> = std::thread::scope(|scope| {
            let threads = wanted.map(|name| {
                let url = &url;
                scope.spawn(move || {
                    let parts = open(url).parts("a").expect("readable").expect("there");
                    match parts.refs.commit(transaction(vec![edit(name, None, Some(1))])) {
                        Ok(()) => true,
                        Err(CommitError::NameConflict { .. } | CommitError::Lost { .. }) => false,
                        Err(other) => panic!("{other}"),
                    }
                })
            });
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        assert_eq!(won.iter().filter(|won| **won).count(), 1);
        let parts = store.parts("a").expect("readable").expect("there");
        let left = names(&parts);
        assert_eq!(left.len(), 1, "{left:?}");
        let gone = transaction(vec![edit(&left[0], Some(1), None)]);
        parts.refs.commit(gone).expect("nobody else writes");
    }
}

#[test]
fn many_refs_at_once_and_a_listing_of_more_than_a_page() {
    const COUNT: usize = 25_000;
    let server = Postgres::shared();
    let store = open(&server.database());
    let parts = made(&store, "a", HashKind::Sha1);
    let edits = (0..COUNT).map(|at| edit(&format!("refs/heads/{at:06}"), None, Some(1))).collect();
    parts.refs.commit(transaction(edits)).expect("nobody else writes");
    let listed = names(&parts);
    assert_eq!(listed.len(), COUNT);
    assert!(listed.is_sorted());
    let conflict = parts.refs.commit(transaction(vec![edit("refs/heads/000007/x", None, Some(1))]));
    let CommitError::NameConflict { with, .. } = conflict.expect_err("refused") else {
        panic!("another error")
    };
    assert_eq!(with, "refs/heads/000007");
    // A visitor that has enough gives the connection back.
    for _ in 0..20 {
        let snapshot = parts.refs.snapshot().expect("a snapshot");
        let mut visit = |_: storage::RefView<'_>| std::ops::ControlFlow::Break(());
        snapshot.scan("refs/".into(), &mut visit).expect("a scan");
    }
}

#[test]
fn a_transaction_that_is_dropped_leaves_no_lock() {
    let server = Postgres::shared();
    let store = open(&server.database());
    let parts = made(&store, "a", HashKind::Sha1);
    let change = || transaction(vec![edit("refs/heads/main", None, Some(1))]);
    let held = parts.refs.prepare(change()).expect("free");
    let refused = parts.refs.commit(change()).expect_err("locked");
    assert!(matches!(refused, CommitError::Locked { .. }), "{refused}");
    drop(held);
    parts.refs.commit(change()).expect("free again");
}

#[test]
fn blobs_of_many_chunks_are_read_from_anywhere() {
    let server = Postgres::shared();
    let url = server.database();
    let store = open(&url);
    let parts = made(&store, "a", HashKind::Sha1);
    let bytes: Vec<u8> = (0..600_000_u32).flat_map(u32::to_be_bytes).collect();
    put(&parts, "pack/pack-1.pack", &bytes).publish().expect("published");
    let size = bytes.len() as u64;
    let chunk = 256 << 10;
    for range in [
        0..1,
        0..size,
        0..u64::MAX,
        chunk - 1..chunk + 1,
        chunk..2 * chunk,
        5..3 * chunk + 7,
        size - 1..size,
        size..size + 9,
        size + 1..u64::MAX,
    ] {
        let read = parts.blobs.read("pack/pack-1.pack", range.clone()).expect("readable");
        let cut = range.start.min(size) as usize..range.end.min(size) as usize;
        assert_eq!(read, bytes[cut], "{range:?}");
    }
    store.remove("a").expect("removed");
    let database = url.rsplit('/').next().expect("a name");
    drop_unread(&server, &url);
    assert_eq!(server.sql(database, "SELECT count(*) FROM packhorse.chunk"), "0");
}

/// Removed blobs are dropped when nobody has said for two leases that he reads them: a server that
/// starts looks for such. Here that time has passed.
fn drop_unread(server: &Postgres, url: &str) {
    let database = url.rsplit('/').next().expect("a name");
    server.sql(database, "UPDATE packhorse.retired SET since = since - interval '2 hours'");
    drop(open(url));
}

#[test]
fn what_another_server_removes_is_read_on() {
    let server = Postgres::shared();
    let url = server.database();
    let database = url.rsplit('/').next().expect("a name");
    let short = OpenOptions { lease: Duration::from_secs(1), ..OpenOptions::default() };
    let reading = PgStore::open(&url, &short).expect("opens");
    let other = open(&url);
    let bytes = vec![7; 1 << 20];
    let parts = made(&reading, "a", HashKind::Sha1);
    for name in ["pack/pack-1.pack", "pack/pack-2.pack"] {
        put(&parts, name, &bytes).publish().expect("published");
    }
    let open_blob = |name| parts.blobs.open(name).expect("readable").expect("there");
    let (one, two) = (open_blob("pack/pack-1.pack"), open_blob("pack/pack-1.pack"));
    let theirs = other.parts("a").expect("readable").expect("there");
    theirs.blobs.delete("pack/pack-1.pack").expect("deleted");
    theirs.blobs.delete("pack/pack-2.pack").expect("deleted");
    let readers = || server.sql(database, "SELECT count(*) FROM packhorse.reader");
    wait_until("a reader that says so", || readers() == "1");
    drop_unread(&server, &url);
    let blobs = || server.sql(database, "SELECT count(DISTINCT chunks) FROM packhorse.chunk");
    assert_eq!(blobs(), "1", "the one that is read");
    drop(one);
    assert_eq!(two.read(0..u64::MAX).expect("still open"), bytes);
    drop(two);
    wait_until("no reader", || readers() == "0");
    drop_unread(&server, &url);
    assert_eq!(blobs(), "0");
}

#[test]
fn what_is_replaced_or_deleted_leaves_no_chunks() {
    let server = Postgres::shared();
    let url = server.database();
    let database = url.rsplit('/').next().expect("a name");
    let store = open(&url);
    let parts = made(&store, "a", HashKind::Sha1);
    let blobs = || server.sql(database, "SELECT count(DISTINCT chunks) FROM packhorse.chunk");
    for round in 1..4_usize {
        let mut stage = put(&parts, "info/commit-graph", &vec![round as u8; round << 20]);
        stage.replace("info/commit-graph").expect("nobody else has it");
        stage.publish().expect("published");
        drop_unread(&server, &url);
        assert_eq!(blobs(), "1", "round {round}");
        let read = parts.blobs.read("info/commit-graph", 0..u64::MAX).expect("readable");
        assert_eq!(read, vec![round as u8; round << 20]);
    }
    // One that is there already stays, and the new one goes.
    put(&parts, "info/commit-graph", &vec![9; 3 << 20]).publish().expect("published");
    assert_eq!(parts.blobs.read("info/commit-graph", 0..1).expect("readable"), [3][..]);
    assert_eq!(blobs(), "1");
    parts.blobs.delete("info/commit-graph").expect("deleted");
    assert_eq!(blobs(), "1", "somebody may read them");
    drop_unread(&server, &url);
    assert_eq!(blobs(), "0");
    let left = server.sql(database, "SELECT count(*) FROM packhorse.staged");
    assert_eq!(left, "0");
    drop((parts, store));
    assert_eq!(server.sql(database, "SELECT count(*) FROM packhorse.node"), "0", "took its leave");
}

#[test]
fn names_that_no_index_can_hold_are_refused() {
    let server = Postgres::shared();
    let store = open(&server.database());
    let parts = made(&store, "a", HashKind::Sha1);
    // Thousands of directories: one lock for all of them.
    let deep = format!("refs/{}x", "d/".repeat(900));
    parts.refs.commit(transaction(vec![edit(&deep, None, Some(1))])).expect("it fits");
    assert_eq!(names(&parts), [deep]);
    let long = format!("refs/heads/{}", "x".repeat(3000));
    let refused = parts.refs.commit(transaction(vec![edit(&long, None, Some(1))]));
    assert!(refused.expect_err("too long").to_string().contains("2000 bytes"));
    let head = RefName::new("refs/heads/main").expect("valid");
    let new = NewRepository { hash: HashKind::Sha1, head, config: b"" };
    let refused = store.create(&"x".repeat(3000), &new).expect_err("too long");
    assert!(matches!(refused, Error::InvalidName { .. }), "{refused}");
}

/// A server that died: its row stays, and is not renewed.
fn died(server: &Postgres, url: &str, work: impl FnOnce(&PgStore)) {
    let store = open(url);
    work(&store);
    std::mem::forget(store);
    let database = url.rsplit('/').next().expect("a name");
    server.sql(database, "UPDATE packhorse.node SET seen = seen - interval '2 hours'");
}

#[test]
fn what_a_dead_server_held_is_given_to_others() {
    let server = Postgres::shared();
    let url = server.database();
    let database = url.rsplit('/').next().expect("a name").to_owned();
    let chunks = || server.sql(&database, "SELECT count(*) FROM packhorse.chunk");
    died(&server, &url, |store| {
        let parts = made(store, "a", HashKind::Sha1);
        let mut stage = put(&parts, "pack/pack-1.pack", &vec![1; 3 << 20]);
        stage.replace("info/commit-graph").expect("nobody else has it");
        std::mem::forget(stage);
        assert_ne!(chunks(), "0");
    });
    let store = open(&url);
    assert_eq!(chunks(), "0", "dropped when the next one starts");
    let parts = store.parts("a").expect("readable").expect("there");
    let mut stage = put(&parts, "info/commit-graph", b"new");
    stage.replace("info/commit-graph").expect("the lease ran out");
    // Another server that lives.
    let other = open(&url).parts("a").expect("readable").expect("there");
    let mut late = other.blobs.stage().expect("a stage");
    let refused = late.replace("info/commit-graph").expect_err("reserved");
    assert!(matches!(refused, Error::Locked { .. }), "{refused}");
    stage.publish().expect("published");
    late.replace("info/commit-graph").expect("given back");
}

#[test]
fn a_server_that_was_taken_for_dead_publishes_nothing_broken() {
    let server = Postgres::shared();
    let url = server.database();
    let database = url.rsplit('/').next().expect("a name").to_owned();
    let store = open(&url);
    let parts = made(&store, "a", HashKind::Sha1);
    let pack = put(&parts, "pack/pack-1.pack", &vec![1; 3 << 20]);
    let mut graph = put(&parts, "info/commit-graph", b"new");
    graph.replace("info/commit-graph").expect("nobody else has it");
    server.sql(&database, "UPDATE packhorse.node SET seen = seen - interval '2 hours'");
    let _next = open(&url);
    let refused = pack.publish().expect_err("its chunks are gone");
    assert!(matches!(refused, Error::Unavailable { .. }), "{refused}");
    let refused = graph.publish().expect_err("its reservation is gone");
    assert!(matches!(refused, Error::Locked { .. }), "{refused}");
    assert!(parts.blobs.list("pack/").expect("readable").is_empty());
}

#[test]
fn lost_connections_are_replaced() {
    let server = Postgres::shared();
    let url = server.database();
    let store = open(&url);
    let parts = made(&store, "a", HashKind::Sha1);
    let database = url.rsplit('/').next().expect("a name");
    let cut = || {
        let others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()";
        server.sql(database, others);
    };
    cut();
    assert_eq!(store.names("", 9).expect("a new connection"), ["a"]);
    cut();
    parts.refs.commit(transaction(vec![edit("refs/heads/a", None, Some(1))])).expect("a new one");
    // One that is lost in the middle of a transaction is told, and nothing happened.
    let held = parts.refs.prepare(transaction(vec![edit("refs/heads/b", None, Some(1))]));
    let held = held.expect("free");
    cut();
    let lost = held.commit().expect_err("lost");
    assert!(lost.to_string().contains("may have happened"), "{lost}");
    assert_eq!(names(&parts), ["refs/heads/a"]);
}

#[test]
fn what_cannot_be_used_is_refused_by_name() {
    let server = Postgres::start();
    let url = server.database();
    let database = url.rsplit('/').next().expect("a name").to_owned();
    let options = OpenOptions { connection_wait: Duration::from_secs(2), ..Default::default() };
    let refused = |url: &str| PgStore::open(url, &options).err().expect("refused");
    let missing = refused(&server.url("nothing"));
    assert!(missing.to_string().contains("\"nothing\" does not exist"), "{missing}");
    let stranger = refused(&url.replace("git@", "stranger@"));
    assert!(matches!(stranger, Error::Refused { .. }), "{stranger}");
    assert!(stranger.to_string().contains("stranger"), "{stranger}");
    assert!(matches!(refused("postgres://:::"), Error::Unsupported { .. }));
    // A layout of a newer program.
    drop(open(&url));
    server.sql(&database, "UPDATE packhorse.layout SET version = 99");
    let newer = refused(&url);
    assert!(matches!(newer, Error::Unsupported { .. }), "{newer}");
    assert!(newer.to_string().contains("version 99"), "{newer}");
    // One of an older program is brought up to date.
    server.sql(&database, "DROP TABLE packhorse.retired, packhorse.reader, packhorse.moved");
    server.sql(&database, "UPDATE packhorse.layout SET version = 1");
    drop(open(&url));
    assert_eq!(server.sql(&database, "SELECT count(*) FROM packhorse.retired"), "0");
    // A database that may only be read.
    let store = open(&url);
    let parts = made(&store, "a", HashKind::Sha1);
    server.sql(
        &database,
        &format!("ALTER DATABASE {database} SET default_transaction_read_only = on"),
    );
    drop(store);
    let reading = PgStore::open(&url, &options).err().expect("it writes a row of its own");
    assert!(matches!(reading, Error::ReadOnly { .. }), "{reading}");
    // No server at all.
    server.stop();
    let gone = refused(&url);
    assert!(matches!(gone, Error::Unavailable { .. }), "{gone}");
    assert!(gone.to_string().contains(&database), "{gone}");
    let gone = parts.refs.snapshot().expect("no call yet").get("HEAD".into()).expect_err("gone");
    assert!(matches!(gone, Error::Unavailable { .. }), "{gone}");
    server.resume();
    let head = parts.refs.snapshot().expect("no call yet").get("HEAD".into());
    assert!(head.expect("back again").is_some());
}

#[test]
fn connections_are_shared_and_waited_for() {
    let server = Postgres::shared();
    let options = OpenOptions {
        connections_max: 2,
        connection_wait: Duration::from_millis(300),
        ..OpenOptions::default()
    };
    let store = PgStore::open(&server.database(), &options).expect("opens");
    let parts = made(&store, "a", HashKind::Sha1);
    let hold = |name| parts.refs.prepare(transaction(vec![edit(name, None, Some(1))]));
    let (one, two) = (hold("refs/heads/a").expect("free"), hold("refs/heads/b").expect("free"));
    let refused = store.names("", 9).expect_err("all in use");
    assert!(refused.to_string().contains("all 2 connections are in use"), "{refused}");
    drop(one);
    assert_eq!(store.names("", 9).expect("one is free"), ["a"]);
    two.commit().expect("committed");
}
