//! The suite every backend runs, over a bucket in memory and over one of a real service, and what
//! a bucket that several servers use promises beyond it.

mod odd;

use std::io::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bstr::ByteSlice as _;
use object::{HashKind, ObjectId, RefName};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt as _};
use storage::{
    BlobStore, Change, CommitError, Error, Expected, NewRepository, Parts, Peeled, RefEdit,
    RefStore, RefTransaction, RepositoryStore, Stage, Target, conformance,
};
use storage_object::{ObjectOptions, ObjectRepositories};
use testkit::{Ceph, RealGit, Scenario, TempDir};

use odd::{Habit, Odd};

fn in_memory() -> ObjectRepositories {
    ObjectRepositories::in_memory(&ObjectOptions::default()).expect("opens")
}

fn real(ceph: &Ceph) -> ObjectRepositories {
    let url = ceph.store().replacen('?', "/some/where?", 1);
    ObjectRepositories::open(&url, &ObjectOptions::default()).expect("opens")
}

/// A server that uses a bucket others may use, too.
fn server_of(bucket: &Arc<dyn ObjectStore>, options: &ObjectOptions) -> ObjectRepositories {
    ObjectRepositories::with_store("bucket", bucket.clone(), "", options).expect("opens")
}

fn made(store: &dyn RepositoryStore, name: &str, hash: HashKind) -> Parts {
    let head = RefName::new("refs/heads/main").expect("valid");
    let new = NewRepository { hash, head, config: b"[core]\n\tbare = true\n" };
    assert!(store.create(name, &new).expect("made"));
    store.parts(name).expect("readable").expect("just made")
}

fn refs_conform(store: &dyn RepositoryStore) {
    for hash in [HashKind::Sha1, HashKind::Sha256] {
        let count = Mutex::new(0);
        // Each case has a repository of its own, beside those of the others.
        conformance::refs::run(hash, &|| -> Arc<dyn RefStore> {
            let mut count = count.lock().expect("not poisoned");
            *count += 1;
            made(store, &format!("{}/r{count}", hash.name()), hash).refs
        });
    }
}

/// With one server that writes and another that watches.
fn watching_conforms(writer: &ObjectRepositories, watcher: &ObjectRepositories, hash: HashKind) {
    let count = Mutex::new(0);
    conformance::watch::run(hash, &|| {
        let mut count = count.lock().expect("not poisoned");
        *count += 1;
        let name = format!("{}/w{count}", hash.name());
        let refs = made(writer, &name, hash).refs;
        (refs, watcher.parts(&name).expect("readable").expect("just made").refs)
    });
}

/// Looks often, so that the tests do not wait.
fn watchful() -> ObjectOptions {
    let (watch_poll, watch_poll_max) = (Duration::from_millis(20), Duration::from_millis(100));
    ObjectOptions { watch_poll, watch_poll_max, ..ObjectOptions::default() }
}

#[test]
fn watching_conforms_in_memory() {
    for hash in [HashKind::Sha1, HashKind::Sha256] {
        let bucket: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let (one, other) = (server_of(&bucket, &watchful()), server_of(&bucket, &watchful()));
        watching_conforms(&one, &other, hash);
    }
    let alone = in_memory();
    watching_conforms(&alone, &alone, HashKind::Sha1);
}

#[test]
fn watching_conforms_in_a_real_bucket() {
    let Some(ceph) = Ceph::shared_or_skip() else { return };
    let url = ceph.store().replacen('?', "/watched?", 1);
    let open = || ObjectRepositories::open(&url, &watchful()).expect("opens");
    watching_conforms(&open(), &open(), HashKind::Sha1);
}

fn blobs_conform(store: &dyn RepositoryStore) {
    let count = Mutex::new(0);
    conformance::blobs::run(&|| -> Arc<dyn BlobStore> {
        let mut count = count.lock().expect("not poisoned");
        *count += 1;
        made(store, &format!("r{count}"), HashKind::Sha1).blobs
    });
}

#[test]
fn refs_in_memory_conform() {
    refs_conform(&in_memory());
}

#[test]
fn blobs_in_memory_conform() {
    blobs_conform(&in_memory());
}

#[test]
fn repositories_in_memory_conform() {
    conformance::repositories::run(&|| Arc::new(in_memory()));
}

#[test]
fn refs_conform_in_a_real_bucket() {
    let Some(ceph) = Ceph::shared_or_skip() else { return };
    refs_conform(&real(ceph));
}

#[test]
fn blobs_conform_in_a_real_bucket() {
    let Some(ceph) = Ceph::shared_or_skip() else { return };
    blobs_conform(&real(ceph));
}

#[test]
fn repositories_conform_in_a_real_bucket() {
    let Some(ceph) = Ceph::shared_or_skip() else { return };
    conformance::repositories::run(&|| Arc::new(real(ceph)));
}

fn id(number: u64) -> ObjectId {
    let mut bytes = [7; 20];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    ObjectId::from_bytes(&bytes, HashKind::Sha1).expect("the hash's length")
}

/// A ref that moves from one number to another; there is none for 0.
fn moved(name: &str, from: u64, to: u64) -> RefTransaction {
    let expected = match from {
        0 => Expected::MustNotExist,
        from => Expected::MustExistAndMatch(Target::Id(id(from))),
    };
    let edit = RefEdit {
        name: RefName::new(name).expect("valid"),
        expected,
        change: Change::Update(Target::Id(id(to))),
        peeled: Peeled::NotATag,
        reflog: None,
    };
    RefTransaction { edits: vec![edit], ..RefTransaction::default() }
}

fn value(parts: &Parts, name: &str) -> Option<ObjectId> {
    let found = parts.refs.snapshot().expect("readable").get(name.into()).expect("readable");
    found.and_then(|found| found.target.id())
}

fn put(parts: &Parts, blobs: &[(&str, &[u8])]) -> Box<dyn Stage> {
    let mut stage = parts.blobs.stage().expect("a stage");
    for (name, bytes) in blobs {
        let mut writer = stage.create(name).expect("a writer");
        writer.write_all(bytes).expect("written");
        writer.finish().expect("finished");
    }
    stage
}

/// Every key in a bucket.
fn keys(bucket: &Arc<dyn ObjectStore>) -> Vec<String> {
    use futures_util::StreamExt as _;
    let listed = bucket.list(None).map(|meta| String::from(meta.expect("in memory").location));
    let mut keys: Vec<String> = block_on(listed.collect());
    keys.sort();
    keys
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().expect("a runtime").block_on(work)
}

#[test]
fn servers_of_one_bucket_lose_no_change() {
    let bucket: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let options = ObjectOptions::default();
    let servers = [server_of(&bucket, &options), server_of(&bucket, &options)];
    made(&servers[0], "a", HashKind::Sha1);
    let winners = Mutex::new(0);
    std::thread::scope(|scope| {
        for number in 0..6 {
            let (server, winners) = (&servers[number % 2], &winners);
            scope.spawn(move || {
                let parts = server.parts("a").expect("readable").expect("there");
                let own = format!("refs/heads/own-{number}");
                for round in 0..8 {
                    parts.refs.commit(moved(&own, round, round + 1)).expect("nobody else moves it");
                    let race = format!("refs/heads/race-{round}");
                    match parts.refs.commit(moved(&race, 0, number as u64 + 1)) {
                        Ok(()) => *winners.lock().expect("no panic") += 1,
                        Err(CommitError::Lost { .. }) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            });
        }
    });
    assert_eq!(*winners.lock().expect("no panic"), 8, "one of each race");
    for server in &servers {
        let parts = server.parts("a").expect("readable").expect("there");
        for number in 0..6 {
            assert_eq!(value(&parts, &format!("refs/heads/own-{number}")), Some(id(8)));
        }
    }
}

#[test]
fn answers_that_are_lost_lose_no_change() {
    for seed in 1..6 {
        let bucket: Arc<dyn ObjectStore> = Arc::new(Odd::new(Habit::LosesAnswers(4), seed));
        // What is tried again by the store is not by this one.
        let servers = [(); 2].map(|()| server_of(&bucket, &ObjectOptions::default()));
        let head = RefName::new("refs/heads/main").expect("valid");
        let new = NewRepository { hash: HashKind::Sha1, head, config: b"" };
        while !matches!(servers[0].create("a", &new), Ok(true) | Ok(false)) {}
        std::thread::scope(|scope| {
            for number in 0..4 {
                let server = &servers[number % 2];
                scope.spawn(move || {
                    let parts = server.parts("a").expect("readable").expect("there");
                    let own = format!("refs/heads/own-{number}");
                    let mut at = 0;
                    for to in 1..12 {
                        match parts.refs.commit(moved(&own, at, to)) {
                            Ok(()) => at = to,
                            // It may be either; only what is acknowledged counts.
                            Err(CommitError::Storage(Error::Unavailable { .. })) => {
                                let now = value(&parts, &own);
                                assert!(now == (at > 0).then(|| id(at)) || now == Some(id(to)));
                                if now == Some(id(to)) {
                                    at = to;
                                }
                            }
                            Err(error) => panic!("seed {seed}: {error}"),
                        }
                        assert_eq!(value(&parts, &own), (at > 0).then(|| id(at)), "seed {seed}");
                    }
                });
            }
        });
    }
}

/// The same pack comes again while the old one waits to be removed, and the answer to its first
/// write is lost: what is found there then is the old one.
#[test]
fn what_waits_to_be_removed_is_not_taken_for_what_was_written() {
    let bucket: Arc<dyn ObjectStore> = Arc::new(Odd::new(Habit::LosesAnswers(2), 7));
    let server = server_of(&bucket, &ObjectOptions::default());
    let head = RefName::new("refs/heads/main").expect("valid");
    let new = NewRepository { hash: HashKind::Sha1, head, config: b"" };
    while !matches!(server.create("a", &new), Ok(true) | Ok(false)) {}
    let parts = server.parts("a").expect("readable").expect("there");
    for number in 0..12 {
        let name = format!("pack/pack-{number:040}.pack");
        for round in 0..2 {
            let stage = put(&parts, &[(&name, b"the same bytes")]);
            stage.publish().unwrap_or_else(|why| panic!("{name}, round {round}: {why}"));
            let listed = parts.blobs.list("pack/").expect("listed");
            assert!(listed.iter().any(|meta| meta.name == *name), "{name}, round {round}");
            if round == 0 {
                while parts.blobs.delete(&name).is_err() {}
            }
        }
    }
}

#[test]
fn stores_that_overwrite_are_refused() {
    let bucket: Arc<dyn ObjectStore> = Arc::new(Odd::new(Habit::Overwrites, 1));
    let opened = ObjectRepositories::with_store("bucket", bucket, "", &ObjectOptions::default());
    let refused = opened.err().expect("it cannot be trusted");
    assert!(matches!(refused, Error::Unsupported { .. }), "{refused}");
    let words = refused.to_string();
    assert!(words.contains("bucket let 8 of 8 writers") && words.contains("--refs"), "{words}");
}

#[test]
fn buckets_that_cannot_be_used_are_named() {
    let Some(ceph) = Ceph::shared_or_skip() else { return };
    let url = ceph.store();
    let refused = |url: &str| {
        let options = ObjectOptions { retries: 0, ..ObjectOptions::default() };
        ObjectRepositories::open(url, &options).err().expect("refused")
    };
    let missing = refused(&url.replace("s3://test", "s3://other"));
    assert!(matches!(missing, Error::NotFound { .. }), "{missing}");
    assert!(missing.to_string().contains("s3://other"), "{missing}");
    let wrong = refused(&url.replace("packhorse-secret", "guessed"));
    assert!(matches!(wrong, Error::Refused { .. }), "{wrong}");
    assert!(!wrong.to_string().contains("guessed"), "{wrong}");
    let silent = refused(
        "s3://bucket?endpoint=http://127.0.0.1:1&region=x&access_key_id=a&secret_access_key=b",
    );
    assert!(matches!(silent, Error::Unavailable { .. }), "{silent}");
    assert!(matches!(refused("s3://bucket?colour=blue"), Error::Unsupported { .. }));
    assert!(matches!(refused("ftp://bucket"), Error::Unsupported { .. }));
}

#[test]
fn a_copy_of_a_bucket_is_a_repository_to_git() {
    let git = RealGit::new();
    let origin = Scenario::realistic(60, 5).build(&git, "origin.git");
    git.ok(&origin, &["repack", "-adq"]);
    let bucket: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let store = server_of(&bucket, &ObjectOptions::default());
    let parts = made(&store, "group/project", HashKind::Sha1);
    let packs = std::fs::read_dir(origin.join("objects/pack")).expect("a directory");
    let files: Vec<_> = packs.map(|file| file.expect("readable").path()).collect();
    let named: Vec<(String, Vec<u8>)> = files
        .iter()
        .map(|file| {
            let name = file.file_name().expect("a name").to_string_lossy();
            (format!("pack/{name}"), std::fs::read(file).expect("readable"))
        })
        .collect();
    let blobs: Vec<(&str, &[u8])> =
        named.iter().map(|(name, bytes)| (name.as_str(), bytes.as_slice())).collect();
    let before = store.requests().writes;
    put(&parts, &blobs).publish().expect("published");
    for line in git.ok(&origin, &["show-ref", "--dereference"]).lines() {
        let (hex, name) = line.split_once(' ').expect("an id and a name");
        if name.ends_with("^{}") {
            continue;
        }
        let target = ObjectId::from_hex(hex.as_bytes()).expect("an id");
        let mut tx = moved(name, 0, 1);
        tx.edits[0].change = Change::Update(Target::Id(target));
        parts.refs.commit(tx).expect("new");
    }
    let refs = git.ok(&origin, &["show-ref"]);
    // Each file one, each change of refs two.
    let writes = store.requests().writes - before;
    assert_eq!(writes, (blobs.len() + 2 * refs.lines().count()) as u64);

    let copy = TempDir::new();
    for key in keys(&bucket) {
        let bytes = block_on(async { bucket.get(&Path::from(&*key)).await?.bytes().await });
        let file = copy.path().join(&key);
        std::fs::create_dir_all(file.parent().expect("below")).expect("a directory");
        std::fs::write(file, bytes.expect("in memory")).expect("written");
    }
    let copied = copy.path().join("group/project.git");
    git.ok(&copied, &["fsck", "--strict"]);
    assert_eq!(git.ok(&copied, &["show-ref"]), refs);
    assert_eq!(git.ok(&copied, &["symbolic-ref", "HEAD"]).trim(), "refs/heads/main");
    let all = ["rev-list", "--objects", "--all"];
    assert_eq!(git.ok(&copied, &all), git.ok(&origin, &all));
}

const PACK: &str = "pack/pack-0123456789012345678901234567890123456789.pack";
const IDX: &str = "pack/pack-0123456789012345678901234567890123456789.idx";

#[test]
fn what_is_removed_goes_when_nobody_can_read_it() {
    let bucket: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let options = ObjectOptions { gone_keep: Duration::ZERO, ..ObjectOptions::default() };
    let store = server_of(&bucket, &options);
    let parts = made(&store, "a", HashKind::Sha1);
    let packs = || -> Vec<String> {
        let keys = keys(&bucket);
        let short = |key: &String| Some(key.strip_prefix("a.git/objects/pack/")?[45..].to_owned());
        keys.iter().filter_map(short).collect()
    };
    put(&parts, &[(PACK, b"one"), (IDX, b"index")]).publish().expect("published");
    assert_eq!(packs(), [".idx", ".pack"]);
    parts.blobs.delete(IDX).expect("marked");
    parts.blobs.delete(PACK).expect("marked");
    assert_eq!(packs(), [".idx", ".idx.gone", ".pack", ".pack.gone"]);
    assert_eq!(parts.blobs.list("pack/").expect("listed"), []);
    // Somebody pushes the same: not to where it could be removed late.
    put(&parts, &[(PACK, b"two"), (IDX, b"index")]).publish().expect("published");
    assert_eq!(parts.blobs.read(PACK, 0..9).expect("there"), "two");
    assert_eq!(parts.blobs.list("pack/").expect("listed").len(), 2);
    parts.blobs.delete("pack/pack-none.pack").expect("nothing to remove, but to clean up");
    assert_eq!(packs(), [".g2.idx", ".g2.pack", ".idx.gone", ".pack.gone"]);
    // Another server sees the same.
    let other = server_of(&bucket, &options).parts("a").expect("readable").expect("there");
    assert_eq!(other.blobs.read(PACK, 0..9).expect("there"), "two");
    assert!(store.remove("a").expect("removed"));
    assert_eq!(keys(&bucket), Vec::<String>::new());
}

#[test]
fn what_a_dead_server_reserved_is_given_to_others() {
    let bucket: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let options = ObjectOptions { lease: Duration::from_secs(6), ..ObjectOptions::default() };
    let store = server_of(&bucket, &options);
    let parts = made(&store, "a", HashKind::Sha1);
    let lease = Path::from("a.git/objects/info/commit-graph.lock");
    block_on(bucket.put(&lease, "somebody".into())).expect("in memory");
    let mut stage = put(&parts, &[("info/commit-graph", b"new")]);
    let refused = stage.replace("info/commit-graph").expect_err("reserved");
    assert!(matches!(refused, Error::Locked { .. }), "{refused}");
    testkit::wait_until("the lease runs out", || stage.replace("info/commit-graph").is_ok());
    // A server that lives keeps what it has, however long.
    let other = server_of(&bucket, &options).parts("a").expect("readable").expect("there");
    for _ in 0..3 {
        let mut late = other.blobs.stage().expect("a stage");
        late.replace("info/commit-graph").expect_err("reserved");
        std::thread::sleep(options.lease / 2);
    }
    stage.publish().expect("published");
    assert_eq!(other.blobs.read("info/commit-graph", 0..9).expect("there"), "new");
    // One that somebody took over from publishes nothing.
    let mut stage = put(&parts, &[("info/commit-graph", b"late")]);
    stage.replace("info/commit-graph").expect("free again");
    block_on(bucket.put(&lease, "somebody else".into())).expect("in memory");
    std::thread::sleep(options.lease);
    let refused = stage.publish().expect_err("taken over");
    assert!(matches!(refused, Error::Locked { .. }), "{refused}");
    assert_eq!(other.blobs.read("info/commit-graph", 0..9).expect("there"), "new");
}

#[test]
fn large_blobs_go_and_come_in_parts() {
    let bucket: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let options = ObjectOptions { part_bytes: 5 << 20, ..ObjectOptions::default() };
    let store = server_of(&bucket, &options);
    let parts = made(&store, "a", HashKind::Sha1);
    let bytes: Vec<u8> = (0..6_000_000_u32).flat_map(u32::to_be_bytes).collect();
    put(&parts, &[(PACK, &bytes)]).publish().expect("published");
    // Who wrote it need not read it; others do.
    let before = store.requests().reads;
    assert!(parts.blobs.read(PACK, 0..u64::MAX).expect("there") == bytes);
    assert_eq!(store.requests().reads, before);
    let other = server_of(&bucket, &options);
    let parts = other.parts("a").expect("readable").expect("there");
    let before = other.requests().reads;
    assert!(parts.blobs.read(PACK, 0..u64::MAX).expect("there") == bytes);
    assert_eq!(other.requests().reads - before, 3, "24 MB in windows of 8 MiB");
    let read = parts.blobs.read(PACK, 7_000_001..7_000_009).expect("there");
    assert_eq!(read.as_bstr(), bytes[7_000_001..7_000_009].as_bstr());
    // What may be replaced is read whole, in parts of one state.
    let mut stage = put(&parts, &[("info/commit-graph", &bytes)]);
    stage.replace("info/commit-graph").expect("nobody else has it");
    stage.publish().expect("published");
    assert!(parts.blobs.read("info/commit-graph", 0..u64::MAX).expect("there") == bytes);
}

#[test]
fn what_is_not_answered_is_asked_for_again() {
    let bucket: Arc<dyn ObjectStore> = Arc::new(Odd::new(Habit::Dozes(100), 5));
    let store = server_of(&bucket, &ObjectOptions::default());
    let parts = made(&store, "a", HashKind::Sha1);
    for number in 0..600 {
        let name = format!("refs/heads/{}", number % 7);
        let snapshot = parts.refs.snapshot().expect("answered");
        assert!(snapshot.get(name.as_str().into()).expect("readable").is_none());
    }
    let requests = store.requests();
    assert!(requests.hedges > 0, "{requests:?}");
    assert!(requests.hedges <= requests.reads / 20 + 10, "{requests:?}");
}
