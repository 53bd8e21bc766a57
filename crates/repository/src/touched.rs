//! What commits change: the paths at which none of their parents has the same.

use std::collections::BTreeMap;

use object::{EntryMode, Kind, ObjectId, TreeIter};
use rustc_hash::FxHashSet;

use crate::error::{Error, Result};
use crate::objects::Objects;

/// One path that a commit changes.
#[derive(Debug)]
pub struct Touched<'a> {
    /// From the root, with slashes.
    pub path: &'a [u8],
    /// What is there now; `None` when it went away. Never a folder.
    pub new: Option<(EntryMode, ObjectId)>,
}

/// Commits that are reachable from `new` and from none of `old`, children before parents.
///
/// # Errors
/// [`Error::Limit`] when they are more than `most`, which `setting` names; or the repository is damaged.
pub fn commits_between(
    objects: &Objects,
    new: &[ObjectId],
    old: &[ObjectId],
    (setting, most): (&'static str, usize),
) -> Result<Vec<ObjectId>> {
    let commits = |ids: &[ObjectId]| -> Result<Vec<ObjectId>> {
        let mut commits = Vec::new();
        for id in ids {
            if let Some((id, Kind::Commit)) = objects.peel(id)? {
                commits.push(id);
            }
        }
        Ok(commits)
    };
    // By the dates of commits, as git's own walks: a clock that went wrong shows too much, never
    // too little.
    let mut queue = std::collections::BinaryHeap::new();
    let (mut seen, mut is_old, mut waiting) =
        (FxHashSet::default(), FxHashSet::default(), FxHashSet::default());
    for id in commits(old)? {
        if seen.insert(id) {
            is_old.insert(id);
            queue.push((objects.commit(&id)?.time, id));
        }
    }
    for id in commits(new)? {
        if seen.insert(id) {
            waiting.insert(id);
            queue.push((objects.commit(&id)?.time, id));
        }
    }
    let mut fresh = Vec::new();
    while !waiting.is_empty()
        && let Some((_, id)) = queue.pop()
    {
        let old = is_old.contains(&id);
        if waiting.remove(&id) {
            fresh.push(id);
            if fresh.len() > most {
                let what = "a push to a protected ref brings more commits".to_owned();
                return Err(Error::Limit { setting, limit: most as u64, what });
            }
        }
        for parent in objects.commit(&id)?.parents {
            if old {
                is_old.insert(parent);
                waiting.remove(&parent);
            }
            if seen.insert(parent) {
                if !old {
                    waiting.insert(parent);
                }
                queue.push((objects.commit(&parent)?.time, parent));
            }
        }
    }
    fresh.retain(|id| !is_old.contains(id));
    Ok(fresh)
}

/// A folder that is to be looked into: its tree in the commit, and in its parents.
struct Folder {
    path: Vec<u8>,
    new: Option<ObjectId>,
    old: Vec<Option<ObjectId>>,
}

/// Shows every path at which a commit has something that none of its parents has there. A path
/// that went away is shown when all parents have it.
///
/// # Errors
/// When the repository is damaged, or as `visit` does.
pub fn touched<E: From<Error>>(
    objects: &Objects,
    commit: &ObjectId,
    mut visit: impl FnMut(Touched<'_>) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    let commit = objects.commit(commit)?;
    let parents = commit.parents.iter().map(|parent| Ok(Some(objects.commit(parent)?.tree)));
    let old: Vec<Option<ObjectId>> = parents.collect::<Result<_>>()?;
    let mut folders = vec![Folder { path: Vec::new(), new: Some(commit.tree), old }];
    while let Some(folder) = folders.pop() {
        if folder.old.contains(&folder.new) {
            continue;
        }
        let new = entries(objects, folder.new.as_ref())?;
        let mut old = Vec::new();
        for tree in &folder.old {
            old.push(entries(objects, tree.as_ref())?);
        }
        let mut names: Vec<&Vec<u8>> = new.keys().collect();
        // Of what went away, all parents had it, the first one as well.
        names.extend(
            old.first()
                .into_iter()
                .flat_map(BTreeMap::keys)
                .filter(|name| !new.contains_key(*name)),
        );
        for name in names {
            let now = new.get(name).copied();
            let before: Vec<Option<(EntryMode, ObjectId)>> =
                old.iter().map(|entries| entries.get(name).copied()).collect();
            if before.contains(&now) || (now.is_none() && before.contains(&None)) {
                continue;
            }
            let mut path = folder.path.clone();
            path.extend_from_slice(name);
            let tree = |entry: &Option<(EntryMode, ObjectId)>| {
                entry.filter(|(mode, _)| mode.is_tree()).map(|(_, id)| id)
            };
            let file =
                |entry: Option<(EntryMode, ObjectId)>| entry.filter(|(mode, _)| !mode.is_tree());
            if file(now).is_some()
                || (now.is_none() && before.iter().any(|entry| file(*entry).is_some()))
            {
                visit(Touched { path: &path, new: file(now) })?;
            }
            if tree(&now).is_some() || before.iter().any(|entry| tree(entry).is_some()) {
                path.push(b'/');
                let old = before.iter().map(tree).collect();
                folders.push(Folder { path, new: tree(&now), old });
            }
        }
    }
    Ok(())
}

type Entries = BTreeMap<Vec<u8>, (EntryMode, ObjectId)>;

fn entries(objects: &Objects, tree: Option<&ObjectId>) -> Result<Entries> {
    let mut entries = BTreeMap::new();
    let Some(tree) = tree else { return Ok(entries) };
    let object = objects.read_expect(tree, Kind::Tree)?;
    for entry in TreeIter::new(&object.data, objects.hash()) {
        let entry = entry.map_err(|_| Error::BadObject {
            id: *tree,
            reason: "an entry cannot be read".to_owned(),
        })?;
        entries.insert(entry.name.to_vec(), (entry.mode, entry.oid(objects.hash())));
    }
    Ok(entries)
}
