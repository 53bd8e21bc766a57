//! The overview of all packs: a bitmap of the only pack, or a multi-pack-index with a bitmap.

use pack::midx::FILE_NAME as MIDX;
use storage::Stage;

use super::{Replaced, Round};
use crate::error::Result;
use crate::maintenance::bitmap::{Outcome, Owner, Tips, write_bitmap};
use crate::maintenance::midx::write_multi_pack_index;

/// Where layers of a multi-pack-index lie, and the file that lists them.
const MIDX_LAYERS: &str = "pack/multi-pack-index.d/";

impl Round<'_> {
    /// Stages it over the packs there will be; the names of what speaks of other packs and goes.
    pub(super) fn overview(
        &mut self,
        replaced: &Replaced,
        stage: &mut dyn Stage,
    ) -> Result<Vec<String>> {
        let stays = self.survey.indexed().filter(|pack| !replaced.packs.contains(&pack.stem));
        let mut packs: Vec<(u64, String)> = Vec::new();
        let mut bitmaps = Vec::new();
        for pack in stays {
            if !replaced.new.contains(&pack.stem) {
                packs.push((pack.objects.into(), pack.stem.clone()));
            }
            if pack.has_bitmap {
                bitmaps.push(pack.stem.clone());
            }
        }
        packs.extend(replaced.new.iter().map(|stem| (u64::MAX, stem.clone())));
        // Layers that other programs wrote speak of packs that may go.
        let mut obsolete = self.layers()?;
        obsolete.extend(self.survey.orphans.iter().cloned());
        stage.replace(MIDX)?;
        let mut new_bitmap = None;
        let owner = match &packs[..] {
            [] => None,
            [(_, alone)] => {
                if self.survey.multi.is_some() {
                    obsolete.push(MIDX.to_owned());
                }
                Some(Owner::Pack(alone))
            }
            several => {
                // The preferred pack's objects are sent as they lie: the larger it is the better.
                let largest = several.iter().max().map(|(_, stem)| stem.as_str());
                let stems: Vec<String> = several.iter().map(|(_, stem)| stem.clone()).collect();
                let checksum = write_multi_pack_index(self.repository, &stems, largest, stage)?;
                new_bitmap = Some(format!("{MIDX}-{checksum}.bitmap"));
                Some(Owner::MultiPackIndex)
            }
        };
        let has_one =
            matches!(owner, Some(Owner::Pack(stem)) if bitmaps.iter().any(|own| own == stem));
        if let Some(owner) = owner.filter(|_| self.options.bitmaps && !has_one) {
            let tips = Tips::of(self.repository)?;
            let options = self.options.bitmap;
            let outcome =
                write_bitmap(self.repository, owner, &tips, options, stage, self.progress)?;
            match outcome {
                Outcome::Written(stats) => {
                    self.report.bitmap_commits = Some(stats.selected);
                    // One bitmap is in use at a time, and this one is the newest.
                    let others = bitmaps.iter().map(|stem| format!("{stem}.bitmap"));
                    obsolete.extend(others);
                }
                Outcome::NotClosed(id) => {
                    tracing::debug!(%id, "no bitmap: an object lies outside the packs");
                }
                Outcome::Shallow | Outcome::NoCommits => {}
            }
        }
        let old = self.survey.multi.iter().flat_map(|multi| &multi.bitmap_names);
        obsolete.extend(old.filter(|name| new_bitmap.as_ref() != Some(name)).cloned());
        Ok(obsolete)
    }

    fn layers(&self) -> Result<Vec<String>> {
        let layers = self.repository.blobs().list(MIDX_LAYERS)?;
        let mut names: Vec<String> = layers.into_iter().map(|layer| layer.name).collect();
        // The list of layers goes before the layers.
        names.sort_by_key(|name| !name.ends_with("-chain"));
        Ok(names)
    }
}
