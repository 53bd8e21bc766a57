//! The refs of a repository as they were when somebody last looked.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use bstr::ByteSlice as _;
use object::RefName;
use sha2::{Digest as _, Sha256};
use storage::{Error, RefSnapshot, Result, Target};

use super::{Cursor, Event, RefMove};

/// All refs, and their sum.
#[derive(Default)]
pub(crate) struct KnownRefs {
    refs: BTreeMap<RefName, Target>,
    cursor: Cursor,
}

/// What one ref adds to the sum.
fn share(name: &RefName, target: &Target) -> u128 {
    let mut hash = Sha256::new();
    hash.update(name.as_bytes());
    hash.update([0]);
    hash.update(target.to_string().as_bytes());
    let digest = hash.finalize();
    u128::from_be_bytes(*digest.first_chunk().expect("32 bytes"))
}

impl KnownRefs {
    pub fn cursor(&self) -> Cursor {
        self.cursor
    }

    pub fn len(&self) -> usize {
        self.refs.len()
    }

    /// Looks at all refs; what became another, if anything did.
    ///
    /// # Errors
    /// Those of the store; [`Error::NotFound`] when the repository is gone. Then nothing is known better.
    pub fn look(&mut self, snapshot: &dyn RefSnapshot) -> Result<Option<Event>> {
        let mut moves = Vec::new();
        let mut known = self.refs.iter().peekable();
        let gone = |(name, old): (&RefName, &Target)| RefMove {
            name: name.clone(),
            old: Some(old.clone()),
            new: None,
        };
        // HEAD, which scans leave out, comes before all others.
        let head = head(snapshot)?;
        let mut visit =
            |name: &bstr::BStr, target: &dyn Fn() -> Target, same: &dyn Fn(&Target) -> bool| {
                while let Some(before) = known.next_if(|(known, _)| known.as_bstr() < name) {
                    moves.push(gone(before));
                }
                let old = known.next_if(|(known, _)| known.as_bstr() == name).map(|(_, old)| old);
                if !old.is_some_and(same) {
                    let name = RefName::new(name.as_bytes()).expect("a store's names are valid");
                    moves.push(RefMove { name, old: old.cloned(), new: Some(target()) });
                }
            };
        visit("HEAD".into(), &|| head.clone(), &|old| *old == head);
        snapshot.scan("".into(), &mut |found| {
            let same =
                |old: &Target| found.target == old.as_view() || found.target.to_target() == *old;
            visit(found.name, &|| found.target.to_target(), &same);
            ControlFlow::Continue(())
        })?;
        moves.extend(known.map(gone));
        Ok(self.apply(moves))
    }

    /// Looks at these refs.
    ///
    /// # Errors
    /// As [`KnownRefs::look`].
    pub fn look_at<'a>(
        &mut self,
        snapshot: &dyn RefSnapshot,
        names: impl IntoIterator<Item = &'a RefName>,
    ) -> Result<Option<Event>> {
        head(snapshot)?;
        let mut moves = Vec::new();
        for name in names {
            let new = snapshot.get(name.as_bstr())?.map(|found| found.target);
            let old = self.refs.get(name);
            if old != new.as_ref() {
                moves.push(RefMove { name: name.clone(), old: old.cloned(), new });
            }
        }
        Ok(self.apply(moves))
    }

    fn apply(&mut self, moves: Vec<RefMove>) -> Option<Event> {
        if moves.is_empty() {
            return None;
        }
        let before = self.cursor;
        let mut sum = before.0;
        for RefMove { name, old, new } in &moves {
            if let Some(old) = old {
                sum = sum.wrapping_sub(share(name, old));
            }
            match new {
                Some(new) => {
                    sum = sum.wrapping_add(share(name, new));
                    self.refs.insert(name.clone(), new.clone());
                }
                None => drop(self.refs.remove(name)),
            }
        }
        self.cursor = Cursor(sum);
        Some(Event { before, cursor: self.cursor, moves })
    }
}

/// What `HEAD` is. Every repository has one.
fn head(snapshot: &dyn RefSnapshot) -> Result<Target> {
    let head = snapshot.get(RefName::head().as_bstr())?;
    head.map(|head| head.target).ok_or_else(|| Error::not_found("the repository, which is gone"))
}

#[cfg(test)]
mod tests {
    use object::{HashKind, ObjectId};
    use storage::{Change, Expected, MemoryRefs, Peeled, RefEdit, RefStore as _, RefTransaction};

    use super::*;

    fn target(number: u8) -> Target {
        Target::Id(ObjectId::from_bytes(&[number; 20], HashKind::Sha1).expect("20 bytes"))
    }

    fn name(text: &str) -> RefName {
        RefName::new(text).expect("a name")
    }

    fn set(refs: &MemoryRefs, on: &str, old: Option<u8>, new: Option<u8>) {
        let expected = match old {
            Some(old) => Expected::MustExistAndMatch(target(old)),
            None => Expected::MustNotExist,
        };
        let change = new.map_or(Change::Delete, |new| Change::Update(target(new)));
        let name = name(on);
        let edit = RefEdit { name, expected, change, peeled: Peeled::Unknown, reflog: None };
        refs.commit(RefTransaction { edits: vec![edit], ..Default::default() }).expect("fine");
    }

    #[test]
    fn what_became_another_is_found() {
        let refs = MemoryRefs::new(HashKind::Sha1, name("refs/heads/main"));
        let now = || refs.snapshot().expect("a snapshot");
        let mut known = KnownRefs::default();
        let first = known.look(&*now()).expect("readable").expect("HEAD");
        assert_eq!((first.before, first.moves.len()), (Cursor(0), 1));
        assert!(known.look(&*now()).expect("readable").is_none());
        for on in ["refs/heads/a", "refs/heads/c", "refs/tags/v"] {
            set(&refs, on, None, Some(1));
        }
        let event = known.look(&*now()).expect("readable").expect("three");
        assert_eq!(event.moves.len(), 3);
        set(&refs, "refs/heads/a", Some(1), None);
        set(&refs, "refs/heads/b", None, Some(2));
        set(&refs, "refs/tags/v", Some(1), Some(3));
        let event = known.look(&*now()).expect("readable").expect("three");
        let moves = |event: &Event| -> Vec<_> {
            let moves = event.moves.iter();
            moves.map(|one| (one.name.to_string(), one.old.clone(), one.new.clone())).collect()
        };
        assert_eq!(
            moves(&event),
            [
                ("refs/heads/a".to_owned(), Some(target(1)), None),
                ("refs/heads/b".to_owned(), None, Some(target(2))),
                ("refs/tags/v".to_owned(), Some(target(1)), Some(target(3))),
            ]
        );
        // The same refs are the same number, on whatever way they were come to.
        let mut other = KnownRefs::default();
        other.look(&*now()).expect("readable");
        assert_eq!(other.cursor(), known.cursor());
        set(&refs, "refs/heads/c", Some(1), Some(4));
        set(&refs, "refs/heads/d", None, Some(4));
        let names = [name("refs/heads/b"), name("refs/heads/c")];
        let event = known.look_at(&*now(), &names).expect("readable").expect("one");
        assert_eq!(moves(&event), [("refs/heads/c".to_owned(), Some(target(1)), Some(target(4)))]);
        assert_ne!(event.cursor, event.before);
        set(&refs, "refs/heads/c", Some(4), Some(1));
        set(&refs, "refs/heads/d", Some(4), None);
        known.look(&*now()).expect("readable").expect("one");
        assert_eq!(known.cursor(), other.cursor());
        assert_eq!(known.len(), 4);
    }
}
