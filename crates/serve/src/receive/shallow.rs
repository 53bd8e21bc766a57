//! Pushes from shallow clones: which commits a command would bring in without their parents.

use std::collections::HashSet;

use object::{Kind, ObjectId};
use repository::Objects;
use storage::RefSnapshot;

use crate::Error;

use super::commands::Command;

/// Notes in each command the shallow commits it depends on; where this repository may not
/// become shallow, such commands are refused.
///
/// `before` is the repository without what was pushed, `after` with it.
pub(super) fn assign_roots(
    before: &Objects,
    after: &Objects,
    snapshot: &dyn RefSnapshot,
    client_shallow: &[ObjectId],
    may_become_shallow: bool,
    commands: &mut [Command],
) -> Result<(), Error> {
    if client_shallow.is_empty() {
        return Ok(());
    }
    let own: HashSet<ObjectId> = snapshot.shallow()?.into_iter().collect();
    let mut roots = HashSet::new();
    for id in client_shallow.iter().filter(|id| !own.contains(*id)) {
        if after.contains(id)? && lacks_parents(after, id)? {
            roots.insert(*id);
        }
    }
    if roots.is_empty() {
        return Ok(());
    }
    for command in commands.iter_mut().filter(|command| !command.deletes()) {
        let met = roots_below(before, after, &own, &roots, &command.new)?;
        if met.is_empty() {
            continue;
        }
        if may_become_shallow {
            command.shallow_roots = met;
        } else {
            command.refuse("shallow update not allowed");
            command.skip_update = true;
        }
    }
    Ok(())
}

fn lacks_parents(objects: &Objects, id: &ObjectId) -> Result<bool, Error> {
    if !matches!(objects.header(id)?, Some((Kind::Commit, _))) {
        return Ok(false);
    }
    for parent in objects.commit(id)?.parents {
        if !objects.contains(&parent)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Walks what the push adds below `tip` and collects the roots it ends at.
fn roots_below(
    before: &Objects,
    after: &Objects,
    own: &HashSet<ObjectId>,
    roots: &HashSet<ObjectId>,
    tip: &ObjectId,
) -> Result<Vec<ObjectId>, Error> {
    let mut met = Vec::new();
    let mut seen = HashSet::new();
    let mut stack: Vec<ObjectId> = match after.peel(tip) {
        Ok(Some((id, Kind::Commit))) => vec![id],
        // Nothing to walk, or nothing that can be walked: connectivity will tell.
        Ok(_) | Err(repository::Error::Missing { .. }) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    while let Some(id) = stack.pop() {
        if !seen.insert(id) || own.contains(&id) {
            continue;
        }
        if roots.contains(&id) {
            met.push(id);
        } else if !before.contains(&id)? && after.contains(&id)? {
            stack.extend(after.commit(&id)?.parents);
        }
    }
    Ok(met)
}
