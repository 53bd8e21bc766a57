//! Moving staged blobs into the objects directory, so that none is visible before it is whole
//! and no index before its pack. Files that replace others come last, each through git's lock.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::Path;

use storage::{Error, Result};

use crate::disk::{Directories, Disk};
use crate::lock::LockFile;

/// Syncs every file, then moves them in order, then syncs the directories they came to.
///
/// Also moved are files that hooks put into the stage. A crash leaves some of them moved: whole
/// loose objects, or packs without an index, which git does not see and removes in time.
pub(super) fn publish(
    disk: &Disk,
    stage: &Path,
    objects_dir: &Path,
    names: &BTreeSet<String>,
    replaces: &mut BTreeMap<String, LockFile>,
) -> Result<()> {
    let mut ordered: BTreeMap<Turn, Vec<String>> = BTreeMap::new();
    for name in all_files(stage, names)? {
        let turn = if replaces.contains_key(&name) { Turn::Replacing } else { turn(&name) };
        ordered.entry(turn).or_default().push(name);
    }
    for name in ordered.values().flatten() {
        let path = stage.join(name);
        let synced = File::open(&path).and_then(|file| disk.sync_file(&file, &path));
        synced.map_err(|source| Error::io(path.display(), source))?;
    }
    let mut changed = Directories::new();
    for name in ordered.values().flatten() {
        let (from, to) = (stage.join(name), objects_dir.join(name));
        let moved = match replaces.get_mut(name) {
            None => move_new(disk, objects_dir, &from, &to, &mut changed),
            Some(lock) => {
                changed.extend(to.parent().map(Path::to_owned));
                lock.adopt(&from).and_then(|()| lock.replace_target())
            }
        };
        moved.map_err(|source| Error::io(to.display(), source))?;
    }
    let synced = disk.sync_directories(&changed);
    synced.map_err(|source| Error::io(objects_dir.display(), source))
}

/// When a file may become visible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    /// Loose objects need nothing.
    Loose,
    /// Before its pack, so that the pack is never without it.
    Keep,
    Pack,
    /// `.rev`, `.bitmap`, `.mtimes`, `.promisor`: read only by way of an index.
    BesidePack,
    /// Makes the pack visible.
    Index,
    /// Multi-pack indices and commit-graphs speak of packs that must be there.
    Overview,
    /// What is replaced lists files that must be there: a chain its layers.
    Replacing,
}

fn turn(name: &str) -> Turn {
    if name.starts_with("info/") || is_multi_pack_index(name) {
        return Turn::Overview;
    }
    if !name.starts_with("pack/") {
        return Turn::Loose;
    }
    match name.rsplit('.').next() {
        Some("keep") => Turn::Keep,
        Some("pack") => Turn::Pack,
        Some("idx") => Turn::Index,
        _ => Turn::BesidePack,
    }
}

/// Not so its bitmap, which is read only by way of it: whoever opened the one without the other
/// would do without for as long as it keeps it open.
fn is_multi_pack_index(name: &str) -> bool {
    name.starts_with("pack/multi-pack-index") && !name.ends_with(".bitmap")
}

/// The staged names, and the loose objects and packs a hook wrote beside them.
fn all_files(stage: &Path, names: &BTreeSet<String>) -> Result<BTreeSet<String>> {
    let mut files = names.clone();
    let at = |source| Error::io(stage.display(), source);
    for directory in fs::read_dir(stage).map_err(at)? {
        let directory = directory.map_err(at)?;
        if !directory.file_type().map_err(at)?.is_dir() {
            continue;
        }
        for file in fs::read_dir(directory.path()).map_err(at)? {
            let file = file.map_err(at)?;
            let (above, name) = (directory.file_name(), file.file_name());
            if let (Some(above), Some(name)) = (above.to_str(), name.to_str())
                && file.file_type().map_err(at)?.is_file()
                && !name.starts_with('.')
                && !name.starts_with("tmp_")
            {
                files.insert(format!("{above}/{name}"));
            }
        }
    }
    Ok(files)
}

fn move_new(
    disk: &Disk,
    objects_dir: &Path,
    from: &Path,
    to: &Path,
    changed: &mut Directories,
) -> io::Result<()> {
    disk.create_parents(objects_dir, to, changed)?;
    match disk.rename_new(from, to) {
        Ok(()) => {
            changed.extend(to.parent().map(|parent| parent.to_owned()));
            Ok(())
        }
        // The same object or pack is here already: names are made from contents.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_comes_after_everything_of_its_pack() {
        let mut names = [
            "pack/pack-1.idx",
            "info/commit-graph",
            "pack/pack-1.rev",
            "pack/pack-1.pack",
            "pack/multi-pack-index",
            "pack/multi-pack-index-1.bitmap",
            "ab/cdef",
            "pack/pack-1.keep",
            "pack/pack-1.promisor",
        ];
        names.sort_by_key(|name| turn(name));
        assert_eq!(names[0], "ab/cdef");
        assert_eq!(names[1..3], ["pack/pack-1.keep", "pack/pack-1.pack"]);
        assert_eq!(names[6], "pack/pack-1.idx");
        let at = |wanted: &str| names.iter().position(|name| *name == wanted);
        assert!(at("pack/multi-pack-index-1.bitmap") < at("pack/multi-pack-index"));
    }
}
