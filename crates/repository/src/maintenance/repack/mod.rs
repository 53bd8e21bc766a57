//! One pack of many objects, with a search for deltas, as `git pack-objects` makes it.
//!
//! The objects are looked up and put into a table ([`table`]); a walk finds the path each is
//! found at and the order of recency ([`names`]); neighbours by kind, path and size are tried as
//! each other's bases on all allowed threads ([`search`], [`window`]); then the pack is written,
//! its objects in an order that suits readers ([`order`], [`encode`], [`write`]).
//!
//! Memory is about 80 bytes per object besides what [`RepackOptions`] allows. Nothing is
//! removed or published here: that is for whoever has the stage.

mod encode;
mod index;
mod kept;
mod names;
mod options;
mod order;
mod output;
mod reuse;
mod search;
mod selection;
mod table;
mod window;
mod write;

use object::ObjectId;
use storage::Stage;

use crate::error::Result;
use crate::objects::Objects;
use crate::progress::Progress;
use crate::repository::Repository;

use self::kept::KeptDeltas;

pub use self::options::RepackOptions;
pub use self::selection::Selection;

/// A pack that lies in the stage, with its index and reverse index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packed {
    /// The checksum that names the pack.
    pub name: ObjectId,
    /// Objects in it.
    pub objects: u32,
    /// Those of them stored as deltas.
    pub deltas: u32,
    /// Of the deltas, those that lay in a pack before.
    pub reused_deltas: u32,
    /// Bytes of the pack.
    pub bytes: u64,
}

impl Packed {
    /// What its files are called, without ending: `pack/pack-…`.
    pub fn stem(&self) -> String {
        format!("pack/pack-{}", self.name)
    }
}

/// Writes the selected objects of a view into one pack of the stage; `None` when none are
/// selected.
///
/// # Errors
/// When the storage fails, the repository is damaged, or the listener of `progress` gives up.
/// The stage is good for nothing but to be dropped then.
pub fn repack(
    repository: &Repository,
    objects: &Objects,
    selection: &Selection,
    options: &RepackOptions,
    stage: &mut dyn Stage,
    progress: &mut dyn Progress,
) -> Result<Option<Packed>> {
    let mut table = table::collect(objects, selection.marks(), options, progress)?;
    if table.is_empty() {
        return Ok(None);
    }
    if options.reuse_deltas {
        reuse::limit_depth(&mut table, options.depth);
    }
    let tagged =
        names::find(repository, objects, selection.marks(), &mut table, options, progress)?;
    let kept = KeptDeltas::new(options.delta_cache_bytes);
    search::search(objects, &mut table, &kept, options, progress)?;
    let order = order::compute(&table, &tagged);
    drop(tagged);
    write::write(objects, table, order, kept, options, stage, progress).map(Some)
}
