//! Changing refs: transactions of this server that come together become one table, which is listed on
//! the condition that the list is the one they were verified against.

use std::collections::BTreeSet;
use std::io;

use bytes::Bytes;
use object::RefName;
use reftable::Table;
use reftable::stack::{LIST, compact, due, format_list, table_name};
use storage::{
    Change, CommitError, Error, Expected, Hold, Peeled, Prepared, RefEdit, RefTransaction, Result,
    Rounds, Target,
};
use storage_reftable::RefTables;

use crate::refs::{ObjectRefs, lock};
use crate::store::random;

/// Transactions that share a table.
const TOGETHER_MAX: usize = 1024;

/// Transactions that come together, and how each went.
pub(crate) type CommitRounds = Rounds<RefTransaction, Result<(), CommitError>>;

/// Rounds that are led by one of those who commit.
pub(crate) fn rounds() -> CommitRounds {
    Rounds::new(TOGETHER_MAX)
}

impl ObjectRefs {
    /// Commits transactions together; how each went.
    fn commit_all(&self, txs: &[RefTransaction]) -> Vec<Result<(), CommitError>> {
        let mut settled: Vec<Option<Result<(), CommitError>>> = txs.iter().map(|_| None).collect();
        if let Err(error) = self.commit_until_settled(txs, &mut settled) {
            let left = settled.iter_mut().filter(|one| one.is_none());
            left.for_each(|one| *one = Some(Err(error.again().into())));
        }
        settled.into_iter().map(|one| one.expect("all are settled")).collect()
    }

    fn commit_until_settled(
        &self,
        txs: &[RefTransaction],
        settled: &mut [Option<Result<(), CommitError>>],
    ) -> Result<()> {
        let client = &self.shared.client;
        // Tables whose listing was asked for, and which transactions are in them. That the answer was no
        // proves nothing: it may be the answer to a request that somebody on the way made twice. So none is
        // removed here.
        let mut asked: Vec<(String, Vec<usize>)> = Vec::new();
        // Transactions that may have been listed, as an answer was lost.
        let mut in_doubt: BTreeSet<usize> = BTreeSet::new();
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
                    let is_so = in_doubt.contains(&at) && is_done(&stack, tx)?;
                    settled[at] = Some(if is_so { Ok(()) } else { Err(error) });
                    continue;
                }
                // Before the list, which tells readers to look.
                self.update_shallow(tx)?;
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
                    lock(&self.cached).tables.insert(name, table);
                    self.note_list(Some((tag, names)));
                    included.iter().for_each(|at| settled[*at] = Some(Ok(())));
                    return Ok(());
                }
                // Somebody else was faster.
                Ok(None) => asked.push((name, included)),
                Err(error @ Error::Unavailable { .. }) => {
                    tracing::debug!(%error, "looked at again");
                    in_doubt.extend(&included);
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

/// A transaction that was verified, and whose refs no other transaction of this server changes.
/// Another server may: then [`CommitError::Lost`] comes from the commit.
pub(crate) struct PreparedTables<'a> {
    pub refs: &'a ObjectRefs,
    pub tx: RefTransaction,
    pub _hold: Hold<'a>,
}

impl Prepared for PreparedTables<'_> {
    fn commit(self: Box<Self>) -> Result<(), CommitError> {
        let refs = self.refs;
        refs.rounds.run(self.tx.clone(), &|txs| refs.commit_all(&txs))
    }
}
