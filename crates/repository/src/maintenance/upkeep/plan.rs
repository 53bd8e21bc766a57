//! What there is to do, decided from what lies there.

use super::geometry::packs_to_join;
use super::options::{FullRepack, UpkeepOptions};
use super::survey::{PackFound, Survey};

/// Of all objects, the part that may lie outside bitmaps before these are written anew: one in
/// so many.
const OUTSIDE_BITMAP_PART: u64 = 64;

/// What one round of maintenance does. Told in words by [`UpkeepPlan::lines`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpkeepPlan {
    /// What becomes of packs and loose objects.
    pub packing: Packing,
    /// Whether the overview of the packs (multi-pack-index, bitmap) is written anew. Always
    /// when packs change.
    pub overview: bool,
    /// Whether the commit-graph gets what is new.
    pub graph: bool,
    /// Whether loose refs are packed.
    pub refs: bool,
    /// Why something that would be due is not done.
    pub hindrance: Option<Hindrance>,
}

/// What becomes of packs and loose objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Packing {
    /// They stay as they are.
    Nothing,
    /// These packs and the loose objects become one pack.
    Join {
        /// Their stems, `pack/pack-…`.
        packs: Vec<String>,
        /// Objects in them.
        objects: u64,
        /// Loose objects.
        loose: u64,
    },
    /// Everything reachable becomes one pack, and what is not a cruft pack.
    Full {
        /// Packs there are.
        packs: usize,
        /// Loose objects there are.
        loose: u64,
    },
}

/// Why objects are not packed as they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hindrance {
    /// `extensions.preciousObjects`: nothing may be removed.
    Precious,
    /// It is a partial clone: what is reachable cannot be told.
    Partial,
    /// It is a shallow clone.
    Shallow,
}

impl UpkeepPlan {
    /// Whether there is nothing to do but what costs next to nothing.
    pub fn is_idle(&self) -> bool {
        self.packing == Packing::Nothing && !self.overview
    }

    /// The plan in words, a line for each step.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        match &self.packing {
            Packing::Nothing => {}
            Packing::Join { packs, objects, loose } => lines.push(format!(
                "join {} packs ({objects} objects) and {loose} loose objects into one pack",
                packs.len()
            )),
            Packing::Full { packs, loose } => lines.push(format!(
                "pack everything reachable from {packs} packs and {loose} loose objects anew"
            )),
        }
        if self.overview {
            lines.push("write the index over all packs and its bitmap".into());
        }
        if self.graph {
            lines.push("add commits that are new to the commit-graph".into());
        }
        if self.refs {
            lines.push("pack loose refs".into());
        }
        match self.hindrance {
            Some(Hindrance::Precious) => {
                lines.push("no packs are joined: extensions.preciousObjects is set".into());
            }
            Some(Hindrance::Partial) => lines.push(
                "not packed anew as a whole: in a partial clone what is reachable cannot be told"
                    .into(),
            ),
            Some(Hindrance::Shallow) => {
                lines.push("no commit-graph and no bitmaps: the repository is shallow".into());
            }
            None => {}
        }
        lines
    }
}

/// What a plan depends on besides what lies there.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Traits {
    pub is_precious: bool,
    pub is_shallow: bool,
}

/// Decides; `eager` does now what could wait.
pub(super) fn plan(
    survey: &Survey,
    traits: Traits,
    options: &UpkeepOptions,
    eager: bool,
) -> UpkeepPlan {
    let mut hindrance = None;
    let packing = match traits.is_precious {
        true => {
            hindrance = Some(Hindrance::Precious);
            Packing::Nothing
        }
        false => packing(survey, options, eager, &mut hindrance),
    };
    if traits.is_shallow && hindrance.is_none() {
        hindrance = Some(Hindrance::Shallow);
    }
    let overview = packing != Packing::Nothing
        || (!traits.is_shallow && overview_is_stale(survey, options, eager))
        || !survey.orphans.is_empty();
    UpkeepPlan {
        packing,
        overview,
        graph: options.graph.is_some() && !traits.is_shallow,
        // Each ref is locked for a moment, and a push that meets the lock waits and may give up.
        refs: options.tidy_refs && eager,
        hindrance,
    }
}

fn packing(
    survey: &Survey,
    options: &UpkeepOptions,
    eager: bool,
    hindrance: &mut Option<Hindrance>,
) -> Packing {
    let free: Vec<&PackFound> = survey.packs.iter().filter(|pack| pack.is_free()).collect();
    let loose = survey.loose.len() as u64;
    let is_partial = survey.packs.iter().any(|pack| pack.is_promised);
    let full = Packing::Full { packs: free.len(), loose };
    if options.full == FullRepack::Always {
        if !is_partial {
            return full;
        }
        *hindrance = Some(Hindrance::Partial);
    }
    let sizes: Vec<u32> = free.iter().map(|pack| pack.objects).collect();
    let joined = packs_to_join(&sizes, loose, options.geometric_factor);
    let pays = joined > 1 || (loose > 0 && (joined > 0 || eager || loose > options.loose_max));
    if !pays {
        return Packing::Nothing;
    }
    // Nothing would be left to lean on: the time to look for better deltas and for garbage.
    if joined == free.len() && !is_partial {
        return full;
    }
    Packing::Join {
        packs: free[..joined].iter().map(|pack| pack.stem.clone()).collect(),
        objects: free[..joined].iter().map(|pack| u64::from(pack.objects)).sum(),
        loose,
    }
}

/// Whether too much lies outside the bitmap and the multi-pack-index.
fn overview_is_stale(survey: &Survey, options: &UpkeepOptions, eager: bool) -> bool {
    let packs: Vec<&PackFound> = survey.indexed().collect();
    let total: u64 = packs.iter().map(|pack| u64::from(pack.objects)).sum();
    if total == 0 {
        return false;
    }
    let bitmaps = options.bitmaps && !survey.borrows;
    if let [alone] = packs[..] {
        return bitmaps && !alone.has_bitmap && (eager || survey.multi.is_none());
    }
    let none = Default::default();
    let multi = survey.multi.as_ref().unwrap_or(&none);
    let outside: Vec<_> = packs.iter().filter(|pack| !multi.packs.contains(&pack.stem)).collect();
    let outside_objects: u64 = outside.iter().map(|pack| u64::from(pack.objects)).sum();
    if bitmaps && !multi.has_bitmap && !packs.iter().any(|pack| pack.has_bitmap) {
        return true;
    }
    match eager {
        true => !outside.is_empty(),
        false => {
            outside.len() > options.unindexed_packs_max
                || outside_objects > total / OUTSIDE_BITMAP_PART
        }
    }
}
