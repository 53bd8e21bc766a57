//! Refs: a stack of reftables in the bucket. A transaction is one more table, and the list of tables
//! replaced on the condition that it is the one the transaction was verified against.

use std::collections::HashMap;
use std::io;
use std::ops::ControlFlow;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use bstr::{BStr, ByteSlice as _};
use bytes::Bytes;
use gitconfig::{Config, Scope};
use object::{HashKind, ObjectId, RefName};
use reftable::Table;
use reftable::stack::{LIST, compact, due, format_list, parse_list, table_name};
use storage::{
    Change, CommitError, Error, Expected, HeldRefs, Hold, Peeled, Prepared, Ref, RefEdit,
    RefSnapshot, RefStore, RefTransaction, RefView, Result, Target,
};
use storage_reftable::{RefTables, check_transaction};

use crate::client::Tag;
use crate::store::{Shared, random};

/// How often a list is read again of which a table is gone: somebody made several one.
const READINGS_MAX: usize = 20;

/// Transactions that share a table.
const TOGETHER_MAX: usize = 1024;

/// The refs of one repository, for all of this server that use them.
pub(crate) struct ObjectRefs {
    shared: Arc<Shared>,
    directory: Arc<str>,
    number: u64,
    hash: HashKind,
    reflogs: Reflogs,
    cached: Mutex<Cached>,
    held: HeldRefs,
    queue: Mutex<Queue>,
    finished: Condvar,
}

/// Which refs get a reflog (`core.logAllRefUpdates`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reflogs {
    Existing,
    Branches,
    Always,
}

/// What was read last: immutable tables, and the list with its state.
#[derive(Default)]
struct Cached {
    list: Option<(Tag, Vec<String>)>,
    /// The shallow commits that belong to a list.
    shallow: Option<(Tag, Vec<ObjectId>)>,
    tables: HashMap<String, Table>,
}

type Outcome = Mutex<Option<Result<(), CommitError>>>;

#[derive(Default)]
struct Queue {
    waiting: Vec<(RefTransaction, Arc<Outcome>)>,
    led: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Reflogs {
    fn of(config: &Config) -> Self {
        const KEY: &str = "core.logAllRefUpdates";
        match config.string(KEY) {
            Some(text) if text.eq_ignore_ascii_case(b"always") => Reflogs::Always,
            _ if config.bool(KEY).ok().flatten() == Some(true) => Reflogs::Branches,
            _ => Reflogs::Existing,
        }
    }

    fn creates(self, name: &RefName) -> bool {
        const LOGGED: [&[u8]; 3] = [b"refs/heads/", b"refs/remotes/", b"refs/notes/"];
        match self {
            Reflogs::Existing => false,
            Reflogs::Always => true,
            Reflogs::Branches => {
                *name == "HEAD" || LOGGED.iter().any(|prefix| name.starts_with(prefix))
            }
        }
    }
}

impl ObjectRefs {
    pub fn new(
        shared: Arc<Shared>,
        directory: Arc<str>,
        (number, hash): (u64, HashKind),
        config: &[u8],
    ) -> Self {
        let parsed = Config::parse(config, Scope::Local, std::path::Path::new("config"));
        let reflogs = parsed.map_or(Reflogs::Existing, |config| Reflogs::of(&config));
        ObjectRefs {
            shared,
            directory,
            number,
            hash,
            reflogs,
            cached: Mutex::default(),
            held: HeldRefs::default(),
            queue: Mutex::default(),
            finished: Condvar::new(),
        }
    }

    fn key(&self, name: &str) -> String {
        format!("{}/reftable/{name}", self.directory)
    }

    /// The tables there are now, and the state of their list; no state where there is no list.
    fn stack(&self) -> Result<(RefTables, Option<Tag>)> {
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
                    lock(&self.cached).list = tag.clone().map(|tag| (tag, names.clone()));
                    let what = format!("{}/{}", client.what, self.directory);
                    return Ok((RefTables { what, hash: self.hash, names, tables }, tag));
                }
                // A list that names what is gone is not the newest any more.
                None => lock(&self.cached).list = None,
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

    /// Commits transactions together; how each went.
    fn commit_all(&self, txs: &[RefTransaction]) -> Vec<Result<(), CommitError>> {
        let mut settled: Vec<Option<Result<(), CommitError>>> = txs.iter().map(|_| None).collect();
        if let Err(error) = self.commit_until_settled(txs, &mut settled) {
            let left = settled.iter_mut().filter(|one| one.is_none());
            left.for_each(|one| *one = Some(Err(again(&error).into())));
        }
        settled.into_iter().map(|one| one.expect("all are settled")).collect()
    }

    fn commit_until_settled(
        &self,
        txs: &[RefTransaction],
        settled: &mut [Option<Result<(), CommitError>>],
    ) -> Result<()> {
        let client = &self.shared.client;
        for (tx, settled) in txs.iter().zip(&mut *settled) {
            if let Err(error) = self.update_shallow(tx) {
                *settled = Some(Err(error.into()));
            }
        }
        // Tables whose listing was asked for without an answer, and which transactions are in them.
        let mut asked: Vec<(String, Vec<usize>)> = Vec::new();
        let mut lost = None;
        for attempt in 0..client.options.commit_attempts.max(1) {
            if attempt > 0 {
                client.pause();
            }
            let (mut stack, tag) = match self.stack() {
                Err(error @ Error::Unavailable { .. }) => {
                    lost = Some(error);
                    continue;
                }
                stack => stack?,
            };
            for (_, those) in asked.iter().filter(|(name, _)| stack.names.contains(name)) {
                those.iter().for_each(|at| settled[*at] = Some(Ok(())));
            }
            let old_count = stack.tables.len();
            let mut included = Vec::new();
            for (at, tx) in txs.iter().enumerate() {
                if settled[at].is_some() {
                    continue;
                }
                let edits = match tx.edits.is_empty() {
                    false => tx.edits.clone(),
                    // Only shallow commits change: the list must, too.
                    true => self.head_again(&stack)?,
                };
                if edits.is_empty() {
                    settled[at] = Some(Ok(()));
                    continue;
                }
                if let Err(error) = stack.verify(&edits) {
                    // It may have been listed, and made one with others since.
                    let was_asked = asked.iter().any(|(_, those)| those.contains(&at));
                    let is_so = was_asked && is_done(&stack, tx)?;
                    settled[at] = Some(if is_so { Ok(()) } else { Err(error) });
                    continue;
                }
                let table = stack.transaction(&edits, &|name| self.reflogs.creates(name))?;
                let opened = Table::open(table.bytes.into());
                stack.tables.push(opened.map_err(|error| stack.damaged(error))?);
                stack.names.push(table.name);
                included.push(at);
            }
            if included.is_empty() {
                return Ok(());
            }
            let (name, start, bytes) = merged(&stack, old_count)?;
            client.put(&self.key(&name), bytes.clone())?;
            let mut names = stack.names[..start].to_vec();
            names.push(name.clone());
            let text = Bytes::from(format_list(&names));
            let listed = match &tag {
                Some(tag) => client.put_over(&self.key(LIST), text, tag),
                None => self.check_alive().and_then(|()| client.put_new(&self.key(LIST), text)),
            };
            match listed {
                Ok(Some(tag)) => {
                    let table = Table::open(bytes).map_err(|error| stack.damaged(error))?;
                    let mut cached = lock(&self.cached);
                    cached.tables.insert(name, table);
                    cached.list = Some((tag, names));
                    included.iter().for_each(|at| settled[*at] = Some(Ok(())));
                    return Ok(());
                }
                // Somebody else was faster.
                Ok(None) => {
                    if asked.is_empty()
                        && let Err(error) = client.delete(&self.key(&name))
                    {
                        tracing::debug!(%error, "a table that nobody lists is left");
                    }
                    asked.extend(Some((name, included)).filter(|_| !asked.is_empty()));
                }
                Err(error @ Error::Unavailable { .. }) => {
                    tracing::debug!(%error, "looked at again");
                    asked.push((name, included));
                    lost = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        Err(lost.unwrap_or_else(|| Error::Unavailable {
            what: format!("{}/{}", client.what, self.directory),
            source: io::Error::new(io::ErrorKind::ResourceBusy, "others change refs all the time"),
        }))
    }

    /// `HEAD` as it is, once more.
    fn head_again(&self, stack: &RefTables) -> Result<Vec<RefEdit>> {
        let edit = |(target, peeled): (Target, Peeled)| RefEdit {
            name: RefName::head(),
            expected: Expected::MustExistAndMatch(target.clone()),
            change: Change::Update(target),
            peeled,
            reflog: None,
        };
        Ok(stack.target("HEAD".into())?.map(edit).into_iter().collect())
    }

    fn check_alive(&self) -> Result<()> {
        self.shared.check_alive(&self.directory, self.number)
    }

    fn update_shallow(&self, tx: &RefTransaction) -> Result<()> {
        if tx.shallow_add.is_empty() && tx.shallow_remove.is_empty() {
            return Ok(());
        }
        let client = &self.shared.client;
        let key = format!("{}/shallow", self.directory);
        for _ in 0..client.options.commit_attempts.max(1) {
            let read = client.get(&key)?;
            let mut ids = match &read {
                Some(read) => self.parse_shallow(&read.bytes)?,
                None => Vec::new(),
            };
            ids.retain(|id| !tx.shallow_remove.contains(id));
            ids.extend(&tx.shallow_add);
            ids.sort_unstable();
            ids.dedup();
            let text: String = ids.iter().map(|id| format!("{id}\n")).collect();
            let written = match &read {
                Some(read) => client.put_over(&key, text.into(), &read.tag)?,
                None => client.put_new(&key, text.into())?,
            };
            if written.is_some() {
                return Ok(());
            }
            client.pause();
        }
        let source = io::Error::new(io::ErrorKind::ResourceBusy, "others change it all the time");
        Err(Error::Unavailable { what: key, source })
    }

    fn parse_shallow(&self, text: &[u8]) -> Result<Vec<ObjectId>> {
        let id = |line: &[u8]| {
            let id = ObjectId::from_hex(line).filter(|id| id.kind() == self.hash);
            id.ok_or_else(|| Error::corrupt(format!("{}/shallow", self.directory), "a bad line"))
        };
        text.lines().filter(|line| !line.is_empty()).map(id).collect()
    }
}

/// Whether everything a transaction asks for is so.
fn is_done(stack: &RefTables, tx: &RefTransaction) -> Result<bool> {
    for edit in &tx.edits {
        let found = stack.target(edit.name.as_bstr())?.map(|(target, _)| target);
        let wanted = match &edit.change {
            Change::Update(target) => Some(target),
            Change::Delete => None,
        };
        if found.as_ref() != wanted {
            return Ok(false);
        }
    }
    Ok(true)
}

/// The table to be listed in place of all from some place on: the new ones are one, together with
/// older ones that are due. Its name, that place, and its bytes.
fn merged(stack: &RefTables, old_count: usize) -> Result<(String, usize, Bytes)> {
    let mut sizes: Vec<u64> = stack.tables[..old_count].iter().map(Table::size).collect();
    sizes.push(stack.tables[old_count..].iter().map(Table::size).sum());
    let start = match due(&sizes) {
        Some(range) if range.end == sizes.len() => range.start,
        _ => old_count,
    };
    let tables = &stack.tables[start..];
    let [first, .., last] = tables else {
        let (name, only) = (&stack.names[start], &tables[0]);
        return Ok((name.clone(), start, only.bytes().clone()));
    };
    let bytes = compact(tables, start == 0, Vec::new()).map_err(|error| stack.damaged(error))?;
    let name = table_name(first.min_update_index(), last.max_update_index(), random() as u32);
    Ok((name, start, bytes.into()))
}

/// The same error for somebody else.
fn again(error: &Error) -> Error {
    let what = error.what().to_owned();
    let source = io::Error::new(io::ErrorKind::ResourceBusy, error.to_string());
    match error {
        Error::NotFound { .. } => Error::NotFound { what },
        Error::Corrupt { detail, .. } => Error::Corrupt { what, detail: detail.clone() },
        Error::Refused { detail, .. } => Error::Refused { what, detail: detail.clone() },
        Error::Unavailable { source, .. } => {
            Error::Unavailable { what, source: io::Error::new(source.kind(), source.to_string()) }
        }
        _ => Error::Io { what, source },
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

/// A transaction that was verified, and whose refs no other transaction of this server changes.
/// Another server may: then [`CommitError::Lost`] comes from the commit.
struct PreparedTables<'a> {
    refs: &'a ObjectRefs,
    tx: RefTransaction,
    _hold: Hold<'a>,
}

impl Prepared for PreparedTables<'_> {
    fn commit(self: Box<Self>) -> Result<(), CommitError> {
        let refs = self.refs;
        let outcome = Arc::<Outcome>::default();
        let mut queue = lock(&refs.queue);
        queue.waiting.push((self.tx.clone(), outcome.clone()));
        loop {
            if let Some(result) = lock(&outcome).take() {
                return result;
            }
            if queue.led {
                queue = refs.finished.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            queue.led = true;
            let count = queue.waiting.len().min(TOGETHER_MAX);
            let together: Vec<_> = queue.waiting.drain(..count).collect();
            drop(queue);
            let (txs, outcomes): (Vec<_>, Vec<_>) = together.into_iter().unzip();
            let results = refs.commit_all(&txs);
            for (outcome, result) in outcomes.iter().zip(results) {
                *lock(outcome) = Some(result);
            }
            queue = lock(&refs.queue);
            queue.led = false;
            refs.finished.notify_all();
        }
    }
}
