//! Refs as rows.

use std::ops::{Bound, ControlFlow};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bstr::{BStr, ByteSlice as _};
use object::{HashKind, IdView, ObjectId, RefName};
use redb::{ReadOnlyTable, ReadableTable as _};
use storage::{
    Change, CommitError, Error, Hold, Peeled, PeeledView, Prepared, Ref, RefEdit, RefSnapshot,
    RefStore, RefTransaction, RefView, Result, Target, TargetView, Wake, Watching, check_edits,
    check_ids, prefixes_of,
};

use crate::errors::failed;
use crate::group::Work;
use crate::store::Shared;
use crate::tables::{
    NUMBERS, REFLOGS, REFS, RepositoryNumber, SHALLOW, decode_ref, encode_ref, ref_of,
};

type RowsRead = ReadOnlyTable<&'static [u8], &'static [u8]>;

/// The refs of one repository in a key-value file.
pub struct KvRefs {
    shared: Arc<Shared>,
    repository: RepositoryNumber,
    hash: HashKind,
}

/// The rows at one moment.
struct KvSnapshot {
    shared: Arc<Shared>,
    repository: RepositoryNumber,
    hash: HashKind,
    refs: RowsRead,
    shallow: RowsRead,
    reflogs: RowsRead,
}

/// Held names, and what becomes of their rows.
struct KvPrepared<'a> {
    refs: &'a KvRefs,
    tx: RefTransaction,
    _hold: Hold<'a>,
}

impl KvRefs {
    pub(crate) fn new(shared: Arc<Shared>, repository: RepositoryNumber, hash: HashKind) -> Self {
        KvRefs { shared, repository, hash }
    }

    fn read(&self) -> Result<KvSnapshot> {
        let transaction = self.shared.begin_read()?;
        let table = |rows| transaction.open_table(rows).map_err(failed(&self.shared.what));
        Ok(KvSnapshot {
            shared: self.shared.clone(),
            repository: self.repository,
            hash: self.hash,
            refs: table(REFS)?,
            shallow: table(SHALLOW)?,
            reflogs: table(REFLOGS)?,
        })
    }
}

impl RefStore for KvRefs {
    fn snapshot(&self) -> Result<Arc<dyn RefSnapshot>> {
        Ok(Arc::new(self.read()?))
    }

    fn prepare<'a>(&'a self, tx: RefTransaction) -> Result<Box<dyn Prepared + 'a>, CommitError> {
        check_edits(&tx.edits)?;
        check_ids(&tx.edits, self.hash)?;
        let names: Vec<&RefName> = tx.edits.iter().map(|edit| &edit.name).collect();
        let hold =
            self.shared.held.take(&self.repository.own_key(), &names, self.shared.lock_wait)?;
        // Nobody else changes these rows from here on.
        let now = self.read()?;
        for edit in &tx.edits {
            now.verify(edit)?;
        }
        Ok(Box::new(KvPrepared { refs: self, tx, _hold: hold }))
    }

    /// No other process has the file open, so all changes are made here.
    fn watch(&self, wake: Wake) -> Result<Watching> {
        Ok(Watching::new(self.shared.bells.watch(self.repository, wake)))
    }
}

impl Prepared for KvPrepared<'_> {
    fn commit(self: Box<Self>) -> Result<(), CommitError> {
        let KvPrepared { refs, tx, _hold } = *self;
        if tx == RefTransaction::default() {
            return Ok(());
        }
        let (repository, hash) = (refs.repository, refs.hash);
        let is_there = Arc::new(AtomicBool::new(true));
        let told = is_there.clone();
        let tx = Arc::new(tx);
        let done = tx.clone();
        let work: Work = Box::new(move |rows| {
            if rows.open_table(NUMBERS)?.get(&repository.own_key()[..])?.is_none() {
                is_there.store(false, Ordering::Release);
                return Ok(());
            }
            let mut table = rows.open_table(REFS)?;
            let mut reflogs = rows.open_table(REFLOGS)?;
            for edit in &tx.edits {
                let key = repository.key(edit.name.as_bytes());
                match &edit.change {
                    Change::Delete => {
                        table.remove(&*key)?;
                        let (first, end) = reflog_keys(&key);
                        reflogs.retain_in::<&[u8], _>(&*first..&*end, |_, _| false)?;
                    }
                    Change::Update(new) => {
                        table.insert(&*key, &*encode_ref(new, &edit.peeled))?;
                        if let Some(line) = &edit.reflog {
                            let text = line.text((edit.expected.target(), new), hash);
                            let (first, end) = reflog_keys(&key);
                            let last = reflogs.range::<&[u8]>(&*first..&*end)?.next_back();
                            let number = match last.transpose()? {
                                Some((key, _)) => line_number(key.value()) + 1,
                                None => 0,
                            };
                            let key = [&first[..], &number.to_be_bytes()].concat();
                            reflogs.insert(&*key, &*text)?;
                        }
                    }
                }
            }
            let mut shallow = rows.open_table(SHALLOW)?;
            for id in &tx.shallow_add {
                shallow.insert(&*repository.key(id.as_bytes()), &b""[..])?;
            }
            for id in &tx.shallow_remove {
                shallow.remove(&*repository.key(id.as_bytes()))?;
            }
            Ok(())
        });
        refs.shared.group.run(work)?;
        match told.load(Ordering::Acquire) {
            true => {
                refs.shared.bells.ring_edits(&repository, &done.edits);
                Ok(())
            }
            false => Err(Error::not_found("the repository, which was removed").into()),
        }
    }
}

/// The keys of a ref's reflog: the first one may be any from the first on, before the second.
/// No ref name has a zero byte.
fn reflog_keys(of_ref: &[u8]) -> (Vec<u8>, Vec<u8>) {
    ([of_ref, &[0]].concat(), [of_ref, &[1]].concat())
}

fn line_number(key: &[u8]) -> u64 {
    key.last_chunk().map_or(0, |number| u64::from_be_bytes(*number))
}

impl KvSnapshot {
    fn failed<'s, E: Into<redb::Error> + 's>(&'s self) -> impl FnOnce(E) -> Error + 's {
        failed(&self.shared.what)
    }

    fn target(&self, name: &BStr) -> Result<Option<(Target, Peeled)>> {
        let row = self.refs.get(&*self.repository.key(name)).map_err(self.failed())?;
        row.map(|row| decode_ref(name, row.value(), self.hash)).transpose()
    }

    /// Whether an edit may happen.
    fn verify(&self, edit: &RefEdit) -> Result<(), CommitError> {
        let found = self.target(edit.name.as_bstr())?.map(|(target, _)| target);
        let expected = edit.expected.target();
        if found.as_ref() != expected {
            let (name, expected) = (edit.name.clone(), expected.cloned());
            return Err(CommitError::Lost { name, expected, found });
        }
        if found.is_none() && matches!(edit.change, Change::Update(_)) {
            self.verify_available(&edit.name)?;
        }
        Ok(())
    }

    /// A name may not be another one's directory, nor inside it.
    fn verify_available(&self, name: &RefName) -> Result<(), CommitError> {
        for prefix in prefixes_of(name.as_bstr()) {
            if self.target(prefix)?.is_some() {
                let with = prefix.to_owned();
                return Err(CommitError::NameConflict { name: name.clone(), with });
            }
        }
        let mut inside = None;
        let directory = [name.as_bytes(), b"/"].concat();
        self.visit(&directory, &mut |found, _| {
            inside = Some(found.to_owned());
            Ok(ControlFlow::Break(()))
        })?;
        match inside {
            Some(with) => Err(CommitError::NameConflict { name: name.clone(), with }),
            None => Ok(()),
        }
    }

    /// Visits the rows of refs whose names start with `prefix`.
    fn visit(
        &self,
        prefix: &[u8],
        visit: &mut dyn FnMut(&BStr, &[u8]) -> Result<ControlFlow<()>>,
    ) -> Result<()> {
        let start = self.repository.key(prefix);
        let range = (Bound::Included(&*start), Bound::Unbounded);
        for row in self.refs.range::<&[u8]>(range).map_err(self.failed())? {
            let (key, value) = row.map_err(self.failed())?;
            let name = self.repository.name_in(key.value());
            let Some(name) = name.filter(|name| name.starts_with(prefix)) else { break };
            if visit(name.as_bstr(), value.value())?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

impl RefSnapshot for KvSnapshot {
    fn get(&self, name: &BStr) -> Result<Option<Ref>> {
        // A name no ref can have has no row.
        let Ok(checked) = RefName::new(name.as_bytes()) else { return Ok(None) };
        let row = self.refs.get(&*self.repository.key(name)).map_err(self.failed())?;
        row.map(|row| ref_of(checked, row.value(), self.hash)).transpose()
    }

    fn scan(
        &self,
        prefix: &BStr,
        visit: &mut dyn FnMut(RefView<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        const REFS_DIRECTORY: &[u8] = b"refs/";
        let start: &[u8] = match prefix.starts_with(REFS_DIRECTORY) {
            true => prefix,
            false if REFS_DIRECTORY.starts_with(prefix) => REFS_DIRECTORY,
            false => return Ok(()),
        };
        self.visit(start, &mut |name, value| {
            let (target, peeled) = match decode_ref(name, value, self.hash) {
                Ok(found) => found,
                Err(error) => {
                    tracing::warn!(%error, "ignoring a broken ref");
                    return Ok(ControlFlow::Continue(()));
                }
            };
            let target = match &target {
                Target::Id(id) => TargetView::Id(IdView::Id(id)),
                Target::Symbolic(to) => TargetView::Symbolic(to.as_bstr()),
            };
            Ok(visit(RefView { name, target, peeled: PeeledView::from(&peeled) }))
        })
    }

    fn shallow(&self) -> Result<Vec<ObjectId>> {
        let start = self.repository.key(b"");
        let range = (Bound::Included(&*start), Bound::Unbounded);
        let mut commits = Vec::new();
        for row in self.shallow.range::<&[u8]>(range).map_err(self.failed())? {
            let (key, _) = row.map_err(self.failed())?;
            let Some(id) = self.repository.name_in(key.value()) else { break };
            let id = ObjectId::from_bytes(id, self.hash);
            let damaged = || Error::corrupt(&self.shared.what, "a shallow commit is no id");
            commits.push(id.ok_or_else(damaged)?);
        }
        Ok(commits)
    }

    fn scan_kept(&self, visit: &mut dyn FnMut(ObjectId)) -> Result<()> {
        let start = self.repository.key(b"");
        let range = (Bound::Included(&*start), Bound::Unbounded);
        for row in self.reflogs.range::<&[u8]>(range).map_err(self.failed())? {
            let (key, line) = row.map_err(self.failed())?;
            if self.repository.name_in(key.value()).is_none() {
                break;
            }
            let ids = line.value().split(|byte| *byte == b' ').take(2);
            for id in ids.filter_map(|digits| ObjectId::from_hex_of(digits, self.hash)) {
                if !id.is_null() {
                    visit(id);
                }
            }
        }
        Ok(())
    }
}
