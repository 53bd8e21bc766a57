//! Where a shallow client's history ends: before a fetch, and after it.

use object::{Kind, ObjectId};
use rustc_hash::{FxHashMap, FxHashSet};

use crate::error::{Error, Result};
use crate::objects::{Commit, Objects};

/// How the client wants its history to be cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deepen {
    /// So many commits from each want.
    Depth(u32),
    /// So many commits more than it has now.
    Relative(u32),
    /// Only commits made at or after `since` (seconds since 1970), and none that `not` reaches.
    Limited {
        /// The time, if any.
        since: Option<i64>,
        /// Commits whose history is left out.
        not: Vec<ObjectId>,
    },
}

/// The depth that means "everything" in the protocol.
pub const INFINITE_DEPTH: u32 = 0x7fff_ffff;

/// What changes at the client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShallowUpdate {
    /// Commits whose parents the client will lack and did not lack before.
    pub shallow: Vec<ObjectId>,
    /// Commits whose parents it lacks now and will have.
    pub unshallow: Vec<ObjectId>,
    /// All commits at which its history will end.
    pub boundary: Vec<ObjectId>,
    /// Parents of the unshallowed commits: wanted, besides what was asked for.
    pub more_wants: Vec<ObjectId>,
}

/// Computes where the client's history ends after a fetch of `wants`.
///
/// `client` is where it ends now. `own` is where this repository's own history ends
/// (empty unless it is a shallow clone itself).
///
/// # Errors
/// [`Error::Refused`] when nothing is left to send; damage otherwise.
pub fn deepen(
    objects: &Objects,
    wants: &[ObjectId],
    client: &[ObjectId],
    own: &[ObjectId],
    how: &Deepen,
) -> Result<ShallowUpdate> {
    let own: FxHashSet<ObjectId> = own.iter().copied().collect();
    let wants = commits_of(objects, wants)?;
    let reach = match how {
        Deepen::Depth(INFINITE_DEPTH) | Deepen::Relative(INFINITE_DEPTH) if own.is_empty() => {
            return update(objects, client, Reach::everything(client));
        }
        Deepen::Depth(depth) => by_depth(objects, &wants, *depth, &own)?,
        Deepen::Relative(more) => match depth_now(objects, &wants, client)? {
            Some(depth) => by_depth(objects, &wants, depth.saturating_add(*more), &own)?,
            None => Reach::default(),
        },
        Deepen::Limited { since, not } => by_limits(objects, &wants, *since, not, &own)?,
    };
    update(objects, client, reach)
}

/// A cut history: where it ends, and which commits it passes through.
#[derive(Default)]
struct Reach {
    ends: Vec<ObjectId>,
    passes: FxHashSet<ObjectId>,
}

impl Reach {
    fn everything(client: &[ObjectId]) -> Self {
        Reach { ends: Vec::new(), passes: client.iter().copied().collect() }
    }
}

fn update(objects: &Objects, client: &[ObjectId], reach: Reach) -> Result<ShallowUpdate> {
    let before: FxHashSet<_> = client.iter().copied().collect();
    let mut result = ShallowUpdate::default();
    result.shallow.extend(reach.ends.iter().filter(|id| !before.contains(*id)));
    for id in client {
        if reach.passes.contains(id) {
            result.unshallow.push(*id);
            result.more_wants.extend(objects.commit(id)?.parents);
        }
    }
    result.boundary = reach.ends;
    result.boundary.extend(client.iter().filter(|id| !reach.passes.contains(*id)));
    result.boundary.sort_unstable();
    result.boundary.dedup();
    Ok(result)
}

fn commits_of(objects: &Objects, ids: &[ObjectId]) -> Result<Vec<ObjectId>> {
    let mut commits = Vec::new();
    for id in ids {
        match objects.peel(id)? {
            Some((commit, Kind::Commit)) => commits.push(commit),
            Some(_) => {}
            None => return Err(Error::Missing { id: *id, kind: None }),
        }
    }
    Ok(commits)
}

/// Breadth first, so that every commit is met at its least depth.
fn by_depth(
    objects: &Objects,
    starts: &[ObjectId],
    depth: u32,
    own: &FxHashSet<ObjectId>,
) -> Result<Reach> {
    let mut reach = Reach { ends: Vec::new(), passes: FxHashSet::default() };
    let mut seen: FxHashSet<ObjectId> = FxHashSet::default();
    let mut level: Vec<ObjectId> = starts.iter().filter(|id| seen.insert(**id)).copied().collect();
    let mut at = 1;
    while !level.is_empty() {
        let mut next = Vec::new();
        for id in level {
            if at >= depth || own.contains(&id) {
                reach.ends.push(id);
                continue;
            }
            reach.passes.insert(id);
            next.extend(objects.commit(&id)?.parents.into_iter().filter(|p| seen.insert(*p)));
        }
        level = next;
        at += 1;
    }
    Ok(reach)
}

/// How far from the wants the nearest of the client's ends lies; a want is at depth 1.
fn depth_now(objects: &Objects, wants: &[ObjectId], client: &[ObjectId]) -> Result<Option<u32>> {
    let ends: FxHashSet<ObjectId> = client.iter().copied().collect();
    let mut seen: FxHashSet<ObjectId> = wants.iter().copied().collect();
    let mut level = wants.to_vec();
    let mut depth = 1;
    while !level.is_empty() && !ends.is_empty() {
        if level.iter().any(|id| ends.contains(id)) {
            return Ok(Some(depth));
        }
        let mut next = Vec::new();
        for id in level {
            next.extend(objects.commit(&id)?.parents.into_iter().filter(|p| seen.insert(*p)));
        }
        level = next;
        depth += 1;
    }
    Ok(None)
}

fn by_limits(
    objects: &Objects,
    wants: &[ObjectId],
    since: Option<i64>,
    not: &[ObjectId],
    own: &FxHashSet<ObjectId>,
) -> Result<Reach> {
    let excluded = ancestors(objects, &commits_of(objects, not)?)?;
    let mut chosen: FxHashMap<ObjectId, Commit> = FxHashMap::default();
    let mut seen: FxHashSet<ObjectId> = FxHashSet::default();
    let mut stack: Vec<ObjectId> = wants.to_vec();
    while let Some(id) = stack.pop() {
        if excluded.contains(&id) || !seen.insert(id) {
            continue;
        }
        let commit = objects.commit(&id)?;
        if since.is_some_and(|since| commit.time < since) {
            continue;
        }
        if !own.contains(&id) {
            stack.extend(&commit.parents);
        }
        chosen.insert(id, commit);
    }
    if chosen.is_empty() {
        return Err(Error::Refused("no commits selected for shallow requests".into()));
    }
    let ends_here = |id: &ObjectId| {
        own.contains(id) || chosen[id].parents.iter().any(|parent| !chosen.contains_key(parent))
    };
    // Beyond an end nothing is sent: what only an end leads to is not part of the answer.
    let mut reach = Reach::default();
    let mut reached: FxHashSet<ObjectId> = FxHashSet::default();
    let mut stack: Vec<ObjectId> = wants.to_vec();
    while let Some(id) = stack.pop() {
        let Some(commit) = chosen.get(&id) else { continue };
        if !reached.insert(id) {
            continue;
        }
        if ends_here(&id) {
            reach.ends.push(id);
        } else {
            reach.passes.insert(id);
            stack.extend(&commit.parents);
        }
    }
    Ok(reach)
}

fn ancestors(objects: &Objects, tips: &[ObjectId]) -> Result<FxHashSet<ObjectId>> {
    let mut seen: FxHashSet<ObjectId> = tips.iter().copied().collect();
    let mut stack = tips.to_vec();
    while let Some(id) = stack.pop() {
        stack.extend(objects.commit(&id)?.parents.into_iter().filter(|p| seen.insert(*p)));
    }
    Ok(seen)
}
