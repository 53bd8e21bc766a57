//! How maintenance is done, each a named setting of git's where it has one.

use std::time::{Duration, SystemTime};

use gitconfig::Config;

use crate::error::Result;
use crate::maintenance::bitmap;
use crate::maintenance::graph::{ChangedPathFilters, GraphLayout, GraphOptions, MergeLayers};
use crate::maintenance::repack::RepackOptions;

/// Settings of one round of maintenance.
#[derive(Debug, Clone)]
pub struct UpkeepOptions {
    /// When everything is packed anew.
    pub full: FullRepack,
    /// Each pack that is left has at least so many times the objects of the next smaller one
    /// (`maintenance.geometricFactor`; git's `--geometric`).
    pub geometric_factor: u32,
    /// Loose objects that are tolerated (`gc.auto`).
    pub loose_max: u64,
    /// Packs outside the multi-pack-index that are tolerated (`gc.autoPackLimit` bounds all).
    pub unindexed_packs_max: usize,
    /// What becomes of objects that nothing reaches.
    pub expire: Expire,
    /// Whether bitmaps are written (`repack.writeBitmaps`).
    pub bitmaps: bool,
    /// What is in them.
    pub bitmap: bitmap::Options,
    /// Whether the commit-graph is written (`gc.writeCommitGraph`), and how.
    pub graph: Option<GraphOptions>,
    /// Whether refs are brought into one file (`gc.packRefs`).
    pub tidy_refs: bool,
    /// How packs are made.
    pub repack: RepackOptions,
    /// The time it is.
    pub now: SystemTime,
}

/// When everything reachable is packed anew, into one pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FullRepack {
    /// When joining packs would touch every pack anyway.
    WhenDue,
    /// In any case.
    Always,
}

/// What becomes of objects that nothing reaches. They lie in a cruft pack first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expire {
    /// They stay.
    Never,
    /// They go when they were last needed longer ago than that (`gc.pruneExpire`).
    After(Duration),
}

/// Git's `gc.pruneExpire`: two weeks.
const EXPIRE_DEFAULT: Duration = Duration::from_secs(14 * 24 * 60 * 60);

impl UpkeepOptions {
    /// What git's defaults and a repository's configuration ask for.
    ///
    /// # Errors
    /// [`crate::Error::Refused`] when a number is none.
    pub fn from_config(config: &Config) -> Result<Self> {
        let flag = |key: &str, default: bool| config.bool(key).ok().flatten().unwrap_or(default);
        let number = |key: &str| config.int(key).ok().flatten();
        let count = |key: &str, default: u64| match number(key) {
            // Git: no limit.
            Some(..=0) => u64::MAX,
            Some(count) => count as u64,
            None => default,
        };
        let layout = GraphLayout::Chain(MergeLayers::default());
        let graph = GraphOptions::new(layout, ChangedPathFilters::Write, config);
        Ok(UpkeepOptions {
            full: FullRepack::WhenDue,
            geometric_factor: number("maintenance.geometricFactor")
                .and_then(|factor| u32::try_from(factor).ok())
                .map_or(2, |factor| factor.max(2)),
            loose_max: count("gc.auto", 6700),
            unindexed_packs_max: count("gc.autoPackLimit", 50).min(8) as usize,
            expire: expire(config),
            bitmaps: flag("repack.writeBitmaps", true),
            bitmap: bitmap::Options {
                name_hashes: flag("pack.writeBitmapHashCache", true),
                ..bitmap::Options::default()
            },
            graph: flag("gc.writeCommitGraph", true).then_some(graph),
            // Git: `notbare` packs none in bare repositories.
            tidy_refs: match config.string("gc.packRefs") {
                Some(value) if value.eq_ignore_ascii_case(b"notbare") => !flag("core.bare", false),
                _ => flag("gc.packRefs", true),
            },
            repack: RepackOptions::from_config(config)?,
            now: SystemTime::now(),
        })
    }
}

/// `gc.pruneExpire`: `never`, `now`, or `<number>.<unit>.ago` as git's own documentation writes
/// it. Of anything else nothing is understood, and nothing is dropped.
fn expire(config: &Config) -> Expire {
    let Some(text) = config.string("gc.pruneExpire") else {
        return Expire::After(EXPIRE_DEFAULT);
    };
    match approxidate(&String::from_utf8_lossy(text)) {
        Some(age) => Expire::After(age),
        None => Expire::Never,
    }
}

/// How long ago `2.weeks.ago`, `3 days ago` or `now` is.
fn approxidate(text: &str) -> Option<Duration> {
    let lower = text.to_ascii_lowercase();
    let mut words = lower.split(['.', ' ', '_', '-']).filter(|word| !word.is_empty());
    let first = words.next()?;
    if first == "now" {
        return words.next().is_none().then_some(Duration::ZERO);
    }
    let count: u64 = first.parse().ok()?;
    let unit = words.next()?;
    let seconds = match unit.strip_suffix('s').unwrap_or(unit) {
        "second" => 1,
        "minute" => 60,
        "hour" => 60 * 60,
        "day" => 24 * 60 * 60,
        "week" => 7 * 24 * 60 * 60,
        "month" => 30 * 24 * 60 * 60,
        "year" => 365 * 24 * 60 * 60,
        _ => return None,
    };
    matches!((words.next(), words.next()), (Some("ago") | None, None))
        .then(|| Duration::from_secs(count.saturating_mul(seconds)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_read_as_git_writes_them() {
        let days = |days: u64| Some(Duration::from_secs(days * 24 * 60 * 60));
        assert_eq!(approxidate("2.weeks.ago"), days(14));
        assert_eq!(approxidate("3 days ago"), days(3));
        assert_eq!(approxidate("1.day"), days(1));
        assert_eq!(approxidate("now"), days(0));
        for other in ["never", "", "yesterday", "2.weeks.hence", "x.days.ago", "now.then"] {
            assert_eq!(approxidate(other), None, "{other}");
        }
    }
}
