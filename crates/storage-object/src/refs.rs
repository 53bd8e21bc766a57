//! Refs: a stack of reftables in the bucket. A transaction is one more table, and the list of tables
//! replaced on the condition that it is the one the transaction was verified against.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bstr::{BStr, ByteSlice as _};
use gitconfig::{Config, Scope};
use object::{HashKind, ObjectId, RefName};
use reftable::Table;
use reftable::stack::{LIST, parse_list};
use storage::{
    Bells, CommitError, Error, HeldRefs, Prepared, Ref, RefSnapshot, RefStore, RefTransaction,
    RefView, ReflogPolicy, Result, Wake, Watching,
};
use storage_reftable::{RefTables, check_transaction};

use crate::commit::{self, CommitRounds, PreparedTables};
use crate::requests::Tag;
use crate::store::Shared;
use crate::watch;

/// How often a list is read again of which a table is gone: somebody made several one.
const READINGS_MAX: usize = 20;

/// The refs of one repository, for all of this server that use them.
pub(crate) struct ObjectRefs {
    pub shared: Arc<Shared>,
    pub directory: Arc<str>,
    pub number: u64,
    hash: HashKind,
    pub reflogs: ReflogPolicy,
    /// Which state of the refs was read last.
    pub epoch: Arc<Epoch>,
    pub cached: Mutex<Cached>,
    held: HeldRefs,
    pub rounds: CommitRounds,
    /// Who wants to know when they move.
    pub bells: Bells<()>,
}

/// What was read last: immutable tables, and the list with its state.
#[derive(Default)]
pub(crate) struct Cached {
    pub list: Option<(Tag, Vec<String>)>,
    /// The shallow commits that belong to a list.
    pub shallow: Option<(Tag, Vec<ObjectId>)>,
    pub tables: HashMap<String, Table>,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts the states of a repository's refs that were read. Objects are there before a ref names
/// them, so a listing of objects made after some state was read has all that this state needs, for
/// as long as it is the newest.
#[derive(Default)]
pub(crate) struct Epoch(AtomicU64);

impl Epoch {
    fn read(&self, is_new: bool) {
        self.0.fetch_add(u64::from(is_new), Ordering::SeqCst);
    }

    /// The present one; `None` when no refs were read: they may be in another store.
    pub fn get(&self) -> Option<u64> {
        Some(self.0.load(Ordering::SeqCst)).filter(|number| *number > 0)
    }
}

impl ObjectRefs {
    pub fn new(
        shared: Arc<Shared>,
        directory: Arc<str>,
        (number, hash): (u64, HashKind),
        config: &[u8],
    ) -> Result<Self> {
        let config = Config::parse(config, Scope::Local, Path::new("config"))
            .map_err(|error| Error::corrupt(&directory, error))?;
        let reflogs = ReflogPolicy::from_config(&config, true)?;
        Ok(ObjectRefs {
            shared,
            directory,
            number,
            hash,
            reflogs,
            epoch: Arc::default(),
            cached: Mutex::default(),
            held: HeldRefs::default(),
            rounds: commit::rounds(),
            bells: Bells::default(),
        })
    }

    /// A list was read or written.
    pub fn note_list(&self, list: Option<(Tag, Vec<String>)>) {
        let mut cached = lock(&self.cached);
        let same = match (&cached.list, &list) {
            (Some((old, _)), Some((new, _))) => old == new,
            _ => false,
        };
        let names = list.as_ref().map(|(_, names)| names.clone()).unwrap_or_default();
        let old = std::mem::replace(&mut cached.list, list);
        drop(cached);
        self.epoch.read(!same);
        if !same {
            self.ring(old.as_ref().map(|(_, names)| &names[..]), &names);
        }
    }

    pub fn key(&self, name: &str) -> String {
        format!("{}/reftable/{name}", self.directory)
    }

    /// The tables there are now, and the state of their list; no state where there is no list.
    pub fn stack(&self) -> Result<(RefTables, Option<Tag>)> {
        let client = &self.shared.client;
        let key = self.key(LIST);
        for _ in 0..READINGS_MAX {
            let known = lock(&self.cached).list.clone();
            let list = match &known {
                None => client.get(&key)?.map(Some).map_or(Some(None), Some),
                Some((tag, _)) => client.get_changed(&key, tag)?,
            };
            let (tag, names) = match (list, known) {
                // It is as it was.
                (None, Some((tag, names))) => (Some(tag), names),
                (Some(None) | None, _) => (None, Vec::new()),
                (Some(Some(read)), _) => {
                    let names = parse_list(&read.bytes);
                    let names = names.map_err(|error| Error::corrupt(&key, error))?;
                    (Some(read.tag), names)
                }
            };
            match self.tables(&names)? {
                Some(tables) => {
                    self.note_list(tag.clone().map(|tag| (tag, names.clone())));
                    let what = format!("{}/{}", client.what, self.directory);
                    return Ok((RefTables { what, hash: self.hash, names, tables }, tag));
                }
                // A list that names what is gone is not the newest any more.
                None => self.note_list(None),
            }
        }
        Err(Error::corrupt(key, "it names tables that are not there"))
    }

    /// The tables of these names; `None` when one is gone.
    fn tables(&self, names: &[String]) -> Result<Option<Vec<Table>>> {
        let mut known = HashMap::new();
        {
            let mut cached = lock(&self.cached);
            cached.tables.retain(|name, _| names.contains(name));
            known.clone_from(&cached.tables);
        }
        let mut tables = Vec::with_capacity(names.len());
        for name in names {
            if let Some(table) = known.get(name) {
                tables.push(table.clone());
                continue;
            }
            let Some(read) = self.shared.client.get(&self.key(name))? else { return Ok(None) };
            let table = Table::open(read.bytes).map_err(|error| Error::corrupt(name, error))?;
            if table.hash() != self.hash {
                return Err(Error::corrupt(name, "its objects are named by another hash"));
            }
            lock(&self.cached).tables.insert(name.clone(), table.clone());
            tables.push(table);
        }
        Ok(Some(tables))
    }

    pub fn parse_shallow(&self, text: &[u8]) -> Result<Vec<ObjectId>> {
        let id = |line: &[u8]| {
            let id = ObjectId::from_hex(line).filter(|id| id.kind() == self.hash);
            id.ok_or_else(|| Error::corrupt(format!("{}/shallow", self.directory), "a bad line"))
        };
        text.lines().filter(|line| !line.is_empty()).map(id).collect()
    }
}

/// The refs of one moment.
struct Snapshot {
    refs: Arc<ObjectRefs>,
    stack: RefTables,
    /// The state of the list; `None` when there is none.
    tag: Option<Tag>,
}

impl RefSnapshot for Snapshot {
    fn get(&self, name: &BStr) -> Result<Option<Ref>> {
        self.stack.get(name)
    }

    fn scan(
        &self,
        prefix: &BStr,
        visit: &mut dyn FnMut(RefView<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        self.stack.scan(prefix, visit)
    }

    fn shallow(&self) -> Result<Vec<ObjectId>> {
        let refs = &self.refs;
        if let (Some(tag), Some((of, ids))) = (&self.tag, &lock(&refs.cached).shallow)
            && tag == of
        {
            return Ok(ids.clone());
        }
        let ids = match refs.shared.client.get(&format!("{}/shallow", refs.directory))? {
            Some(read) => refs.parse_shallow(&read.bytes)?,
            None => Vec::new(),
        };
        // Whoever changes it changes the list afterwards.
        lock(&refs.cached).shallow = self.tag.clone().map(|tag| (tag, ids.clone()));
        Ok(ids)
    }

    fn scan_kept(&self, visit: &mut dyn FnMut(ObjectId)) -> Result<()> {
        self.stack.scan_logged(visit)
    }
}

/// The refs as a store: one of several that share them.
pub(crate) struct RefsHandle(pub Arc<ObjectRefs>);

impl RefStore for RefsHandle {
    fn snapshot(&self) -> Result<Arc<dyn RefSnapshot>> {
        let (stack, tag) = self.0.stack()?;
        Ok(Arc::new(Snapshot { refs: self.0.clone(), stack, tag }))
    }

    fn prepare<'a>(&'a self, tx: RefTransaction) -> Result<Box<dyn Prepared + 'a>, CommitError> {
        check_transaction(&tx.edits, self.0.hash)?;
        let names: Vec<&RefName> = tx.edits.iter().map(|edit| &edit.name).collect();
        let hold = self.0.held.take(b"", &names, self.0.shared.client.options.lock_wait)?;
        if !tx.edits.is_empty() {
            let (stack, _) = self.0.stack()?;
            stack.verify(&tx.edits)?;
        }
        Ok(Box::new(PreparedTables { refs: &self.0, tx, _hold: hold }))
    }

    fn watch(&self, wake: Wake) -> Result<Watching> {
        watch::watch(&self.0, wake)
    }

    /// Removes tables that no list names, once nobody can be about to name them, or to read them.
    fn tidy(&self, _: &mut storage::Peel<'_>) -> Result<usize> {
        let client = &self.0.shared.client;
        let (files, _) = client.list(&format!("{}/reftable", self.0.directory))?;
        let (stack, _) = self.0.stack()?;
        let now = SystemTime::now();
        for file in files {
            let is_old =
                now.duration_since(file.modified).is_ok_and(|age| age >= client.options.gone_keep);
            let name = file.key.rsplit('/').next().unwrap_or_default();
            let is_listed = stack.names.iter().any(|listed| listed == name);
            if is_old && name.ends_with(".ref") && !is_listed {
                client.delete(&file.key)?;
            }
        }
        Ok(0)
    }
}
