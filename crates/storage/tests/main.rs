//! The in-memory stores and the wrappers, through the conformance suite.

use std::io::Write as _;
use std::sync::Arc;

use object::{HashKind, ObjectId, RefName};
use storage::faulty::{Fault, Faults, FaultyBlobs, FaultyRefs};
use storage::{
    Blame, BlobLimits, BlobStore, Change, Error, Expected, LimitBlobs, MemoryBlobs, MemoryRefs,
    MemoryRepositories, MixedStore, NewRepository, ObjectsOf, Peeled, PrefixBlobs, RefEdit,
    RefStore, RefTransaction, RepositoryStore as _, RoutedStore, Target, conformance,
};

fn memory_refs(hash: HashKind) -> Arc<dyn RefStore> {
    let head = RefName::new("refs/heads/main").expect("valid");
    Arc::new(MemoryRefs::new(hash, head))
}

fn memory_blobs() -> Arc<dyn BlobStore> {
    Arc::new(MemoryBlobs::new())
}

#[test]
fn memory_conforms() {
    for hash in [HashKind::Sha1, HashKind::Sha256] {
        conformance::refs::run(hash, &|| memory_refs(hash));
        conformance::watch::run(hash, &|| {
            let refs = memory_refs(hash);
            (refs.clone(), refs)
        });
    }
    conformance::blobs::run(&memory_blobs);
    conformance::repositories::run(&|| Arc::new(MemoryRepositories::new()));
}

#[test]
fn routes_conform() {
    let store = || Arc::new(MemoryRepositories::new());
    conformance::repositories::run(&|| {
        let routed = RoutedStore::new().with("", store()).with("group", store());
        Arc::new(routed.with("a", store()).with("group/lender", store()))
    });
    let (all, big, bigger) = (store(), store(), store());
    let routed = RoutedStore::new().with("", all.clone()).with("big", big.clone());
    let routed = routed.with("big/er/", bigger.clone());
    let head = RefName::new("refs/heads/main").expect("valid");
    let new = NewRepository { hash: HashKind::Sha1, head, config: b"" };
    for name in ["big", "big/a", "big/er", "big/er/b", "bigger", "a", "big-b"] {
        assert!(routed.create(name, &new).expect("made"));
    }
    let names = |store: &MemoryRepositories| store.names("", 9).expect("readable");
    assert_eq!(names(&all), ["a", "big-b", "bigger"]);
    assert_eq!(names(&big), ["big", "big/a"]);
    assert_eq!(names(&bigger), ["big/er", "big/er/b"]);
    // What is in a store that its name does not lead to is not seen.
    assert!(big.create("c", &new).expect("made"));
    let all = ["a", "big", "big-b", "big/a", "big/er", "big/er/b", "bigger"];
    assert_eq!(routed.names("", 9).expect("readable"), all);
    assert_eq!(routed.names("big", 2).expect("readable"), all[2..4]);
    assert_eq!(routed.find("c").expect("readable"), None);
    let some = RoutedStore::new().with("big", big);
    assert!(some.leads_to("big/x") && !some.leads_to("bigger"));
    let words = some.create("other", &new).expect_err("no store").to_string();
    assert!(words.contains("no store is configured"), "{words}");
}

#[test]
fn mixes_conform() {
    let of = |store| Arc::new(ObjectsOf(store));
    conformance::repositories::run(&|| {
        let refs = Arc::new(MemoryRepositories::new());
        Arc::new(MixedStore::new(refs, of(Arc::new(MemoryRepositories::new()))))
    });
}

#[test]
fn objects_that_others_claim_are_left_alone() {
    let store = || -> Arc<MemoryRepositories> { Arc::default() };
    let objects = store();
    let (one, other) = (store(), store());
    let mix = |refs: &Arc<MemoryRepositories>| {
        MixedStore::new(refs.clone(), Arc::new(ObjectsOf(objects.clone())))
    };
    let head = RefName::new("refs/heads/main").expect("valid");
    let new = NewRepository { hash: HashKind::Sha1, head: head.clone(), config: b"" };
    assert!(mix(&one).create("a", &new).expect("made"));
    let refused = mix(&other).create("a", &new).expect_err("claimed");
    assert!(matches!(refused, Error::Refused { .. }), "{refused}");
    assert!(other.find("a").expect("readable").is_none(), "nothing half made is left");
    // Another way to claim it: a copy of the refs' store that does not know of the first.
    let config = one.find("a").expect("readable").expect("there").config;
    let stranger = String::from_utf8(config).expect("text");
    let (before, claim) = stranger.trim_end().rsplit_once(' ').expect("a claim");
    let stranger = format!("{before} {}", claim.chars().rev().collect::<String>());
    let copied = NewRepository { config: stranger.as_bytes(), ..new.clone() };
    assert!(other.create("a", &copied).expect("made"));
    let refused = mix(&other).parts("a").err().expect("claimed");
    assert!(refused.to_string().contains("two configurations claim"), "{refused}");
    assert!(mix(&other).remove("a").expect("its refs are removed"));
    assert!(mix(&one).parts("a").expect("readable").is_some(), "the objects are still there");
    // A repository that was made by halves has no refs: its objects are made when it is opened.
    objects.remove("a").expect("removed");
    let parts = mix(&one).parts("a").expect("readable").expect("there");
    let edit = RefEdit {
        name: head,
        expected: Expected::MustNotExist,
        change: Change::Update(Target::Id(id(1))),
        peeled: Peeled::Unknown,
        reflog: None,
    };
    let tx = RefTransaction { edits: vec![edit], ..RefTransaction::default() };
    parts.refs.commit(tx).expect("committed");
    objects.remove("a").expect("removed");
    let lost = mix(&one).parts("a").err().expect("refs without objects");
    assert!(matches!(lost, Error::Corrupt { .. }), "{lost}");
}

fn id(byte: u8) -> ObjectId {
    ObjectId::from_bytes(&[byte; 20], HashKind::Sha1).expect("twenty bytes")
}

#[test]
fn wrappers_conform() {
    conformance::blobs::run(&|| {
        Arc::new(PrefixBlobs::new(memory_blobs(), "tenant/repo.git").expect("a valid prefix"))
    });
    conformance::blobs::run(&|| Arc::new(LimitBlobs::new(memory_blobs(), BlobLimits::default())));
    conformance::blobs::run(&|| {
        Arc::new(FaultyBlobs::new(memory_blobs(), Faults::new(Fault::None)))
    });
    let hash = HashKind::Sha1;
    conformance::refs::run(hash, &|| {
        Arc::new(FaultyRefs::new(memory_refs(hash), Faults::new(Fault::None)))
    });
    conformance::watch::run(hash, &|| {
        let refs = memory_refs(hash);
        (refs.clone(), Arc::new(FaultyRefs::new(refs, Faults::new(Fault::None))))
    });
}

#[test]
fn a_prefix_keeps_neighbours_apart() {
    let shared = memory_blobs();
    let one = PrefixBlobs::new(Arc::clone(&shared), "one").expect("valid");
    let two = PrefixBlobs::new(Arc::clone(&shared), "two").expect("valid");
    let mut stage = one.stage().expect("a stage");
    let mut writer = stage.create("pack/a.pack").expect("new");
    writer.write_all(b"bytes").expect("written");
    writer.finish().expect("finished");
    stage.publish().expect("published");
    assert_eq!(one.list("pack/").expect("listed").len(), 1);
    assert_eq!(two.list("pack/").expect("listed").len(), 0);
    assert_eq!(shared.read("one/pack/a.pack", 0..9).expect("there"), "bytes");
}

#[test]
fn limits_refuse_in_words_and_leave_nothing() {
    let limits = BlobLimits { blob_bytes_max: 10, stage_bytes_max: 15 };
    let store = LimitBlobs::new(memory_blobs(), limits);
    let mut stage = store.stage().expect("a stage");
    let mut first = stage.create("pack/a.pack").expect("new");
    first.write_all(&[0; 10]).expect("exactly the limit");
    let error = first.write_all(b"x").expect_err("one byte over");
    assert_eq!(error.to_string(), "pack/a.pack: 11 bytes are over the limit of 10");
    let inner = error.downcast::<Error>().expect("the store's own error");
    assert_eq!((inner.blame(), inner.what()), (Blame::Caller, "pack/a.pack"));
    first.finish().expect("finished");
    let mut second = stage.create("pack/b.pack").expect("new");
    second.write_all(&[0; 6]).expect_err("the stage is over its limit");
    second.write_all(&[0; 5]).expect("exactly the limit");
    drop((second, stage));
    assert_eq!(store.list("pack/").expect("listed"), []);
}

#[test]
fn the_planned_write_fails_and_a_crash_stays() {
    let faults = Faults::new(Fault::FailWrite(1, std::io::ErrorKind::StorageFull));
    let refs = FaultyRefs::new(memory_refs(HashKind::Sha1), Arc::clone(&faults));
    let error = refs.commit(RefTransaction::default()).expect_err("the first write fails");
    assert!(error.to_string().contains("no space left"), "{error}");
    refs.commit(RefTransaction::default()).expect("the second does not");
    assert_eq!(faults.writes(), 3);

    let faults = Faults::new(Fault::CrashAtWrite(2));
    let blobs = FaultyBlobs::new(memory_blobs(), Arc::clone(&faults));
    let mut stage = blobs.stage().expect("write 1");
    assert!(stage.create("pack/a.pack").is_err());
    assert!(faults.crashed());
    assert!(blobs.list("pack/").is_err(), "nothing works after a crash");
}

#[test]
fn short_reads_repeat_with_their_seed() {
    let run = |seed| {
        let faults = Faults::with_short_reads(Fault::None, 3, seed);
        let blobs = FaultyBlobs::new(memory_blobs(), faults);
        let mut stage = blobs.stage().expect("a stage");
        stage.create("pack/a.pack").expect("new").finish().expect("finished");
        stage.publish().expect("published");
        (0..50).map(|_| blobs.read("pack/a.pack", 0..1).is_ok()).collect::<Vec<_>>()
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
    assert!(run(7).contains(&false) && run(7).contains(&true));
}
