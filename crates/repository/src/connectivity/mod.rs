//! Whether everything that new tips reach is there: the check that comes before a ref moves.
//!
//! The question is that of `git rev-list --objects TIPS --not --all`, answered with the work of
//! what is new. Presence alone proves nothing: a stock git may have left unreachable objects
//! behind whose parents, trees or blobs are gone. So an object ends the walk only when
//!
//! * it is a commit some ref names or reaches. Commits of the quarantine are new and walked.
//!   The first commit outside is nearly always a ref's own; otherwise history is walked from
//!   the refs, newest first, until it is met. What is not met that way (an unreachable
//!   leftover, or a clock that ran backwards) is walked as if it were new: more work, never a
//!   wrong answer; or
//! * it is a tree that a commit of the first kind has at the same path, which is how nearly all
//!   old trees are met below new commits, or that has been walked already. Any other tree, old
//!   ones too, is walked; or
//! * it is a blob. Blobs reach nothing: being there is enough.
//!
//! Trees are walked parents first, so that a tree which is old below the parent is known to be
//! old below the child. Submodule entries name commits of other repositories and are never
//! followed. In a partial clone an object may be missing if one of a promisor pack names it.
//!
//! Knows nothing of refs and pushes: who asks names the tips and what counts as known.

mod commits;
mod promised;
mod trees;
mod visited;

use std::sync::Mutex;

use object::{Kind, ObjectId};
use rustc_hash::FxHashSet;

use crate::error::{Error, Result};
use crate::objects::Objects;
use crate::progress::{Progress, Stage};

use self::commits::NewHistory;
use self::trees::{TreeCheck, check_trees};

/// Missing objects that are remembered, to be looked for among those promised.
const MISSING_MAX: usize = 1 << 20;

/// Checks that everything reachable from `tips` (objects of any kind) is in `objects`.
///
/// `known` are objects below which all is taken to be there, usually what refs name; `shallow`
/// are commits whose parents need not be there.
///
/// # Errors
/// [`Error::Missing`], [`Error::WrongKind`] or [`Error::BadObject`] for the first thing found
/// wrong with the objects; storage errors besides.
pub fn check_connected(
    objects: &Objects,
    tips: &[ObjectId],
    known: &[ObjectId],
    shallow: &[ObjectId],
    progress: &mut dyn Progress,
) -> Result<()> {
    let mut known = known.to_vec();
    known.sort_unstable();
    let missing = Missing::default();
    let mut history = NewHistory::new(objects, &known, shallow, &missing);
    let mut trees = Vec::new();
    for tip in tips {
        let Some((id, kind)) = peel(objects, tip, &known, &missing)? else { continue };
        match kind {
            Kind::Commit => history.add(id),
            Kind::Tree => trees.push(TreeCheck { tree: id, parents: Vec::new() }),
            Kind::Blob | Kind::Tag => {}
        }
    }
    trees.extend(history.walk(progress)?);
    let walked = check_trees(objects, &trees, &missing, progress)?;
    let missing = missing.into_ids();
    if !missing.is_empty() {
        promised::check(objects, missing)?;
    }
    progress.finish(Stage::Connectivity, walked)?;
    objects.check_intact()
}

/// Follows tags to what they name at last. `None` when that is known to be there, or missing and
/// noted as such.
fn peel(
    objects: &Objects,
    tip: &ObjectId,
    known: &[ObjectId],
    missing: &Missing,
) -> Result<Option<(ObjectId, Kind)>> {
    let mut id = *tip;
    let mut expected = None;
    loop {
        if known.binary_search(&id).is_ok() && objects.contains(&id)? {
            return Ok(None);
        }
        let Some((kind, _)) = objects.header(&id)? else {
            missing.note(id, expected)?;
            return Ok(None);
        };
        if let Some(expected) = expected.filter(|expected| *expected != kind) {
            return Err(Error::WrongKind { id, expected, found: kind });
        }
        if kind != Kind::Tag {
            return Ok(Some((id, kind)));
        }
        let (target, kind) = objects.tag_target(&id)?;
        (id, expected) = (target, Some(kind));
    }
}

/// Objects that are named and not there.
#[derive(Default)]
struct Missing(Mutex<FxHashSet<(ObjectId, Option<Kind>)>>);

impl Missing {
    /// Notes an object for the look at promised objects.
    fn note(&self, id: ObjectId, kind: Option<Kind>) -> Result<()> {
        let mut ids = self.0.lock().expect("no holder of the lock panics");
        if ids.len() == MISSING_MAX {
            return Err(Error::Missing { id, kind });
        }
        ids.insert((id, kind));
        Ok(())
    }

    fn into_ids(self) -> FxHashSet<(ObjectId, Option<Kind>)> {
        self.0.into_inner().expect("no holder of the lock panics")
    }
}
