//! Pushes from shallow clones: which commits a command would bring in without their parents.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use object::{Kind, ObjectId};
use repository::{Objects, Repository};
use storage::RefSnapshot;

use crate::Error;
use crate::hooks::Hooks;

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

/// How many such files this process has made: each has a name of its own.
static SHOWN: AtomicU64 = AtomicU64::new(0);

/// A file that lists where history would end with the push; removed on drop.
pub(super) struct BoundaryFile(PathBuf);

/// Lets hooks walk what a shallow push brings (`GIT_SHALLOW_FILE`), although the repository
/// becomes shallow only together with its refs.
pub(super) fn show_hooks(
    repo: &Repository,
    commands: &[Command],
    hooks: Option<&mut Hooks<'_>>,
) -> Result<Option<BoundaryFile>, Error> {
    let new: BTreeSet<ObjectId> =
        commands.iter().flat_map(|command| command.shallow_roots.iter().copied()).collect();
    let (Some(hooks), Some(local)) = (hooks, repo.local()) else { return Ok(None) };
    if new.is_empty() {
        return Ok(None);
    }
    let mut ids = new;
    ids.extend(repo.refs().snapshot()?.shallow()?);
    let text: String = ids.iter().map(|id| format!("{id}\n")).collect();
    let (process, number) = (std::process::id(), SHOWN.fetch_add(1, Ordering::Relaxed));
    let path = local.common_dir.join(format!("shallow_{process}_{number}"));
    let failed = |source| storage::Error::io(path.display(), source);
    // A file of that name can only be left over from a process that died.
    let mut options = OpenOptions::new();
    let file = options.write(true).create(true).truncate(true).open(&path);
    let boundary = BoundaryFile(path.clone());
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(failed)?;
    hooks.set_variable("GIT_SHALLOW_FILE", std::path::absolute(&path).map_err(failed)?);
    Ok(Some(boundary))
}

impl Drop for BoundaryFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.0) {
            tracing::warn!("cannot remove {}: {error}", self.0.display());
        }
    }
}
