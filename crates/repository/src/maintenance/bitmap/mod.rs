//! Writing reachability bitmaps: which commits get one is in `select.rs`, what each reaches is
//! found here.
//!
//! First every commit's tree is compared with those of its parents, which tells what came with
//! that commit ([`changes`]): each tree is read once or twice, and a number is kept for each
//! object. Then the bitmap of a selected commit is what came with the commits back to selected
//! ones before it, and their bitmaps ([`join`]). Kept are the compressed bitmaps, some twelve
//! bytes per object of the pack, and forty per commit.

mod changes;
mod covered;
mod history;
mod join;

use std::ops::ControlFlow;
use std::sync::Arc;

use bstr::ByteSlice as _;
use object::{Kind, ObjectId};
use pack::BitSet;
use pack::bitmap::write::{Bitmaps, Contents, Kinds};
use rustc_hash::FxHashSet;
use storage::{Stage, TargetView};

use super::select::{Candidate, select};
use crate::error::Result;
use crate::incoming::write_blob;
use crate::objects::{Objects, PackSet};
use crate::progress::Progress;
use crate::repository::Repository;
use changes::Changes;
use covered::{Covered, Stop};
use history::History;

/// Whose objects a bitmap is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Owner<'a> {
    /// The pack of this stem, `pack/pack-…`.
    Pack(&'a str),
    /// The multi-pack-index.
    MultiPackIndex,
}

/// Where history begins that gets bitmaps.
#[derive(Debug, Clone, Default)]
pub struct Tips {
    /// What refs point at; commits and tags of commits count.
    pub all: Vec<ObjectId>,
    /// Those that get a bitmap before others near them.
    pub preferred: Vec<ObjectId>,
}

impl Tips {
    /// What the refs of a repository point at; preferred are those whose names begin with one
    /// of `pack.preferBitmapTips`.
    ///
    /// # Errors
    /// When the refs cannot be read.
    pub fn of(repository: &Repository) -> Result<Self> {
        let prefixes = repository.config().strings("pack.preferBitmapTips");
        let mut tips = Tips::default();
        repository.refs().snapshot()?.scan(b"refs/".as_bstr(), &mut |found| {
            if let TargetView::Id(id) = found.target {
                let id = id.to_id();
                tips.all.push(id);
                if prefixes.iter().any(|prefix| found.name.starts_with(prefix.as_bytes())) {
                    tips.preferred.push(id);
                }
            }
            ControlFlow::Continue(())
        })?;
        Ok(tips)
    }
}

/// The optional parts of a bitmap file.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// Keep the hashes of paths (`pack.writeBitmapHashCache`).
    pub name_hashes: bool,
    /// Keep a table to find commits by (`pack.writeBitmapLookupTable`); off in git unless set.
    pub lookup_table: bool,
}

impl Default for Options {
    fn default() -> Self {
        Options { name_hashes: true, lookup_table: true }
    }
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The file is staged.
    Written(Stats),
    /// Nothing was written: this object is needed by others and is not in the pack, or not
    /// under the multi-pack-index.
    NotClosed(ObjectId),
    /// Nothing was written: the history of a shallow repository is not whole.
    Shallow,
    /// Nothing was written: no commit of the pack is reachable from the tips.
    NoCommits,
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Commits that have a bitmap.
    pub selected: usize,
    /// Commits of the pack that the tips reach.
    pub commits: usize,
    /// Bits of each bitmap: the objects of the pack.
    pub objects: u32,
    /// Bytes of all bitmaps of commits.
    pub bitmap_bytes: usize,
}

/// Stages the bitmap of a pack or of the multi-pack-index, which lie in the stage or in the
/// repository; packs of the stage are found first.
///
/// # Errors
/// When the pack is not there, the repository is damaged, or `stage` cannot be written.
pub fn write_bitmap(
    repository: &Repository,
    owner: Owner<'_>,
    tips: &Tips,
    options: Options,
    stage: &mut dyn Stage,
    progress: &mut dyn Progress,
) -> Result<Outcome> {
    if !repository.refs().snapshot()?.shallow()?.is_empty() {
        return Ok(Outcome::Shallow);
    }
    let mut stores = vec![stage.store(), repository.blobs().clone()];
    stores.extend(repository.parts().alternates.iter().cloned());
    let set = Arc::new(PackSet::new(stores, repository.hash(), repository.settings()));
    let unit = Arc::new(match owner {
        Owner::Pack(stem) => set.open_pack_unit(stem)?,
        Owner::MultiPackIndex => set.open_multi_unit()?,
    });
    let (name, checksum) = unit
        .bitmap_name()?
        .ok_or_else(|| storage::Error::not_found("the order a bitmap needs: chunk RIDX"))?;
    let objects = Objects::of_unit(set, unit.clone(), repository.settings())?;
    let built = Covered::new(objects, unit)
        .and_then(|mut covered| build(&mut covered, tips, options, progress));
    let built = match built {
        Ok(Some(built)) => built,
        Ok(None) => return Ok(Outcome::NoCommits),
        Err(Stop::Open(id)) => return Ok(Outcome::NotClosed(id)),
        Err(Stop::Failed(error)) => return Err(error),
    };
    let contents = Contents {
        owner: checksum,
        kinds: &built.kinds,
        bitmaps: &built.bitmaps,
        name_hashes: built.name_hashes.as_deref(),
        lookup_table: options.lookup_table,
    };
    write_blob(&name, stage, |out| pack::bitmap::write::write(&contents, out).map(drop))?;
    Ok(Outcome::Written(built.stats))
}

/// What goes into the file.
struct Built {
    kinds: Kinds,
    bitmaps: Bitmaps,
    name_hashes: Option<Vec<u32>>,
    stats: Stats,
}

fn build(
    covered: &mut Covered,
    tips: &Tips,
    options: Options,
    progress: &mut dyn Progress,
) -> Result<Option<Built>, Stop> {
    let history = History::of(covered, &tips.all, progress)?;
    let selected = selected(&history, covered, &tips.preferred)?;
    if selected.is_empty() {
        return Ok(None);
    }
    let Changes { lists, mut kinds, name_hashes } =
        Changes::find(covered, &history, options.name_hashes, progress)?;
    let bitmaps = join::bitmaps(covered, &history, &lists, &selected, progress)?;
    drop(lists);
    covered.add_unreached(&mut kinds)?;
    let stats = Stats {
        selected: selected.len(),
        commits: history.count(),
        objects: covered.count(),
        bitmap_bytes: bitmaps.byte_len(),
    };
    Ok(Some(Built { kinds, bitmaps, name_hashes, stats }))
}

fn selected(
    history: &History,
    covered: &Covered,
    preferred: &[ObjectId],
) -> Result<Vec<u32>, Stop> {
    let mut preferred_positions = FxHashSet::default();
    for id in preferred {
        if let Some((id, Kind::Commit)) = covered.objects().peel(id)?
            && let Some(position) = covered.position(&id)?
        {
            preferred_positions.insert(position);
        }
    }
    let count = history.count() as u32;
    let mut has_child = BitSet::new(count);
    for number in 0..count {
        for parent in history.parents(number) {
            has_child.set(*parent);
        }
    }
    let candidate = |number: u32| Candidate {
        time: history.time(number),
        number,
        is_merge: history.parents(number).len() > 1,
        is_preferred: preferred_positions.contains(&history.position(number)),
        is_end: !has_child.get(number),
    };
    Ok(select((0..count).map(candidate).collect()))
}
