//! The suite every backend runs, and what a file of repositories promises beyond it.

use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use object::{HashKind, RefName};
use redb::{ReadableDatabase as _, ReadableTableMetadata as _};
use storage::{
    BlobStore, NewRepository, Parts, RefStore, RepositoryStore as _, Stage, conformance,
};
use storage_kv::{KvStore, OpenOptions};
use testkit::TempDir;

fn open(root: &TempDir) -> KvStore {
    KvStore::open(&root.path().join("repositories.kv"), &OpenOptions::default()).expect("opens")
}

fn made(store: &KvStore, name: &str, hash: HashKind) -> Parts {
    let head = RefName::new("refs/heads/main").expect("valid");
    let new = NewRepository { hash, head, config: b"[core]\n\tbare = true\n" };
    assert!(store.create(name, &new).expect("made"));
    store.parts(name).expect("readable").expect("just made")
}

#[test]
fn refs_conform() {
    for hash in [HashKind::Sha1, HashKind::Sha256] {
        let root = TempDir::new();
        let store = open(&root);
        let count = Mutex::new(0);
        // Each case has a repository of its own, beside those of the others.
        conformance::refs::run(hash, &|| -> Arc<dyn RefStore> {
            let mut count = count.lock().expect("not poisoned");
            *count += 1;
            made(&store, &format!("r{count}"), hash).refs
        });
        conformance::watch::run(hash, &|| {
            let mut count = count.lock().expect("not poisoned");
            *count += 1;
            let name = format!("w{count}");
            let refs = made(&store, &name, hash).refs;
            (refs, store.parts(&name).expect("readable").expect("just made").refs)
        });
    }
}

#[test]
fn blobs_conform() {
    let root = TempDir::new();
    let store = open(&root);
    let count = Mutex::new(0);
    conformance::blobs::run(&|| -> Arc<dyn BlobStore> {
        let mut count = count.lock().expect("not poisoned");
        *count += 1;
        made(&store, &format!("r{count}"), HashKind::Sha1).blobs
    });
}

#[test]
fn repositories_conform() {
    let roots = Mutex::new(Vec::new());
    conformance::repositories::run(&|| {
        let root = TempDir::new();
        let store = Arc::new(open(&root));
        roots.lock().expect("not poisoned").push(root);
        store
    });
}

fn put(parts: &Parts, name: &str, bytes: &[u8]) -> Box<dyn Stage> {
    let mut stage = parts.blobs.stage().expect("a stage");
    let mut writer = stage.create(name).expect("a writer");
    writer.write_all(bytes).expect("written");
    writer.finish().expect("finished");
    stage
}

/// The rows of a table.
fn count(path: &Path, table: &str) -> u64 {
    let rows: redb::TableDefinition<'_, &[u8], &[u8]> = redb::TableDefinition::new(table);
    let database = redb::Database::open(path).expect("opens");
    let transaction = database.begin_read().expect("a transaction");
    transaction.open_table(rows).expect("a table").len().expect("counted")
}

#[test]
fn what_a_crash_leaves_is_whole() {
    let root = TempDir::new();
    let bytes: Vec<u8> = (0..300_000_u32).flat_map(u32::to_be_bytes).collect();
    let store = open(&root);
    let parts = made(&store, "a/b", HashKind::Sha1);
    put(&parts, "pack/pack-1.pack", &bytes).publish().expect("published");
    let unpublished = put(&parts, "pack/pack-2.pack", &bytes);
    // Durable, and with it what was staged before.
    made(&store, "c", HashKind::Sha256);
    let crashed = root.path().join("crashed.kv");
    std::fs::copy(root.path().join("repositories.kv"), &crashed).expect("copied");
    drop(unpublished);
    {
        let store = KvStore::open(&crashed, &OpenOptions::default()).expect("repaired");
        assert_eq!(store.names("", 9).expect("readable"), ["a/b", "c"]);
        assert_eq!(store.parts("c").expect("readable").expect("there").hash, HashKind::Sha256);
        assert!(store.parts("d").expect("readable").is_none());
        let parts = store.parts("a/b").expect("readable").expect("there");
        let names = parts.blobs.list("pack/").expect("a list");
        assert_eq!(names.iter().map(|blob| &*blob.name).collect::<Vec<_>>(), ["pack/pack-1.pack"]);
        let read = |range| parts.blobs.read("pack/pack-1.pack", range).expect("readable");
        assert_eq!(read(0..u64::MAX), bytes);
        assert_eq!(read(64_999..65_001), bytes[64_999..65_001]);
        assert_eq!(read(999_990..2_000_000), bytes[999_990..]);
        // Numbers of chunks are not given twice.
        put(&parts, "pack/pack-3.pack", b"").publish().expect("published");
        put(&parts, "pack/pack-4.pack", b"4").publish().expect("published");
        parts.blobs.delete("pack/pack-3.pack").expect("deleted");
        assert_eq!(parts.blobs.read("pack/pack-4.pack", 0..9).expect("readable"), &b"4"[..]);
    }
    let chunks_of_pack_1 = bytes.len().div_ceil(65_000) as u64;
    assert_eq!((count(&crashed, "chunks"), count(&crashed, "staged")), (chunks_of_pack_1 + 1, 0));
    drop((parts, store));
    let left = root.path().join("repositories.kv");
    assert_eq!((count(&left, "chunks"), count(&left, "staged")), (chunks_of_pack_1, 0));
}

#[test]
fn what_is_removed_goes_with_its_last_reader() {
    let root = TempDir::new();
    let file = root.path().join("repositories.kv");
    let bytes = vec![7; 200_000];
    // As after a crash, but what a crash leaves is not dropped.
    let chunks = || {
        let copy = root.path().join("now.kv");
        std::fs::copy(&file, &copy).expect("copied");
        count(&copy, "chunks")
    };
    let store = open(&root);
    let parts = made(&store, "a", HashKind::Sha1);
    for name in ["pack/pack-1.pack", "pack/pack-2.pack"] {
        put(&parts, name, &bytes).publish().expect("published");
    }
    let open_blob = |name| parts.blobs.open(name).expect("readable").expect("there");
    let readers = [open_blob("pack/pack-1.pack"), open_blob("pack/pack-1.pack")];
    parts.blobs.delete("pack/pack-1.pack").expect("deleted");
    parts.blobs.delete("pack/pack-2.pack").expect("deleted");
    let mut stage = put(&parts, "info/commit-graph", &bytes);
    stage.replace("info/commit-graph").expect("nobody else has it");
    stage.publish().expect("published");
    made(&store, "durable", HashKind::Sha1);
    assert_eq!(chunks(), 8, "those of the open blob and of the graph");
    let graph = open_blob("info/commit-graph");
    let [one, two] = readers;
    drop(one);
    assert_eq!(two.read(0..u64::MAX).expect("still open"), bytes);
    assert!(store.remove("a").expect("removed"));
    assert_eq!(graph.read(0..u64::MAX).expect("still open"), bytes);
    drop(two);
    // Durable, and with it what was done before.
    made(&store, "b", HashKind::Sha1);
    assert_eq!(chunks(), 4, "those of the graph");
    drop(graph);
    made(&store, "c", HashKind::Sha1);
    assert_eq!(chunks(), 0);
    drop((parts, store));
    assert_eq!((count(&file, "chunks"), count(&file, "staged")), (0, 0));
}

#[test]
fn a_file_is_open_once() {
    let root = TempDir::new();
    let _first = open(&root);
    let path = root.path().join("repositories.kv");
    let error = KvStore::open(&path, &OpenOptions::default()).err().expect("refused");
    assert!(error.to_string().contains("repositories.kv"), "{error}");
}

#[test]
fn files_of_others_are_refused_by_name() {
    let root = TempDir::new();
    let path = root.path().join("repositories.kv");
    std::fs::write(&path, vec![b'x'; 20_000]).expect("written");
    let error = KvStore::open(&path, &OpenOptions::default()).err().expect("refused");
    assert!(error.to_string().contains("repositories.kv"), "{error}");
    assert_eq!(std::fs::read(&path).expect("readable"), vec![b'x'; 20_000], "left as it was");
}

#[test]
fn writers_that_come_together_lose_nothing() {
    let root = TempDir::new();
    let store = open(&root);
    let parts = made(&store, "r", HashKind::Sha1);
    std::thread::scope(|scope| {
        for writer in 0..16_u8 {
            let refs = &parts.refs;
            scope.spawn(move || {
                for number in 0..20_u8 {
                    refs.commit(storage::RefTransaction {
                        edits: vec![creation(&format!("refs/heads/{writer}/{number}"), writer + 1)],
                        ..Default::default()
                    })
                    .expect("nobody else wants this ref");
                }
            });
        }
    });
    let mut count = 0;
    let snapshot = parts.refs.snapshot().expect("a snapshot");
    snapshot
        .scan("refs/heads/".into(), &mut |_| {
            count += 1;
            std::ops::ControlFlow::Continue(())
        })
        .expect("a scan");
    assert_eq!(count, 16 * 20);
}

fn creation(name: &str, byte: u8) -> storage::RefEdit {
    let id = object::ObjectId::from_bytes(&[byte; 20], HashKind::Sha1).expect("twenty bytes");
    storage::RefEdit {
        name: RefName::new(name).expect("valid"),
        expected: storage::Expected::MustNotExist,
        change: storage::Change::Update(storage::Target::Id(id)),
        peeled: storage::Peeled::Unknown,
        reflog: None,
    }
}
