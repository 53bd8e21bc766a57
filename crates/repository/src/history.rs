//! Questions about history: who reaches whom.
//!
//! The commit-graph's generations cut what cannot lead to an answer; without it, or where it lacks
//! the newest commits, the answers are the same.

use object::{Kind, ObjectId};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::error::{Error, Result};
use crate::objects::{Generation, Objects};

/// Whether every one of `tips` reaches one of `targets` (or is one). Commits older than
/// all targets are not looked behind, as in git's negotiation: the answer may then be
/// "no" where clocks ran backwards, and the negotiation goes on a little longer.
///
/// Tips that are not commits, after peeling, have no history to share: they do not count
/// against the answer.
///
/// # Errors
/// When the repository is damaged.
pub fn each_reaches(
    objects: &Objects,
    tips: &[ObjectId],
    targets: &FxHashSet<ObjectId>,
) -> Result<bool> {
    if targets.is_empty() {
        return Ok(false);
    }
    let mut floor = Floor { time: i64::MAX, generation: Generation::Outside };
    for target in targets {
        if let Some((id, Kind::Commit)) = objects.peel(target)? {
            let (commit, generation) = objects.commit_and_generation(&id)?;
            floor.time = floor.time.min(commit.time);
            floor.generation = floor.generation.min(generation);
        }
    }
    // What is known of a commit: whether it reaches a target.
    let mut known: FxHashMap<ObjectId, bool> = FxHashMap::default();
    for tip in tips {
        if targets.contains(tip) {
            continue;
        }
        let Some((id, Kind::Commit)) = objects.peel(tip)? else { continue };
        if !reaches(objects, id, targets, floor, &mut known)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What is at or below this leads to no target.
#[derive(Clone, Copy)]
struct Floor {
    time: i64,
    generation: Generation,
}

/// Depth-first from one tip. All that was visited for a tip that reaches nothing reaches
/// nothing; the path to a target reaches it.
fn reaches(
    objects: &Objects,
    tip: ObjectId,
    targets: &FxHashSet<ObjectId>,
    floor: Floor,
    known: &mut FxHashMap<ObjectId, bool>,
) -> Result<bool> {
    let mut path: Vec<(ObjectId, std::vec::IntoIter<ObjectId>)> = Vec::new();
    let mut next = Some(tip);
    loop {
        if let Some(id) = next.take() {
            match known.get(&id) {
                Some(true) => break,
                Some(false) => {}
                None if targets.contains(&id) => break,
                None => {
                    known.insert(id, false);
                    let (commit, generation) = objects.commit_and_generation(&id)?;
                    if commit.time >= floor.time && generation.may_reach(floor.generation) {
                        path.push((id, commit.parents.into_iter()));
                    }
                }
            }
        }
        match path.last_mut() {
            None => return Ok(false),
            Some((_, parents)) => match parents.next() {
                Some(parent) => next = Some(parent),
                None => {
                    path.pop();
                }
            },
        }
    }
    for (id, _) in path {
        known.insert(id, true);
    }
    Ok(true)
}

/// Those of `wants` that no tip reaches, in their order.
///
/// # Errors
/// When the repository is damaged.
pub fn unreachable(
    objects: &Objects,
    wants: &[ObjectId],
    tips: &[ObjectId],
) -> Result<Vec<ObjectId>> {
    let mut open: FxHashSet<ObjectId> = wants.iter().copied().collect();
    let mut seen: FxHashSet<ObjectId> = FxHashSet::default();
    // The least generation that is still looked for, last.
    let mut floors: Vec<(Generation, ObjectId)> =
        open.iter().map(|want| (objects.generation(want), *want)).collect();
    floors.sort_unstable_by(|a, b| b.cmp(a));
    let mut stack = Vec::new();
    for tip in tips {
        open.remove(tip);
        if let Some((id, Kind::Commit)) = objects.peel(tip)?
            && seen.insert(id)
        {
            stack.push(id);
        }
    }
    while let Some(id) = stack.pop() {
        open.remove(&id);
        while floors.last().is_some_and(|(_, want)| !open.contains(want)) {
            floors.pop();
        }
        let Some((floor, _)) = floors.last() else { break };
        let (commit, generation) = objects.commit_and_generation(&id)?;
        if !generation.may_reach(*floor) {
            continue;
        }
        for parent in commit.parents {
            if seen.insert(parent) {
                stack.push(parent);
            }
        }
    }
    Ok(wants.iter().filter(|want| open.contains(*want)).copied().collect())
}

/// Whether `ancestor` is `descendant` or one of its ancestors: a fast-forward.
///
/// # Errors
/// When either is no commit, or the repository is damaged.
pub fn is_ancestor(objects: &Objects, ancestor: &ObjectId, descendant: &ObjectId) -> Result<bool> {
    let commit = |id: &ObjectId| match objects.peel(id)? {
        Some((id, Kind::Commit)) => Ok(id),
        Some((id, found)) => Err(Error::WrongKind { id, expected: Kind::Commit, found }),
        None => Err(Error::Missing { id: *id, kind: Some(Kind::Commit) }),
    };
    let (ancestor, descendant) = (commit(ancestor)?, commit(descendant)?);
    Ok(unreachable(objects, &[ancestor], &[descendant])?.is_empty())
}
