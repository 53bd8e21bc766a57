//! Writing a multi-pack-index over packs of a repository.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use object::ObjectId;
use pack::Index;
use pack::midx::FILE_NAME;
use pack::midx::write::{Pack, write};
use storage::{BlobStore, Stage};

use crate::error::{Error, Result};
use crate::incoming::write_blob;
use crate::objects::read_whole;
use crate::repository::Repository;

/// A pack with its index.
struct Indexed {
    /// The index's file name.
    name: String,
    index: Index,
    /// Seconds since 1970.
    modified: i64,
}

/// Stages a multi-pack-index over the packs `stems` name (`pack/pack-…`), which lie in the
/// stage or in the repository's own objects directory. Gives its checksum.
///
/// Where an object lies in several packs, the copy in the pack whose stem is `preferred` is
/// taken, else that in the newest pack. Without a preferred pack the oldest that has objects
/// is it, as in git.
///
/// A stage never replaces what is there: to publish it, remove a present multi-pack-index.
///
/// # Errors
/// [`Error::Storage`] when a pack is not there, [`Error::Format`] when its index is damaged
/// or `preferred` is empty or not among the packs.
pub fn write_multi_pack_index(
    repository: &Repository,
    stems: &[String],
    preferred: Option<&str>,
    stage: &mut dyn Stage,
) -> Result<ObjectId> {
    let stores = [stage.store(), repository.blobs().clone()];
    let mut packs = Vec::with_capacity(stems.len());
    for stem in stems {
        packs.push(open(&stores, stem, repository)?);
    }
    packs.sort_by(|a, b| a.name.cmp(&b.name));
    packs.dedup_by(|a, b| a.name == b.name);
    let preferred = match preferred {
        Some(stem) => Some(preferred_among(&packs, stem)?),
        None => oldest(&packs),
    };
    let rows: Vec<Pack<'_>> = packs
        .iter()
        .map(|Indexed { name, index, modified }| Pack {
            index_name: name,
            index,
            modified: *modified,
        })
        .collect();
    let mut checksum = None;
    write_blob(FILE_NAME, stage, |out| {
        checksum = Some(write(&rows, preferred, repository.hash(), out)?);
        Ok(())
    })?;
    Ok(checksum.expect("set by a write that did not fail"))
}

fn open(stores: &[Arc<dyn BlobStore>], stem: &str, repository: &Repository) -> Result<Indexed> {
    let pack = format!("{stem}.pack");
    for store in stores {
        let Some(meta) = store.stat(&pack)? else { continue };
        let idx = format!("{stem}.idx");
        let bytes = read_whole(&**store, &idx)?;
        let index = Index::open(bytes, repository.hash()).map_err(Error::format(&idx))?;
        let name = idx.strip_prefix("pack/").unwrap_or(&idx).to_owned();
        return Ok(Indexed { name, index, modified: seconds(meta.modified) });
    }
    Err(storage::Error::not_found(pack).into())
}

fn seconds(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

fn preferred_among(packs: &[Indexed], stem: &str) -> Result<usize> {
    let is_it = |pack: &Indexed| {
        let own = pack.name.strip_suffix(".idx");
        own.is_some() && own == stem.strip_prefix("pack/")
    };
    packs.iter().position(is_it).ok_or_else(|| Error::Format {
        what: FILE_NAME.into(),
        source: pack::Error::Corrupt { what: "the preferred pack is not among its packs" },
    })
}

fn oldest(packs: &[Indexed]) -> Option<usize> {
    let with_objects = (0..packs.len()).filter(|at| packs[*at].index.count() > 0);
    with_objects.min_by_key(|at| packs[*at].modified)
}
