//! All refs of a repository at one moment, and how one list becomes another.

use std::ops::ControlFlow;

use object::{Kind, ObjectId, RefName};
use storage::{
    Change, CommitError, Expected, Peeled, Ref, RefEdit, RefStore, RefTransaction, Target,
};

use crate::error::{Error, Result};
use crate::objects::Objects;

/// Refs that change in one transaction: memory, and how long others wait, stay bounded.
const EDITS_PER_TRANSACTION: usize = 10_000;

/// Refs in the order of their names, `HEAD`, and where history ends. About a hundred bytes a ref.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RefList {
    refs: Vec<Ref>,
    head: Option<Target>,
    shallow: Vec<ObjectId>,
}

impl RefList {
    pub fn read(store: &dyn RefStore) -> Result<Self> {
        let snapshot = store.snapshot()?;
        let mut refs = Vec::new();
        snapshot.scan("refs/".into(), &mut |view| {
            refs.push(view.to_ref());
            ControlFlow::Continue(())
        })?;
        let head = snapshot.get("HEAD".into())?.map(|head| head.target);
        let mut shallow = snapshot.shallow()?;
        shallow.sort_unstable();
        Ok(RefList { refs, head, shallow })
    }

    /// The same, with what annotated tags lead to: some stores keep that and cannot find out.
    pub fn peeled(mut self, objects: &Objects) -> Result<Self> {
        for found in &mut self.refs {
            let Some(id) = found.target.id() else { continue };
            if found.peeled == Peeled::Unknown {
                found.peeled = match objects.header(&id)? {
                    Some((Kind::Tag, _)) => match objects.peel(&id)? {
                        Some((end, _)) => Peeled::To(end),
                        None => Peeled::Unknown,
                    },
                    _ => Peeled::NotATag,
                };
            }
        }
        Ok(self)
    }

    /// Names of refs that another list does not have.
    pub fn names_missing_from<'a>(
        &'a self,
        other: &'a RefList,
    ) -> impl Iterator<Item = &'a RefName> {
        let names = self.refs.iter().map(|found| &found.name);
        names.filter(|name| other.refs.binary_search_by(|known| known.name.cmp(name)).is_err())
    }

    /// Those of them whose names begin so.
    pub fn only(mut self, prefixes: &[&str]) -> Self {
        self.refs.retain(|found| {
            prefixes.iter().any(|prefix| found.name.starts_with(prefix.as_bytes()))
        });
        self
    }

    /// What `HEAD` is.
    pub fn head(&self) -> Option<&Target> {
        self.head.as_ref()
    }

    pub fn len(&self) -> usize {
        self.refs.len()
    }

    /// The objects that are named, each once.
    pub fn ids(&self) -> Vec<ObjectId> {
        let head = self.head.as_ref().and_then(Target::id);
        let mut ids: Vec<_> = self.refs.iter().filter_map(|found| found.target.id()).collect();
        ids.extend(head);
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Commits whose parents are not there.
    pub fn shallow(&self) -> &[ObjectId] {
        &self.shallow
    }

    /// Makes the refs of `store`, which are these, those of another list; how many were changed.
    pub fn become_of(&self, wanted: &RefList, store: &dyn RefStore) -> Result<usize> {
        // A name that goes away may be the directory of one that comes.
        let (mut edits, updates) = self.edits(wanted);
        let removals = edits.len();
        let changed = removals + updates.len();
        edits.extend(updates);
        let mut shallow_add = missing_from(&self.shallow, &wanted.shallow);
        let mut shallow_remove = missing_from(&wanted.shallow, &self.shallow);
        let (removals, updates) = edits.split_at(removals);
        let batches = removals.chunks(EDITS_PER_TRANSACTION);
        for batch in batches.chain(updates.chunks(EDITS_PER_TRANSACTION)) {
            commit(store, batch, &mut shallow_add, &mut shallow_remove)?;
        }
        commit(store, &[], &mut shallow_add, &mut shallow_remove)?;
        Ok(changed)
    }

    /// Removals, and what is made or moved.
    fn edits(&self, wanted: &RefList) -> (Vec<RefEdit>, Vec<RefEdit>) {
        let (mut removals, mut updates) = (Vec::new(), Vec::new());
        let mut old = self.refs.iter().peekable();
        for new in &wanted.refs {
            while let Some(gone) = old.next_if(|old| old.name < new.name) {
                removals.push(removal(gone));
            }
            let present = old.next_if(|old| old.name == new.name);
            if present.is_none_or(|present| present.target != new.target) {
                updates.push(update(new, present.map(|present| &present.target)));
            }
        }
        removals.extend(old.map(removal));
        if let Some(head) = wanted.head.as_ref().filter(|head| Some(*head) != self.head.as_ref()) {
            let name = RefName::new("HEAD").expect("a valid name");
            let head = Ref { name, target: head.clone(), peeled: Peeled::Unknown };
            updates.push(update(&head, self.head.as_ref()));
        }
        (removals, updates)
    }
}

fn removal(gone: &Ref) -> RefEdit {
    RefEdit {
        name: gone.name.clone(),
        expected: Expected::MustExistAndMatch(gone.target.clone()),
        change: Change::Delete,
        peeled: Peeled::Unknown,
        reflog: None,
    }
}

fn update(new: &Ref, present: Option<&Target>) -> RefEdit {
    RefEdit {
        name: new.name.clone(),
        expected: match present {
            Some(target) => Expected::MustExistAndMatch(target.clone()),
            None => Expected::MustNotExist,
        },
        change: Change::Update(new.target.clone()),
        peeled: new.peeled,
        reflog: None,
    }
}

/// Members of `of` that `from` lacks.
fn missing_from(from: &[ObjectId], of: &[ObjectId]) -> Vec<ObjectId> {
    of.iter().filter(|id| from.binary_search(id).is_err()).copied().collect()
}

/// One transaction. The ends of history go with the first, before anything leads there.
fn commit(
    store: &dyn RefStore,
    edits: &[RefEdit],
    shallow_add: &mut Vec<ObjectId>,
    shallow_remove: &mut Vec<ObjectId>,
) -> Result<()> {
    let tx = RefTransaction {
        edits: edits.to_vec(),
        shallow_add: std::mem::take(shallow_add),
        shallow_remove: std::mem::take(shallow_remove),
    };
    if tx == RefTransaction::default() {
        return Ok(());
    }
    store.commit(tx).map_err(|error| match error {
        CommitError::Storage(error) => Error::Storage(error),
        // Somebody pushes to the copy. Nothing is lost: the next copy begins from there.
        error => Error::Refused(format!("the copy was changed by somebody else: {error}")),
    })
}
