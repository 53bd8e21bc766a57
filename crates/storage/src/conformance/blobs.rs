//! What every [`BlobStore`] must do.

use std::io::Write as _;
use std::sync::Arc;

use super::refs::println_case;
use crate::{BlobStore, Error, Stage};

/// Makes a fresh, empty store.
pub type Factory<'a> = &'a dyn Fn() -> Arc<dyn BlobStore>;

/// Runs every case.
pub fn run(make: Factory<'_>) {
    let cases: &[(&str, fn(&dyn BlobStore))] = &[
        ("an empty store", empty_store),
        ("staged blobs are unseen until published", staged_then_published),
        ("ranges are cut at the end", ranges),
        ("big blobs are read anywhere", big),
        ("a stage is readable while it grows", reading_a_stage),
        ("staged blobs are renamed", renames),
        ("a published blob is never replaced", kept),
        ("a reserved name is replaced", replaced),
        ("a name is reserved for one stage at a time", reserved_once),
        ("lists are one directory, in order", lists),
        ("deletes are idempotent", deletes),
        ("an open blob is read on", opened),
        ("dropped stages and writers leave nothing", dropped),
        ("unfinished blobs cannot be published", unfinished),
        ("names that leave the store are refused", bad_names),
        ("mapped bytes equal read bytes", maps),
        ("stages do not see each other", two_stages),
    ];
    for (title, case) in cases {
        println_case(title);
        case(&*make());
    }
}

const PACK: &str = "pack/pack-0123456789.pack";
const IDX: &str = "pack/pack-0123456789.idx";

fn write(stage: &mut dyn Stage, name: &str, bytes: &[u8]) {
    let mut writer = stage.create(name).expect("a new blob");
    writer.write_all(bytes).expect("written");
    writer.finish().expect("finished");
}

fn put(store: &dyn BlobStore, blobs: &[(&str, &[u8])]) {
    let mut stage = store.stage().expect("a stage");
    for (name, bytes) in blobs {
        write(&mut *stage, name, bytes);
    }
    stage.publish().expect("published");
}

fn names(store: &dyn BlobStore, prefix: &str) -> Vec<String> {
    let listed = store.list(prefix).expect("listed");
    listed.into_iter().map(|meta| meta.name).collect()
}

fn empty_store(store: &dyn BlobStore) {
    assert_eq!(store.stat(PACK).expect("no error"), None);
    assert!(matches!(store.read(PACK, 0..1), Err(Error::NotFound { .. })));
    assert_eq!(names(store, "pack/"), Vec::<String>::new());
    assert_eq!(names(store, "no-such/"), Vec::<String>::new());
    assert_eq!(store.map(PACK).expect("no error"), None);
    store.stage().expect("a stage").publish().expect("nothing to publish");
}

fn staged_then_published(store: &dyn BlobStore) {
    let mut stage = store.stage().expect("a stage");
    write(&mut *stage, PACK, b"pack bytes");
    write(&mut *stage, IDX, b"index bytes");
    write(&mut *stage, "ab/cdef0123", b"loose");
    for name in [PACK, IDX, "ab/cdef0123"] {
        assert_eq!(store.stat(name).expect("no error"), None, "{name}");
        assert!(matches!(store.read(name, 0..1), Err(Error::NotFound { .. })), "{name}");
    }
    assert_eq!(names(store, "pack/"), Vec::<String>::new());
    stage.publish().expect("published");
    assert_eq!(store.read(PACK, 0..u64::MAX).expect("there"), "pack bytes");
    assert_eq!(store.read(IDX, 0..u64::MAX).expect("there"), "index bytes");
    assert_eq!(store.read("ab/cdef0123", 0..5).expect("there"), "loose");
    let meta = store.stat(PACK).expect("no error").expect("there");
    assert_eq!((meta.name.as_str(), meta.size), (PACK, 10));
}

fn ranges(store: &dyn BlobStore) {
    put(store, &[(PACK, b"0123456789")]);
    for (range, expected) in [
        (0..10, "0123456789"),
        (3..5, "34"),
        (8..100, "89"),
        (10..20, ""),
        (50..60, ""),
        (4..4, ""),
        (0..u64::MAX, "0123456789"),
        (u64::MAX - 1..u64::MAX, ""),
    ] {
        assert_eq!(store.read(PACK, range.clone()).expect("there"), expected, "{range:?}");
    }
    #[allow(clippy::reversed_empty_ranges)]
    let backwards = 5..3;
    assert_eq!(store.read(PACK, backwards).expect("there"), "");
}

/// The bytes in a range of a blob in which no place is like another.
fn noise(range: std::ops::Range<u64>) -> Vec<u8> {
    let word = |number: u64| number.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_le_bytes();
    let words = (range.start / 8..range.end.div_ceil(8)).flat_map(word);
    let (skipped, len) = (range.start % 8, range.end - range.start);
    words.skip(skipped as usize).take(len as usize).collect()
}

/// A gigabyte in a soak: larger than what is asked for, kept or sent at a time anywhere.
fn big(store: &dyn BlobStore) {
    let size = super::scaled(19_000_001, 1_100_000_003);
    let mut stage = store.stage().expect("a stage");
    let mut writer = stage.create(PACK).expect("a new blob");
    let mut at = 0;
    while at < size {
        // Parts of no even size.
        let end = size.min(at + 777_777);
        writer.write_all(&noise(at..end)).expect("written");
        at = end;
    }
    writer.finish().expect("finished");
    let staged = stage.read(PACK, size - 9..size + 9).expect("staged");
    assert_eq!(staged, noise(size - 9..size));
    stage.publish().expect("published");
    let blob = store.open(PACK).expect("readable").expect("there");
    assert_eq!(blob.size(), size);
    let same = |range: std::ops::Range<u64>| {
        let read = blob.read(range.clone()).expect("readable");
        assert!(read == noise(range.start..range.end.min(size)), "{range:?}");
    };
    for power in 9..=40 {
        let place = 1u64 << power;
        for place in [place, 3 * place].into_iter().filter(|place| *place < size) {
            same(place - 5..place + 5);
            same(place..place + 1);
        }
    }
    same(0..20);
    same(size - 20..size + 20);
    let mut at = 0;
    while at < size {
        same(at..size.min(at + 3_333_333));
        at += 3_333_333;
    }
    assert_eq!(store.list("pack/").expect("listed")[0].size, size);
}

fn reading_a_stage(store: &dyn BlobStore) {
    let mut stage = store.stage().expect("a stage");
    let mut writer = stage.create(PACK).expect("a new blob");
    writer.write_all(b"first ").expect("written");
    writer.flush().expect("flushed");
    assert_eq!(stage.read(PACK, 0..100).expect("so far"), "first ");
    writer.write_all(b"second").expect("written");
    writer.flush().expect("flushed");
    assert_eq!(stage.read(PACK, 3..100).expect("so far"), "st second");
    assert!(matches!(stage.read(IDX, 0..1), Err(Error::NotFound { .. })));
    writer.finish().expect("finished");
    let view = stage.store();
    assert_eq!(view.read(PACK, 0..5).expect("finished"), "first");
    assert_eq!(names(&*view, "pack/"), [PACK]);
    assert!(view.delete(PACK).is_err(), "the view is for reading only");
    assert!(view.stage().is_err(), "the view is for reading only");
    assert!(stage.create(PACK).is_err(), "the name is taken");
}

fn renames(store: &dyn BlobStore) {
    let mut stage = store.stage().expect("a stage");
    write(&mut *stage, "pack/incoming.pack", b"bytes");
    write(&mut *stage, "pack/taken.pack", b"other");
    assert!(matches!(stage.rename("pack/none.pack", PACK), Err(Error::NotFound { .. })));
    assert!(stage.rename("pack/incoming.pack", "pack/taken.pack").is_err());
    stage.rename("pack/incoming.pack", PACK).expect("renamed");
    assert_eq!(stage.read(PACK, 0..9).expect("there"), "bytes");
    assert!(matches!(stage.read("pack/incoming.pack", 0..9), Err(Error::NotFound { .. })));
    stage.publish().expect("published");
    assert_eq!(names(store, "pack/"), [PACK, "pack/taken.pack"]);
}

fn kept(store: &dyn BlobStore) {
    put(store, &[(PACK, b"first")]);
    put(store, &[(PACK, b"first"), (IDX, b"index")]);
    assert_eq!(store.read(PACK, 0..9).expect("there"), "first");
    assert_eq!(store.read(IDX, 0..9).expect("there"), "index");
}

const GRAPH: &str = "info/commit-graph";

fn replaced(store: &dyn BlobStore) {
    put(store, &[(GRAPH, b"old")]);
    let mapped = store.map(GRAPH).expect("no error");
    let mut stage = store.stage().expect("a stage");
    stage.replace(GRAPH).expect("free");
    stage.replace(GRAPH).expect("ours already");
    write(&mut *stage, "info/unnamed", b"newer");
    stage.rename("info/unnamed", GRAPH).expect("renamed");
    write(&mut *stage, PACK, b"pack");
    assert_eq!(store.read(GRAPH, 0..9).expect("there"), "old");
    stage.publish().expect("published");
    assert_eq!(store.read(GRAPH, 0..9).expect("there"), "newer");
    assert_eq!(store.read(PACK, 0..9).expect("there"), "pack");
    assert!(mapped.is_none_or(|mapped| mapped == "old"), "who reads the old one goes on");
    assert_eq!(names(store, "info/"), [GRAPH]);

    // Without a reservation it is kept, as every blob; a first one needs nothing to replace.
    put(store, &[(GRAPH, b"late")]);
    assert_eq!(store.read(GRAPH, 0..9).expect("there"), "newer");
    let mut stage = store.stage().expect("a stage");
    stage.replace("pack/multi-pack-index").expect("free");
    write(&mut *stage, "pack/multi-pack-index", b"first");
    stage.publish().expect("published");
    assert_eq!(store.read("pack/multi-pack-index", 0..9).expect("there"), "first");
}

fn reserved_once(store: &dyn BlobStore) {
    put(store, &[(GRAPH, b"old")]);
    let mut one = store.stage().expect("a stage");
    one.replace(GRAPH).expect("free");
    let mut two = store.stage().expect("a stage");
    let told = two.replace(GRAPH);
    assert!(matches!(told, Err(Error::Locked { .. })), "{told:?}");
    write(&mut *two, GRAPH, b"unasked");
    write(&mut *two, PACK, b"pack");
    two.publish().expect("the rest of it");
    assert_eq!(store.read(GRAPH, 0..9).expect("there"), "old");
    assert_eq!(names(store, "pack/"), [PACK]);
    // Reserved and not used; dropped; published: each time the name is free again.
    one.publish().expect("nothing to publish");
    let mut three = store.stage().expect("a stage");
    three.replace(GRAPH).expect("free again");
    write(&mut *three, GRAPH, b"dropped");
    drop(three);
    assert_eq!(store.read(GRAPH, 0..9).expect("there"), "old");
    assert_eq!(names(store, "info/"), [GRAPH]);
    let mut four = store.stage().expect("a stage");
    four.replace(GRAPH).expect("free again");
    write(&mut *four, GRAPH, b"new");
    four.publish().expect("published");
    store.stage().expect("a stage").replace(GRAPH).expect("free again");
    assert_eq!(store.read(GRAPH, 0..9).expect("there"), "new");
}

fn lists(store: &dyn BlobStore) {
    put(
        store,
        &[
            ("pack/b.pack", b"b"),
            ("pack/a.pack", b"aa"),
            ("pack/a-b.pack", b"aaa"),
            ("info/commit-graph", b"graph"),
            ("info/commit-graphs/graph-1.graph", b"graph"),
        ],
    );
    assert_eq!(names(store, "pack/"), ["pack/a-b.pack", "pack/a.pack", "pack/b.pack"]);
    assert_eq!(names(store, "info/commit-graphs/"), ["info/commit-graphs/graph-1.graph"]);
    assert_eq!(names(store, "info/"), ["info/commit-graph"]);
    assert_eq!(names(store, ""), Vec::<String>::new());
    let sizes: Vec<u64> = store.list("pack/").expect("listed").iter().map(|m| m.size).collect();
    assert_eq!(sizes, [3, 2, 1]);
    assert!(matches!(store.list("pack"), Err(Error::InvalidName { .. })));
    assert!(matches!(store.list("../"), Err(Error::InvalidName { .. })));
}

fn deletes(store: &dyn BlobStore) {
    put(store, &[(PACK, b"bytes")]);
    store.delete(PACK).expect("deleted");
    assert_eq!(store.stat(PACK).expect("no error"), None);
    store.delete(PACK).expect("nothing left to delete");
    put(store, &[(PACK, b"again")]);
    assert_eq!(store.read(PACK, 0..9).expect("there"), "again");
}

fn opened(store: &dyn BlobStore) {
    // More than a chunk, where there are chunks.
    let bytes: Vec<u8> = (0..180_000_u32).flat_map(u32::to_be_bytes).collect();
    put(store, &[(PACK, &bytes), (IDX, b""), (GRAPH, &bytes)]);
    assert!(store.open("pack/none.pack").expect("no error").is_none());
    assert!(store.open("none/none.pack").expect("no error").is_none());
    let open = |name| store.open(name).expect("no error").expect("there");
    let [pack, again, idx, graph] = [PACK, PACK, IDX, GRAPH].map(open);
    drop(again);
    store.delete(PACK).expect("deleted");
    store.delete(IDX).expect("deleted");
    assert!(store.open(PACK).expect("no error").is_none());
    let mut stage = store.stage().expect("a stage");
    stage.replace(GRAPH).expect("nobody else has it");
    write(&mut *stage, GRAPH, b"new");
    stage.publish().expect("published");
    put(store, &[(PACK, b"another")]);
    for blob in [&pack, &graph] {
        assert_eq!(blob.size(), bytes.len() as u64);
        assert_eq!(blob.read(0..u64::MAX).expect("still open"), bytes);
        assert_eq!(blob.read(64_999..65_003).expect("still open"), bytes[64_999..65_003]);
        assert_eq!(blob.read(720_000..u64::MAX).expect("still open"), "");
    }
    assert_eq!((idx.size(), idx.read(0..9).expect("still open").len()), (0, 0));
    let (pack, graph) = (open(PACK), open(GRAPH));
    assert_eq!(pack.read(0..99).expect("there"), "another");
    assert_eq!((graph.size(), graph.read(1..99).expect("there")), (3, "ew".into()));
    // A stage's own blobs, too.
    let mut stage = store.stage().expect("a stage");
    write(&mut *stage, IDX, b"staged");
    let view = stage.store();
    let staged = view.open(IDX).expect("no error").expect("finished");
    assert_eq!((staged.size(), staged.read(0..3).expect("there")), (6, "sta".into()));
    assert!(view.open(PACK).expect("no error").is_none());
}

fn dropped(store: &dyn BlobStore) {
    let mut stage = store.stage().expect("a stage");
    write(&mut *stage, PACK, b"bytes");
    let directory = stage.local_dir().map(|path| path.to_owned());
    drop(stage);
    assert_eq!(names(store, "pack/"), Vec::<String>::new());
    if let Some(directory) = directory {
        assert!(!directory.exists(), "{} is left behind", directory.display());
    }
    let mut stage = store.stage().expect("a stage");
    drop(stage.create(PACK).expect("a new blob"));
    write(&mut *stage, PACK, b"second try");
    stage.publish().expect("published");
    assert_eq!(store.read(PACK, 0..99).expect("there"), "second try");
}

fn unfinished(store: &dyn BlobStore) {
    let mut stage = store.stage().expect("a stage");
    let writer = stage.create(PACK).expect("a new blob");
    assert!(stage.publish().is_err());
    drop(writer);
    assert_eq!(names(store, "pack/"), Vec::<String>::new());
}

fn bad_names(store: &dyn BlobStore) {
    let mut stage = store.stage().expect("a stage");
    let bad = ["", "/etc/passwd", "../HEAD", "pack/../../HEAD", "pack//a", "pack/", "a\0b", ".x"];
    for name in bad {
        let refused = |error: Option<Error>| {
            assert!(matches!(error, Some(Error::InvalidName { .. })), "{name:?}: {error:?}");
        };
        refused(store.stat(name).err());
        refused(store.read(name, 0..1).err());
        refused(store.delete(name).err());
        refused(store.open(name).err());
        refused(store.map(name).err());
        refused(stage.create(name).err());
        refused(stage.rename(PACK, name).err());
        refused(stage.replace(name).err());
        refused(stage.read(name, 0..1).err());
    }
}

fn maps(store: &dyn BlobStore) {
    put(store, &[(PACK, b"bytes"), (IDX, b"")]);
    for name in [PACK, IDX] {
        if let Some(mapped) = store.map(name).expect("no error") {
            assert_eq!(mapped, store.read(name, 0..u64::MAX).expect("there"));
        }
    }
}

fn two_stages(store: &dyn BlobStore) {
    let (mut one, mut two) = (store.stage().expect("a stage"), store.stage().expect("a stage"));
    write(&mut *one, PACK, b"one");
    assert!(matches!(two.read(PACK, 0..9), Err(Error::NotFound { .. })));
    write(&mut *two, PACK, b"one");
    write(&mut *two, IDX, b"two");
    one.publish().expect("published");
    two.publish().expect("published");
    assert_eq!(names(store, "pack/"), [IDX, PACK]);
}
