//! What lies in a repository's own objects directory, as far as maintenance asks.

use std::collections::{BTreeMap, BTreeSet};
use std::time::SystemTime;

use object::ObjectId;
use pack::MultiPackIndex;
use pack::midx::FILE_NAME as MIDX;

use crate::error::{Error, Result};
use crate::objects::read_whole;
use crate::repository::Repository;

/// One pack with its index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackFound {
    /// Its name without ending: `pack/pack-…`.
    pub stem: String,
    /// Bytes of the pack.
    pub bytes: u64,
    /// Objects in it.
    pub objects: u32,
    /// When it was last written or freshened.
    pub modified: SystemTime,
    /// Somebody keeps it as it is (`.keep`).
    pub is_kept: bool,
    /// It came from a promisor (`.promisor`): what its objects name may be missing.
    pub is_promised: bool,
    /// It holds what no ref reaches (`.mtimes`).
    pub is_cruft: bool,
    /// It has a bitmap of its own.
    pub has_bitmap: bool,
}

impl PackFound {
    /// Whether maintenance may put its objects elsewhere.
    pub fn is_free(&self) -> bool {
        !self.is_kept && !self.is_promised && !self.is_cruft
    }
}

/// One loose object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LooseFound {
    pub id: ObjectId,
    pub modified: SystemTime,
}

/// The multi-pack-index.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct MultiFound {
    /// The stems of its packs.
    pub packs: BTreeSet<String>,
    /// Where its bitmaps lie, if it has them.
    pub bitmap_names: Vec<String>,
    pub has_bitmap: bool,
}

/// All of it.
#[derive(Debug, Clone, Default)]
pub(super) struct Survey {
    /// Packs with an index, those with the fewest objects first.
    pub packs: Vec<PackFound>,
    pub loose: Vec<LooseFound>,
    pub multi: Option<MultiFound>,
    /// Bitmaps and reverse indices of multi-pack-indices that are no more.
    pub orphans: Vec<String>,
    /// Whether there are objects of others (alternates).
    pub borrows: bool,
}

impl Survey {
    pub fn of(repository: &Repository) -> Result<Self> {
        let blobs = repository.blobs();
        let mut survey = Survey {
            borrows: !repository.parts().alternates.is_empty(),
            loose: loose(repository)?,
            ..Survey::default()
        };
        let files: BTreeMap<String, _> =
            blobs.list("pack/")?.into_iter().map(|file| (file.name.clone(), file)).collect();
        for (name, file) in &files {
            let Some(stem) = name.strip_suffix(".pack") else { continue };
            let has = |ending: &str| files.contains_key(&format!("{stem}{ending}"));
            let Some(objects) = (match has(".idx") {
                true => object_count(repository, stem)?,
                false => None,
            }) else {
                continue;
            };
            survey.packs.push(PackFound {
                stem: stem.to_owned(),
                bytes: file.size,
                objects,
                modified: file.modified,
                is_kept: has(".keep"),
                is_promised: has(".promisor"),
                is_cruft: has(".mtimes"),
                has_bitmap: has(".bitmap"),
            });
        }
        survey.packs.sort_by(|a, b| (a.objects, &a.stem).cmp(&(b.objects, &b.stem)));
        let mut current = BTreeSet::new();
        if files.contains_key(MIDX) {
            match MultiPackIndex::open(read_whole(&**blobs, MIDX)?, repository.hash()) {
                Ok(midx) => {
                    let layers: Vec<_> = midx.layers().map(|layer| layer.bitmap_name).collect();
                    survey.multi = Some(MultiFound {
                        packs: (0..midx.pack_count()).filter_map(|n| stem(&midx, n)).collect(),
                        bitmap_names: layers.clone(),
                        has_bitmap: layers.iter().all(|name| files.contains_key(name)),
                    });
                    current.extend(layers);
                }
                Err(error) => tracing::warn!(%error, "the multi-pack-index is written anew"),
            }
        }
        let is_orphan = |name: &&String| {
            let ending = name.strip_prefix("pack/multi-pack-index-");
            let ending = ending.and_then(|rest| rest.rsplit_once('.'));
            ending.is_some_and(|(_, ending)| matches!(ending, "bitmap" | "rev"))
                && !current.contains(&name.replace(".rev", ".bitmap"))
        };
        survey.orphans = files.keys().filter(is_orphan).cloned().collect();
        Ok(survey)
    }

    /// Packs that a multi-pack-index and its bitmap are about.
    pub fn indexed(&self) -> impl Iterator<Item = &PackFound> {
        self.packs.iter().filter(|pack| !pack.is_cruft)
    }
}

/// The stem of a pack the multi-pack-index names.
fn stem(midx: &MultiPackIndex, number: u32) -> Option<String> {
    let name = String::from_utf8(midx.pack_name(number)?.to_vec()).ok()?;
    Some(format!("pack/{}", name.strip_suffix(".idx").unwrap_or(&name)))
}

/// How many objects an index has; `None` when it is gone by now. A damaged one is an error:
/// nothing is removed from a repository that cannot be read.
fn object_count(repository: &Repository, stem: &str) -> Result<Option<u32>> {
    let name = format!("{stem}.idx");
    match read_whole(&**repository.blobs(), &name) {
        Ok(bytes) => {
            let index = pack::Index::open(bytes, repository.hash());
            Ok(Some(index.map_err(Error::format(name))?.count()))
        }
        Err(Error::Storage(storage::Error::NotFound { .. })) => Ok(None),
        Err(error) => Err(error),
    }
}

fn loose(repository: &Repository) -> Result<Vec<LooseFound>> {
    let mut found = Vec::new();
    for first in 0..=u8::MAX {
        let folder = format!("{first:02x}/");
        for file in repository.blobs().list(&folder)? {
            let hex = file.name.replace('/', "");
            // Other files, such as those of a write that was cut short, are none.
            if let Some(id) = ObjectId::from_hex_of(hex.as_bytes(), repository.hash()) {
                found.push(LooseFound { id, modified: file.modified });
            }
        }
    }
    Ok(found)
}
