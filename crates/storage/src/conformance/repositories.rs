//! What every [`RepositoryStore`] must do.

use std::io::Write as _;
use std::sync::Arc;

use object::{HashKind, ObjectId, RefName};

use super::refs::println_case;
use crate::{
    Change, Error, Expected, NewRepository, Parts, Peeled, RefEdit, RefTransaction,
    RepositoryStore, Stored, Target, forks,
};

/// Makes a fresh, empty store.
pub type Factory<'a> = &'a dyn Fn() -> Arc<dyn RepositoryStore>;

/// Runs every case.
pub fn run(make: Factory<'_>) {
    let cases: &[(&str, fn(&dyn RepositoryStore))] = &[
        ("a new store has no repositories", none_yet),
        ("repositories begin as they were asked for", created),
        ("names are listed in order, page by page", pages),
        ("of racing creators exactly one wins", races),
        ("repositories do not see each other", apart),
        ("a configuration takes the place of the one that was found", configured),
        ("who borrows has what the lender has", borrowed),
        ("a removed repository is gone with all it had", removed),
        ("impossible names are refused", bad_names),
    ];
    for (title, case) in cases {
        println_case(title);
        case(&*make());
    }
}

const PACK: &str = "pack/pack-0123456789.pack";
const CONFIG: &[u8] = b"[core]\n\tbare = true\n[receive]\n\tdenyDeletes = true\n";

fn create(store: &dyn RepositoryStore, name: &str, hash: HashKind) -> bool {
    let head = RefName::new("refs/heads/trunk").expect("a valid name");
    store.create(name, &NewRepository { hash, head, config: CONFIG }).expect("no error")
}

fn made(store: &dyn RepositoryStore, name: &str) -> (Stored, Parts) {
    assert!(create(store, name, HashKind::Sha1), "{name} is new");
    let stored = store.find(name).expect("no error").expect("just made");
    (stored, store.parts(name).expect("no error").expect("just made"))
}

fn fill(parts: &Parts) {
    let mut stage = parts.blobs.stage().expect("a stage");
    let mut writer = stage.create(PACK).expect("a writer");
    writer.write_all(b"bytes").expect("written");
    writer.finish().expect("finished");
    stage.publish().expect("published");
    let id = ObjectId::from_bytes(&[1; 20], HashKind::Sha1).expect("twenty bytes");
    let edit = RefEdit {
        name: RefName::new("refs/heads/trunk").expect("a valid name"),
        expected: Expected::MustNotExist,
        change: Change::Update(Target::Id(id)),
        peeled: Peeled::NotATag,
        reflog: None,
    };
    let tx = RefTransaction { edits: vec![edit], ..RefTransaction::default() };
    parts.refs.commit(tx).expect("committed");
}

fn is_empty(parts: &Parts) -> bool {
    let trunk = parts.refs.snapshot().and_then(|refs| refs.get("refs/heads/trunk".into()));
    let blobs = parts.blobs.list("pack/");
    trunk.expect("readable").is_none() && blobs.expect("readable").is_empty()
}

fn none_yet(store: &dyn RepositoryStore) {
    assert_eq!(store.names("", 10).expect("no error"), Vec::<String>::new());
    assert_eq!(store.find("a").expect("no error"), None);
    assert!(store.parts("a").expect("no error").is_none());
    assert!(!store.remove("a").expect("no error"));
}

fn created(store: &dyn RepositoryStore) {
    for (name, hash) in [("one", HashKind::Sha1), ("group/two", HashKind::Sha256)] {
        assert!(create(store, name, hash));
        assert!(!create(store, name, hash), "there is one");
        let stored = store.find(name).expect("no error").expect("just made");
        assert_eq!((stored.hash, &*stored.config), (hash, CONFIG));
        assert_eq!(store.find(name).expect("no error").expect("there"), stored);
        let parts = store.parts(name).expect("no error").expect("just made");
        assert_eq!(parts.hash, hash);
        assert!(parts.config.string("receive.denyDeletes").is_some_and(|value| value == "true"));
        let head = parts.refs.snapshot().and_then(|refs| refs.get("HEAD".into()));
        let head = head.expect("readable").expect("every repository has one");
        assert_eq!(head.target.to_string(), "ref: refs/heads/trunk");
        assert!(is_empty(&parts));
    }
    let number = |name| store.find(name).expect("no error").expect("there").number;
    assert_ne!(number("one"), number("group/two"));
}

fn pages(store: &dyn RepositoryStore) {
    for name in ["b", "a/z", "a", "a-b", "ä"] {
        assert!(create(store, name, HashKind::Sha1));
    }
    let page = |after: &str, most| store.names(after, most).expect("no error");
    assert_eq!(page("", 10), ["a", "a-b", "a/z", "b", "ä"]);
    assert_eq!(page("", 2), ["a", "a-b"]);
    assert_eq!(page("a-b", 2), ["a/z", "b"]);
    assert_eq!(page("a0", 10), ["b", "ä"], "what it begins behind need not be there");
    assert_eq!(page("ä", 10), Vec::<String>::new());
    assert_eq!(page("", 0), Vec::<String>::new());
}

fn races(store: &dyn RepositoryStore) {
    let wins: usize = std::thread::scope(|scope| {
        let one = || usize::from(create(store, "wanted", HashKind::Sha1));
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
        threads.into_iter().map(|thread| thread.join().expect("no panic")).sum()
    });
    assert_eq!(wins, 1);
}

fn apart(store: &dyn RepositoryStore) {
    let ((_, one), (_, two)) = (made(store, "one"), made(store, "two"));
    fill(&one);
    assert!(!is_empty(&one) && is_empty(&two));
    // A handle opened later sees the same.
    let again = store.parts("one").expect("no error").expect("there");
    assert_eq!(again.blobs.read(PACK, 0..9).expect("there"), "bytes");
}

fn configured(store: &dyn RepositoryStore) {
    let (found, parts) = made(store, "one");
    fill(&parts);
    let text = b"[core]\n\tbare = true\n[receive]\n\tdenyDeletes = false\n";
    assert!(store.configure("one", &found, text).expect("no error"));
    let now = store.find("one").expect("no error").expect("there");
    assert_eq!(now, Stored { config: text.to_vec(), ..found.clone() });
    let again = store.parts("one").expect("no error").expect("there");
    assert!(again.config.string("receive.denyDeletes").is_some_and(|value| value == "false"));
    assert!(!is_empty(&again), "it has what it had");
    // It is another one by now; and so is one that was removed, or made anew.
    assert!(!store.configure("one", &found, CONFIG).expect("no error"));
    assert!(!store.configure("none", &found, CONFIG).expect("no error"));
    assert!(store.remove("one").expect("removed"));
    assert!(!store.configure("one", &now, CONFIG).expect("no error"));
    made(store, "one");
    assert!(!store.configure("one", &now, CONFIG).expect("no error"));
    assert_eq!(store.find("one").expect("no error").expect("there").config, CONFIG);
}

fn borrowed(store: &dyn RepositoryStore) {
    let ((_, lender), (found, borrower)) = (made(store, "group/lender"), made(store, "borrower"));
    fill(&lender);
    let line = forks::alternates_line("borrower", "group/lender");
    let mut stage = borrower.blobs.stage().expect("a stage");
    let mut writer = stage.create(forks::ALTERNATES).expect("a writer");
    writer.write_all(line.as_bytes()).expect("written");
    writer.finish().expect("finished");
    stage.publish().expect("published");
    assert_eq!(forks::lenders("borrower", &*borrower.blobs).expect("readable"), ["group/lender"]);
    assert_eq!(forks::borrowers(&*lender.blobs).expect("readable"), Vec::<String>::new());
    let config = [CONFIG, b"[packhorse]\n\tborrows = true\n"].concat();
    assert!(store.configure("borrower", &found, &config).expect("no error"));
    let parts = store.parts("borrower").expect("no error").expect("there");
    assert!(is_empty(&parts));
    let [alternate] = &parts.alternates[..] else { panic!("one lender") };
    assert_eq!(alternate.read(PACK, 0..9).expect("there"), "bytes");
    let [refs] = &parts.alternate_refs[..] else { panic!("one lender") };
    let trunk = refs.snapshot().and_then(|refs| refs.get("refs/heads/trunk".into()));
    assert!(trunk.expect("readable").is_some());
    // Without the lender, nobody takes it for whole.
    assert!(store.remove("group/lender").expect("removed"));
    let error = store.parts("borrower").err().expect("an error").to_string();
    assert!(error.contains("group/lender"), "{error}");
}

fn removed(store: &dyn RepositoryStore) {
    let ((old, parts), (_, other)) = (made(store, "one"), made(store, "other"));
    fill(&parts);
    fill(&other);
    assert!(store.remove("one").expect("removed"));
    assert!(!store.remove("one").expect("no error"));
    assert_eq!(store.find("one").expect("no error"), None);
    assert_eq!(store.names("", 9).expect("no error"), ["other"]);
    assert!(!is_empty(&other));
    let (new, again) = made(store, "one");
    assert_ne!(new.number, old.number);
    assert!(is_empty(&again));
    // Who still has the old one open does nothing to the new one.
    let late = parts.blobs.stage().and_then(|mut stage| {
        let mut writer = stage.create(PACK)?;
        writer.write_all(b"late").map_err(|source| Error::io(PACK, source))?;
        writer.finish()?;
        stage.publish()
    });
    let _ = late;
    assert!(is_empty(&again));
}

fn bad_names(store: &dyn RepositoryStore) {
    let head = RefName::new("refs/heads/main").expect("a valid name");
    for name in ["", "/", "a//b", "../a", "a.git", "a/.", "a\nb"] {
        let new = NewRepository { hash: HashKind::Sha1, head: head.clone(), config: b"" };
        let refused = store.create(name, &new);
        assert!(matches!(refused, Err(Error::InvalidName { .. })), "{name:?}: {refused:?}");
        assert_eq!(store.find(name).expect("no error"), None, "{name:?}");
    }
}
