//! What everybody who watches a [`RefStore`] hears, whoever makes the change.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use bstr::ByteSlice as _;
use object::{HashKind, RefName};

use super::refs::{Refs, println_case};
use crate::{Moved, RefStore, Target, Watching};

/// Makes a fresh repository, opened twice: who changes refs, and who watches, perhaps on another
/// server. Its `HEAD` points at the unborn `refs/heads/main`.
pub type Factory<'a> = &'a dyn Fn() -> (Arc<dyn RefStore>, Arc<dyn RefStore>);

/// Long enough for every store to say something.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs every case.
pub fn run(hash: HashKind, make: Factory<'_>) {
    let cases: &[(&str, fn(&Refs, Mirror))] = &[
        ("each change is heard", each_is_heard),
        ("what happens while somebody begins to watch is not missed", beginning),
        ("many writers are followed", many_writers),
        ("a change of many refs is followed", many_refs),
        ("a transaction that does not happen changes nothing", refused),
        ("several watch, and who goes hears nothing more", several),
    ];
    for (title, case) in cases {
        println_case(title);
        let (store, watched) = make();
        case(&Refs { hash, store }, Mirror::new(watched));
    }
}

/// What was heard, kept until somebody looks.
enum Heard {
    Names(Vec<RefName>),
    Somehow,
}

/// The refs of a repository, as somebody knows them who only listens.
struct Mirror {
    store: Arc<dyn RefStore>,
    known: BTreeMap<RefName, Target>,
    heard: Receiver<Heard>,
    watching: Option<Watching>,
}

impl Mirror {
    fn new(store: Arc<dyn RefStore>) -> Self {
        let mut mirror =
            Mirror { store, known: BTreeMap::new(), heard: channel().1, watching: None };
        mirror.begin();
        mirror
    }

    /// Watches, and then looks.
    fn begin(&mut self) {
        let (tell, heard) = channel();
        let watching = self.store.watch(Arc::new(move |moved| {
            // Nobody listens to a mirror that is gone.
            let _ = tell.send(match moved {
                Moved::Names(names) => Heard::Names(names.to_vec()),
                Moved::Somehow => Heard::Somehow,
            });
        }));
        self.heard = heard;
        self.watching = Some(watching.expect("watched"));
        self.look();
    }

    fn look(&mut self) {
        let snapshot = self.store.snapshot().expect("a snapshot");
        self.known.clear();
        let mut visit = |view: crate::RefView<'_>| {
            let found = view.to_ref();
            self.known.insert(found.name, found.target);
            ControlFlow::Continue(())
        };
        snapshot.scan("".into(), &mut visit).expect("a scan");
        let head = snapshot.get(b"HEAD".as_bstr()).expect("readable");
        self.known.extend(head.map(|head| (head.name, head.target)));
    }

    /// Follows what is heard until it has come so far.
    fn until(&mut self, title: &str, is_there: impl Fn(&BTreeMap<RefName, Target>) -> bool) {
        let end = Instant::now() + PATIENCE;
        while !is_there(&self.known) {
            let left = end.saturating_duration_since(Instant::now());
            match self.heard.recv_timeout(left).map_err(|_| title) {
                Ok(Heard::Somehow) => self.look(),
                Ok(Heard::Names(names)) => self.look_at(names),
                Err(title) => panic!("{title}: not heard; known are {:?}", self.known),
            }
        }
    }

    fn look_at(&mut self, names: Vec<RefName>) {
        let snapshot = self.store.snapshot().expect("a snapshot");
        for name in names {
            match snapshot.get(name.as_bstr()).expect("readable") {
                Some(found) => self.known.insert(name, found.target),
                None => self.known.remove(&name),
            };
        }
    }

    #[track_caller]
    fn until_is(&mut self, name: &str, target: Option<Target>) {
        let name = RefName::new(name).expect("a name");
        let title = format!("{name} is {target:?}");
        self.until(&title, |known| known.get(&name) == target.as_ref());
    }

    /// Follows until it knows what the other side has.
    fn until_same(&mut self, refs: &Refs) {
        let all: BTreeMap<_, _> = refs.scan("").into_iter().collect();
        self.until("all is known", |known| {
            let known = known.iter().filter(|(name, _)| name.starts_with(b"refs/"));
            known
                .map(|(name, target)| (name.as_bstr(), target))
                .eq(all.iter().map(|(name, target)| (name.as_bstr(), target)))
        });
    }
}

fn each_is_heard(refs: &Refs, mut mirror: Mirror) {
    let name = "refs/heads/main";
    refs.must(vec![refs.create(name, 1)]);
    mirror.until_is(name, Some(refs.target(1)));
    refs.must(vec![refs.update(name, 1, 2)]);
    mirror.until_is(name, Some(refs.target(2)));
    refs.must(vec![refs.delete(name, 2)]);
    mirror.until_is(name, None);
    refs.must(vec![refs.create("refs/heads/main/below", 3)]);
    mirror.until_is("refs/heads/main/below", Some(refs.target(3)));
    let other = RefName::new("refs/heads/other").expect("a name");
    let main = RefName::new(name).expect("a name");
    refs.must(vec![super::refs::edit(
        "HEAD",
        crate::Expected::MustExistAndMatch(Target::Symbolic(main)),
        crate::Change::Update(Target::Symbolic(other.clone())),
    )]);
    mirror.until_is("HEAD", Some(Target::Symbolic(other)));
}

fn beginning(refs: &Refs, mut mirror: Mirror) {
    let name = "refs/heads/count";
    refs.must(vec![refs.create(name, 1)]);
    for round in 0..4_u8 {
        let (first, last) = (1 + round * 10, 11 + round * 10);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in first..last {
                    refs.must(vec![refs.update(name, number, number + 1)]);
                }
            });
            mirror.begin();
        });
        mirror.until_is(name, Some(refs.target(last)));
    }
}

fn many_writers(refs: &Refs, mut mirror: Mirror) {
    const WRITERS: u8 = 4;
    const STEPS: u8 = 10;
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            scope.spawn(move || {
                let name = format!("refs/heads/{writer}/moved");
                refs.patient(vec![refs.create(&name, 1)]);
                for step in 1..STEPS {
                    refs.patient(vec![refs.update(&name, step, step + 1)]);
                    let other = format!("refs/tags/{writer}-{step}");
                    refs.patient(vec![refs.create(&other, step)]);
                }
                refs.patient(vec![refs.delete(&format!("refs/tags/{writer}-3"), 3)]);
            });
        }
    });
    mirror.until_same(refs);
}

fn many_refs(refs: &Refs, mut mirror: Mirror) {
    let names: Vec<String> = (0..3000).map(|n| format!("refs/heads/many/{n:04}")).collect();
    refs.must(names.iter().map(|name| refs.create(name, 1)).collect());
    mirror.until_same(refs);
    refs.must(names.iter().skip(1).map(|name| refs.delete(name, 1)).collect());
    mirror.until_same(refs);
}

fn refused(refs: &Refs, mut mirror: Mirror) {
    refs.must(vec![refs.create("refs/heads/a", 1)]);
    mirror.until_is("refs/heads/a", Some(refs.target(1)));
    refs.commit(vec![refs.update("refs/heads/a", 7, 8)]).expect_err("it is not 7");
    let edits = vec![refs.update("refs/heads/a", 1, 2)];
    let tx = crate::RefTransaction { edits, ..Default::default() };
    drop(refs.store.prepare(tx).expect("prepared"));
    refs.must(vec![refs.create("refs/heads/b", 1)]);
    mirror.until_is("refs/heads/b", Some(refs.target(1)));
    assert_eq!(
        mirror.known.get(&RefName::new("refs/heads/a").expect("a name")),
        Some(&refs.target(1))
    );
}

fn several(refs: &Refs, mut first: Mirror) {
    let mut second = Mirror::new(first.store.clone());
    refs.must(vec![refs.create("refs/heads/a", 1)]);
    first.until_is("refs/heads/a", Some(refs.target(1)));
    second.until_is("refs/heads/a", Some(refs.target(1)));
    drop(first.watching.take());
    // Calls that had begun.
    while first.heard.recv_timeout(Duration::from_millis(200)).is_ok() {}
    refs.must(vec![refs.update("refs/heads/a", 1, 2)]);
    second.until_is("refs/heads/a", Some(refs.target(2)));
    let heard = first.heard.recv_timeout(Duration::from_millis(1));
    assert!(matches!(heard, Err(RecvTimeoutError::Disconnected)), "it hears on");
}
