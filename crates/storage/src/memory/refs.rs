//! Refs in a sorted map. A prepared transaction holds the store's one write token,
//! so that two of them are always one after the other.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, ControlFlow};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bstr::{BStr, BString, ByteSlice as _};
use object::{HashKind, ObjectId, RefName};

use crate::{
    Bells, Change, CommitError, Moved, Peeled, PeeledView, Prepared, Ref, RefEdit, RefSnapshot,
    RefStore, RefTransaction, RefView, Result, Target, Wake, Watching, check_edits, check_ids,
    prefixes_of,
};

/// The strictest [`RefStore`].
pub struct MemoryRefs {
    hash: HashKind,
    state: Mutex<Arc<State>>,
    /// Whether a prepared transaction is under way; readers never wait for it.
    writing: Mutex<bool>,
    written: Condvar,
    lock_wait: Duration,
    bells: Bells<()>,
}

/// How long a transaction waits for another one before it is told [`CommitError::Locked`].
const LOCK_WAIT_DEFAULT: Duration = Duration::from_secs(1);

#[derive(Clone, Default)]
struct State {
    refs: BTreeMap<RefName, Target>,
    shallow: BTreeSet<ObjectId>,
    reflogs: BTreeMap<RefName, Vec<BString>>,
}

impl MemoryRefs {
    /// A store whose `HEAD` points at the unborn branch `head`.
    pub fn new(hash: HashKind, head: RefName) -> Self {
        let mut state = State::default();
        let name = RefName::new("HEAD").expect("HEAD is a ref name");
        state.refs.insert(name, Target::Symbolic(head));
        MemoryRefs {
            hash,
            state: Mutex::new(Arc::new(state)),
            writing: Mutex::new(false),
            written: Condvar::new(),
            lock_wait: LOCK_WAIT_DEFAULT,
            bells: Bells::default(),
        }
    }

    /// Sets how long a transaction waits for another one (default: one second).
    pub fn with_lock_wait(mut self, wait: Duration) -> Self {
        self.lock_wait = wait;
        self
    }

    /// The reflog of one ref, oldest line first, without line feeds.
    pub fn reflog(&self, name: &RefName) -> Vec<BString> {
        self.state().reflogs.get(name).cloned().unwrap_or_default()
    }

    fn state(&self) -> Arc<State> {
        Arc::clone(&lock(&self.state))
    }
}

impl RefStore for MemoryRefs {
    fn snapshot(&self) -> Result<Arc<dyn RefSnapshot>> {
        Ok(self.state())
    }

    fn prepare<'a>(&'a self, tx: RefTransaction) -> Result<Box<dyn Prepared + 'a>, CommitError> {
        check_edits(&tx.edits)?;
        check_ids(&tx.edits, self.hash)?;
        let token = self.take_token(&tx)?;
        let mut next = State::clone(&self.state());
        for edit in &tx.edits {
            next.verify(edit)?;
        }
        let names = tx.edits.iter().map(|edit| edit.name.clone()).collect();
        for edit in tx.edits {
            next.apply(edit, self.hash);
        }
        next.shallow.extend(tx.shallow_add);
        for id in &tx.shallow_remove {
            next.shallow.remove(id);
        }
        Ok(Box::new(PreparedMemory { next, names, token }))
    }

    fn watch(&self, wake: Wake) -> Result<Watching> {
        Ok(Watching::new(self.bells.watch((), wake)))
    }
}

/// The right to write, given back when dropped.
struct Token<'a>(&'a MemoryRefs);

impl Drop for Token<'_> {
    fn drop(&mut self) {
        *lock(&self.0.writing) = false;
        self.0.written.notify_one();
    }
}

struct PreparedMemory<'a> {
    next: State,
    names: Vec<RefName>,
    token: Token<'a>,
}

impl Prepared for PreparedMemory<'_> {
    fn commit(self: Box<Self>) -> Result<(), CommitError> {
        *lock(&self.token.0.state) = Arc::new(self.next);
        self.token.0.bells.ring(&(), Moved::Names(&self.names));
        Ok(())
    }
}

impl MemoryRefs {
    fn take_token(&self, tx: &RefTransaction) -> Result<Token<'_>, CommitError> {
        let writing = lock(&self.writing);
        let (mut writing, _) = self
            .written
            .wait_timeout_while(writing, self.lock_wait, |writing| *writing)
            .unwrap_or_else(PoisonError::into_inner);
        if *writing {
            let name = match tx.edits.first() {
                Some(edit) => edit.name.clone(),
                None => RefName::new("HEAD").expect("HEAD is a ref name"),
            };
            return Err(CommitError::Locked { name, lock: "another transaction".to_owned() });
        }
        *writing = true;
        Ok(Token(self))
    }
}

impl State {
    fn verify(&self, edit: &RefEdit) -> Result<(), CommitError> {
        let found = self.refs.get(&edit.name);
        let expected = edit.expected.target();
        if found != expected {
            return Err(CommitError::Lost {
                name: edit.name.clone(),
                expected: expected.cloned(),
                found: found.cloned(),
            });
        }
        match (found, &edit.change) {
            (None, Change::Update(_)) => self.verify_available(&edit.name),
            _ => Ok(()),
        }
    }

    fn verify_available(&self, name: &RefName) -> Result<(), CommitError> {
        let in_the_way = prefixes_of(name.as_bstr())
            .find(|prefix| self.get(prefix).is_some())
            .map(BStr::to_owned)
            .or_else(|| {
                let directory = [name.as_bytes(), b"/"].concat();
                let (first, _) = self.from(directory.as_bstr()).next()?;
                first.starts_with(&directory).then(|| first.as_bstr().to_owned())
            });
        match in_the_way {
            Some(with) => Err(CommitError::NameConflict { name: name.clone(), with }),
            None => Ok(()),
        }
    }

    fn apply(&mut self, edit: RefEdit, hash: HashKind) {
        let old = self.refs.get(&edit.name).cloned();
        match edit.change {
            Change::Delete => {
                self.refs.remove(&edit.name);
                self.reflogs.remove(&edit.name);
            }
            Change::Update(new) => {
                if let Some(line) = edit.reflog {
                    let id = |target: Option<&Target>| {
                        target.and_then(Target::id).unwrap_or(ObjectId::null(hash))
                    };
                    let (old, new) = (id(old.as_ref()), id(Some(&new)));
                    let text = format!("{old} {new} {}\t{}", line.committer, line.message);
                    self.reflogs.entry(edit.name.clone()).or_default().push(text.into());
                }
                self.refs.insert(edit.name, new);
            }
        }
    }

    fn get(&self, name: &BStr) -> Option<(&RefName, &Target)> {
        self.from(name).next().filter(|(found, _)| found.as_bstr() == name)
    }

    fn from(&self, name: &BStr) -> impl Iterator<Item = (&RefName, &Target)> {
        self.refs.range::<BStr, _>((Bound::Included(name), Bound::Unbounded))
    }
}

impl RefSnapshot for State {
    fn get(&self, name: &BStr) -> Result<Option<Ref>> {
        Ok(State::get(self, name).map(|(name, target)| Ref {
            name: name.clone(),
            target: target.clone(),
            peeled: Peeled::Unknown,
        }))
    }

    fn scan(
        &self,
        prefix: &BStr,
        visit: &mut dyn FnMut(RefView<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        let start = prefix.max(b"refs/".as_bstr());
        for (name, target) in self.from(start) {
            let name = name.as_bstr();
            if !name.starts_with(prefix) || !name.starts_with(b"refs/") {
                break;
            }
            let view = RefView { name, target: target.as_view(), peeled: PeeledView::Unknown };
            if visit(view).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn shallow(&self) -> Result<Vec<ObjectId>> {
        Ok(self.shallow.iter().copied().collect())
    }
}

/// A panic elsewhere cannot leave half a state behind: states are replaced whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
