//! One round of maintenance: what is due, done in an order in which nothing is ever missing.
//!
//! Packs are joined so that their sizes form a geometric row ([`geometry`]); when that would
//! touch all of them, everything reachable is packed anew and the rest becomes a cruft pack,
//! from which goes what nobody needed for a while ([`cruft`]). New files are published whole,
//! with a multi-pack-index and a bitmap that fit them; only then is removed what they replace.
//! Whoever opened an old pack before reads on: it is mapped.
//!
//! Two rounds at once are kept apart by git's own lock, `objects/maintenance.lock`.

mod cruft;
mod geometry;
mod join;
mod options;
mod overview;
mod plan;
mod survey;

use std::collections::BTreeSet;
use std::fmt;

use object::Kind;

use crate::error::Result;
use crate::maintenance::graph::{self, GraphOutcome};
use crate::objects::{Objects, loose_name};
use crate::progress::Progress;
use crate::repository::Repository;
use survey::Survey;

pub use options::{Expire, FullRepack, UpkeepOptions};
pub use plan::{Hindrance, Packing, UpkeepPlan};

/// The name whose lock is git's for maintenance.
pub(crate) const LOCK: &str = "maintenance";

/// What a round did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpkeepReport {
    /// Objects in new packs, cruft packs included.
    pub packed_objects: u64,
    /// Of them, those stored as deltas that were kept as they lay.
    pub reused_deltas: u64,
    /// Unreachable objects that lie in a cruft pack now.
    pub cruft_objects: u64,
    /// Objects that went: nothing reaches them, and nobody needed them for a while.
    pub expired_objects: u64,
    /// Packs removed.
    pub packs_removed: usize,
    /// Loose objects removed.
    pub loose_removed: usize,
    /// Bytes of all packs before.
    pub bytes_before: u64,
    /// Bytes of all packs now.
    pub bytes_after: u64,
    /// Commits that have a bitmap, if one was written.
    pub bitmap_commits: Option<usize>,
    /// Commits added to the commit-graph.
    pub graph_commits: u32,
    /// Refs packed.
    pub refs_packed: usize,
}

impl fmt::Display for UpkeepReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} objects packed ({} deltas kept), {} packs and {} loose objects removed, ",
            self.packed_objects, self.reused_deltas, self.packs_removed, self.loose_removed
        )?;
        if self.cruft_objects + self.expired_objects > 0 {
            let (cruft, expired) = (self.cruft_objects, self.expired_objects);
            write!(f, "{cruft} unreachable objects kept and {expired} expired, ")?;
        }
        if let Some(commits) = self.bitmap_commits {
            write!(f, "bitmaps of {commits} commits, ")?;
        }
        if self.graph_commits > 0 {
            write!(f, "{} commits in a new commit-graph layer, ", self.graph_commits)?;
        }
        if self.refs_packed > 0 {
            write!(f, "{} refs packed, ", self.refs_packed)?;
        }
        write!(f, "{} bytes of packs, before {}", self.bytes_after, self.bytes_before)
    }
}

/// What is due now.
///
/// # Errors
/// When the repository cannot be read.
pub fn plan(repository: &Repository, options: &UpkeepOptions, eager: bool) -> Result<UpkeepPlan> {
    let survey = Survey::of(repository)?;
    Ok(plan::plan(&survey, traits(repository)?, options, eager))
}

fn traits(repository: &Repository) -> Result<plan::Traits> {
    let precious = repository.config().bool("extensions.preciousObjects");
    Ok(plan::Traits {
        is_precious: precious.ok().flatten().unwrap_or(false),
        is_shallow: !repository.refs().snapshot()?.shallow()?.is_empty(),
    })
}

/// Does what is due; with `eager` also what could wait. `None` when nothing was.
///
/// # Errors
/// [`storage::Error::Locked`] when somebody else is at it; damage, errors of the storage, and
/// that the listener of `progress` gave up. What was published by then stays and is whole.
pub fn upkeep(
    repository: &Repository,
    options: &UpkeepOptions,
    eager: bool,
    progress: &mut dyn Progress,
) -> Result<Option<UpkeepReport>> {
    let mut lock = repository.blobs().stage()?;
    lock.replace(LOCK)?;
    let survey = Survey::of(repository)?;
    let plan = plan::plan(&survey, traits(repository)?, options, eager);
    let mut report = UpkeepReport {
        bytes_before: survey.packs.iter().map(|pack| pack.bytes).sum(),
        ..UpkeepReport::default()
    };
    let mut round = Round { repository, options, survey, report: &mut report, progress };
    if !plan.is_idle() {
        round.packs(&plan)?;
    }
    if plan.refs {
        report.refs_packed = tidy_refs(repository)?;
    }
    if plan.graph
        && let Some(options) = &options.graph
        && let GraphOutcome::Written { commits, .. } = graph::write(repository, options, progress)?
    {
        report.graph_commits = commits;
    }
    let packs = repository.blobs().list("pack/")?;
    let packs = packs.iter().filter(|file| file.name.ends_with(".pack"));
    report.bytes_after = packs.map(|file| file.size).sum();
    let idle = plan.is_idle() && report.refs_packed == 0 && report.graph_commits == 0;
    Ok((!idle).then_some(report))
}

fn tidy_refs(repository: &Repository) -> Result<usize> {
    let objects = repository.objects()?;
    let moved = repository.refs().tidy(&mut |id| {
        // What cannot be read is packed as it is: no ref is worth a failure here.
        let peeled = match objects.header(id) {
            Ok(Some((Kind::Tag, _))) => objects.peel(id).ok().flatten(),
            _ => None,
        };
        Ok(peeled.map(|(id, _)| id))
    });
    match moved {
        Err(storage::Error::Locked { .. }) => Ok(0),
        other => Ok(other?),
    }
}

/// One round, from the plan to the end of its packs.
struct Round<'a> {
    repository: &'a Repository,
    options: &'a UpkeepOptions,
    survey: Survey,
    report: &'a mut UpkeepReport,
    progress: &'a mut dyn Progress,
}

/// What new packs take the place of.
#[derive(Default)]
struct Replaced {
    /// Stems of packs.
    packs: Vec<String>,
    /// Whether the loose objects of the survey may go as far as they are packed.
    loose: bool,
    /// Stems of new packs, without cruft packs.
    new: Vec<String>,
    /// Loose objects that may go although no pack has them.
    expired: BTreeSet<object::ObjectId>,
}

impl Round<'_> {
    fn packs(&mut self, plan: &UpkeepPlan) -> Result<()> {
        let objects = self.repository.objects()?;
        let mut stage = self.repository.blobs().stage()?;
        let replaced = match &plan.packing {
            Packing::Nothing => Replaced::default(),
            Packing::Join { packs, .. } => self.join(packs, &mut *stage)?,
            Packing::Full { .. } => self.full(&mut *stage)?,
        };
        let obsolete = self.overview(&replaced, &mut *stage)?;
        // What was lost while it was read is not what the new packs may take the place of.
        objects.check_intact()?;
        stage.publish()?;
        self.remove(replaced, obsolete)
    }

    /// Removes what has been replaced: first what speaks of packs, then the packs, each one's
    /// index first, then loose objects.
    fn remove(&mut self, replaced: Replaced, obsolete: Vec<String>) -> Result<()> {
        let blobs = self.repository.blobs();
        for name in &obsolete {
            blobs.delete(name)?;
        }
        for stem in &replaced.packs {
            if self.was_freshened(stem)? {
                continue;
            }
            for ending in ["idx", "pack", "rev", "bitmap", "mtimes"] {
                blobs.delete(&format!("{stem}.{ending}"))?;
            }
            self.report.packs_removed += 1;
        }
        if replaced.loose {
            let packed = self.repository.objects()?;
            for loose in &self.survey.loose {
                let name = loose_name(&loose.id);
                let expired = replaced.expired.contains(&loose.id)
                    && blobs.stat(&name)?.is_some_and(|file| file.modified == loose.modified);
                if expired || is_packed(&packed, &loose.id)? {
                    blobs.delete(&name)?;
                    self.report.loose_removed += 1;
                }
            }
        }
        Ok(())
    }

    /// Whether somebody needed an object of a pack since the survey: git notes that by the time
    /// of the pack's file. Such a pack stays until the next round.
    fn was_freshened(&self, stem: &str) -> Result<bool> {
        let surveyed = self.survey.packs.iter().find(|pack| pack.stem == stem);
        let now = self.repository.blobs().stat(&format!("{stem}.pack"))?;
        Ok(match (surveyed, now) {
            (Some(surveyed), Some(now)) => now.modified != surveyed.modified,
            _ => false,
        })
    }
}

fn is_packed(objects: &Objects, id: &object::ObjectId) -> Result<bool> {
    Ok(crate::objects::find_packed(&objects.units(), id)?.is_some())
}
