//! Writing the commit-graph of everything the refs reach, as `git commit-graph write --reachable`
//! does: as one file, or as a chain to which each run adds a layer with what is new.
//!
//! Whoever writes holds git's lock on what is replaced, from before the old graph is read.
//! Nothing but commits, refs and (for changed-path filters) trees is read; commits that the old
//! graph has are taken from there.

use std::io::Write as _;
use std::ops::ControlFlow;

use gitconfig::Config;
use object::{Kind, ObjectId};
use pack::graph::bloom::{BloomSettings, HashVersion, NewFilters};
use pack::graph::write::NewGraph;
use pack::graph::{CHAIN_NAME, FILE_NAME, layer_name};
use pack::{BitSet, CommitGraph};
use rustc_hash::FxHashSet;
use storage::{PeeledView, TargetView};

use super::changed_paths::ChangedPaths;
use crate::error::{Error, Result};
use crate::objects::{Objects, open_graph_in};
use crate::progress::{Progress, Stage};
use crate::repository::Repository;

/// Where layers lie, relative to an objects directory.
const LAYERS: &str = "info/commit-graphs/";

const PROGRESS_STEP: u64 = 1024;

/// How a commit-graph is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GraphOptions {
    /// As one file or as a chain.
    pub layout: GraphLayout,
    /// Whether commits get filters of the paths they changed.
    pub changed_paths: ChangedPathFilters,
    /// The hash of new filters (`commitGraph.changedPathsVersion`); `None`: that of the old
    /// graph, or git's first.
    pub hash_version: Option<HashVersion>,
    /// Whether corrected commit dates are stored (`commitGraph.generationVersion` 2). A layer
    /// does as the one below it.
    pub corrected_dates: bool,
}

/// One file or several.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GraphLayout {
    /// Everything anew in `info/commit-graph`.
    Single,
    /// What is new as a layer in `info/commit-graphs`.
    Chain(MergeLayers),
}

/// Which layers of a chain are taken into the new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MergeLayers {
    /// The topmost layer, again and again, while it is at most `size_multiple` times as large as
    /// the new one, or the new one holds more than `commits_max` commits.
    BySize {
        /// Git's `--size-multiple`.
        size_multiple: u32,
        /// Git's `--max-commits`; `None`: no such limit.
        commits_max: Option<u32>,
    },
    /// None of them.
    Never,
    /// All of them, and what no ref reaches any more is left out.
    All,
}

impl Default for MergeLayers {
    fn default() -> Self {
        MergeLayers::BySize { size_multiple: 2, commits_max: Some(64_000) }
    }
}

/// Whether to write changed-path filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangedPathFilters {
    /// When the old graph has them.
    Keep,
    /// In any case.
    Write,
    /// Not, even if the old graph has them.
    Drop,
}

impl GraphOptions {
    /// What a repository's configuration asks for.
    pub fn new(layout: GraphLayout, changed_paths: ChangedPathFilters, config: &Config) -> Self {
        let number = |key| config.int(key).ok().flatten();
        GraphOptions {
            layout,
            changed_paths,
            hash_version: match number("commitGraph.changedPathsVersion") {
                Some(1) => Some(HashVersion::V1),
                Some(2) => Some(HashVersion::V2),
                _ => None,
            },
            corrected_dates: number("commitGraph.generationVersion").unwrap_or(2) == 2,
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GraphOutcome {
    /// A file was written.
    Written {
        /// Commits in the new file.
        commits: u32,
        /// Layers of the graph now.
        layers: usize,
    },
    /// There is nothing to write: no commit at all, or none that the chain lacks.
    NothingNew,
    /// A graph would not be used; git writes none either.
    NotWritten(NoGraph),
}

/// Why a repository gets no commit-graph.
///
/// Replaced objects (`refs/replace/`) are no reason: as in git, the graph tells what commits
/// themselves say, and a server answers with those.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoGraph {
    /// `core.commitGraph` is false.
    Disabled,
    /// It is a shallow clone: some commits lack their parents.
    Shallow,
    /// `info/grafts` gives commits other parents.
    Grafts,
}

/// Writes the commit-graph of a repository.
///
/// # Errors
/// [`storage::Error::Locked`] when somebody else writes it; damage, and errors of the storage.
pub fn write(
    repository: &Repository,
    options: &GraphOptions,
    progress: &mut dyn Progress,
) -> Result<GraphOutcome> {
    if let Some(reason) = no_graph(repository)? {
        return Ok(GraphOutcome::NotWritten(reason));
    }
    let mut stage = repository.blobs().stage()?;
    stage.replace(match options.layout {
        GraphLayout::Single => FILE_NAME,
        GraphLayout::Chain(_) => CHAIN_NAME,
    })?;
    let objects = repository.objects()?;
    let old = match open_graph_in(&**repository.blobs(), repository.hash()) {
        Ok(old) => old,
        Err(error) => {
            tracing::warn!(%error, "the commit-graph is written anew");
            None
        }
    };
    let mut writing = Writing { repository, objects, options, old, kept: 0, progress };
    let commits = writing.choose_commits()?;
    if commits.is_empty() {
        return Ok(GraphOutcome::NothingNew);
    }
    writing.write(commits, stage)
}

/// Git's reasons, in git's order.
fn no_graph(repository: &Repository) -> Result<Option<NoGraph>> {
    let config = repository.config();
    if matches!(config.bool("core.commitGraph"), Ok(Some(false))) {
        return Ok(Some(NoGraph::Disabled));
    }
    // No storage but a local disk can have grafts: they are a file of long ago.
    let grafts = repository.local().map(|local| local.common_dir.join("info/grafts"));
    if grafts.is_some_and(|grafts| grafts.metadata().is_ok_and(|file| file.len() > 0)) {
        return Ok(Some(NoGraph::Grafts));
    }
    let shallow = repository.refs().snapshot()?.shallow()?;
    Ok((!shallow.is_empty()).then_some(NoGraph::Shallow))
}

struct Writing<'a> {
    repository: &'a Repository,
    objects: Objects,
    options: &'a GraphOptions,
    old: Option<CommitGraph>,
    /// Layers of the old graph that stay below the new one.
    kept: usize,
    progress: &'a mut dyn Progress,
}

impl Writing<'_> {
    /// The commits of the new file, in the order of their ids.
    fn choose_commits(&mut self) -> Result<Vec<ObjectId>> {
        let mut commits = match self.options.layout {
            GraphLayout::Single | GraphLayout::Chain(MergeLayers::All) => self.reachable(false)?,
            GraphLayout::Chain(merge) => {
                let mut commits = self.reachable(true)?;
                if !commits.is_empty() {
                    self.merge_layers(merge, &mut commits)?;
                }
                commits
            }
        };
        commits.sort_unstable();
        commits.dedup();
        Ok(commits)
    }

    /// What the refs reach; with `only_new`, what the old graph lacks of it.
    fn reachable(&mut self, only_new: bool) -> Result<Vec<ObjectId>> {
        let mut stack = self.tips()?;
        let mut found = Vec::new();
        let mut seen_old = BitSet::new(self.old.as_ref().map_or(0, CommitGraph::count));
        let mut seen: FxHashSet<ObjectId> = FxHashSet::default();
        while let Some(id) = stack.pop() {
            let is_new = match self.old.as_ref().and_then(|old| old.lookup(&id)) {
                // A graph is closed: what its commits reach is in it.
                Some(_) if only_new => false,
                Some(position) => seen_old.set(position),
                None => seen.insert(id),
            };
            if !is_new {
                continue;
            }
            stack.extend(self.objects.commit(&id)?.parents);
            found.push(id);
            let count = found.len() as u64;
            if count.is_multiple_of(PROGRESS_STEP) {
                self.progress.update(Stage::Enumerating, count, None)?;
            }
        }
        Ok(found)
    }

    /// The commits that refs name. Refs to what is not there are left to `git fsck`.
    fn tips(&self) -> Result<Vec<ObjectId>> {
        let mut named = Vec::new();
        let snapshot = self.repository.refs().snapshot()?;
        snapshot.scan("refs/".into(), &mut |found| {
            if let TargetView::Id(id) = found.target {
                named.push(match found.peeled {
                    PeeledView::To(peeled) => peeled.to_id(),
                    PeeledView::Unknown | PeeledView::NotATag => id.to_id(),
                });
            }
            ControlFlow::Continue(())
        })?;
        let mut tips = Vec::new();
        for id in named {
            if let Some((id, Kind::Commit)) = self.objects.peel(&id)? {
                tips.push(id);
            }
        }
        Ok(tips)
    }

    /// Decides how many layers stay, and adds the commits of the others that are still there.
    fn merge_layers(&mut self, merge: MergeLayers, commits: &mut Vec<ObjectId>) -> Result<()> {
        let Some(old) = &self.old else { return Ok(()) };
        let layers: Vec<u32> = old.layers().map(|layer| layer.count).collect();
        self.kept = layers.len();
        let mut new = commits.len() as u64;
        if let MergeLayers::BySize { size_multiple, commits_max } = merge {
            while let Some(top) = self.kept.checked_sub(1).map(|top| u64::from(layers[top]))
                && (top <= u64::from(size_multiple).saturating_mul(new)
                    || commits_max.is_some_and(|max| new > u64::from(max)))
            {
                new += top;
                self.kept -= 1;
            }
        }
        for position in layers[..self.kept].iter().sum()..old.count() {
            let id = old.id_at(position);
            if self.objects.contains(&id)? {
                commits.push(id);
            }
        }
        Ok(())
    }

    fn write(
        mut self,
        commits: Vec<ObjectId>,
        mut stage: Box<dyn storage::Stage>,
    ) -> Result<GraphOutcome> {
        let base = self.old.as_ref().and_then(|old| old.base(self.kept));
        let corrected_dates = match &base {
            Some(base) => base.has_corrected_dates(),
            None => self.options.corrected_dates,
        };
        let filters = match self.bloom_settings() {
            Some(settings) => Some(self.filters(&commits, settings)?),
            None => None,
        };
        let graph = self.graph(&commits, base.as_ref())?;
        let count = graph.count();
        let name = match self.options.layout {
            GraphLayout::Single => FILE_NAME,
            GraphLayout::Chain(_) => "info/commit-graphs/new.graph",
        };
        let mut writer = stage.create(name)?;
        let written = graph.write(corrected_dates, filters.as_ref(), &mut writer);
        let id = written.map_err(Error::format("the new commit-graph"))?;
        writer.finish()?;

        let mut in_use = Vec::new();
        if let GraphLayout::Chain(_) = self.options.layout {
            let mut chain = String::new();
            for layer in base.iter().flat_map(CommitGraph::layers) {
                in_use.push((layer_name(&layer.id), Some(layer.bytes)));
                chain += &format!("{}\n", layer.id);
            }
            stage.rename(name, &layer_name(&id))?;
            in_use.push((layer_name(&id), None));
            chain += &format!("{id}\n");
            for (name, bytes) in &in_use {
                // A single file that becomes the lowest layer lies elsewhere until now.
                if let Some(bytes) = bytes
                    && self.repository.blobs().stat(name)?.is_none()
                {
                    put(&mut *stage, name, bytes)?;
                }
            }
            put(&mut *stage, CHAIN_NAME, chain.as_bytes())?;
        }
        // What was lost while it was read would be missing in all graphs to come.
        self.objects.check_intact()?;
        stage.publish()?;
        self.progress.finish(Stage::Enumerating, u64::from(count))?;
        let in_use: FxHashSet<String> = in_use.into_iter().map(|(name, _)| name).collect();
        self.delete_others(&in_use)?;
        Ok(GraphOutcome::Written { commits: count, layers: in_use.len().max(1) })
    }

    /// Removes what the new graph takes the place of. Whoever opened it reads on.
    fn delete_others(&self, in_use: &FxHashSet<String>) -> Result<()> {
        let blobs = self.repository.blobs();
        blobs.delete(match self.options.layout {
            GraphLayout::Single => CHAIN_NAME,
            GraphLayout::Chain(_) => FILE_NAME,
        })?;
        for layer in blobs.list(LAYERS)? {
            if layer.name.ends_with(".graph") && !in_use.contains(&layer.name) {
                blobs.delete(&layer.name)?;
            }
        }
        Ok(())
    }

    fn graph<'b>(
        &self,
        commits: &[ObjectId],
        base: Option<&'b CommitGraph>,
    ) -> Result<NewGraph<'b>> {
        let mut graph = NewGraph::new(self.repository.hash(), base);
        let base_count = base.map_or(0, CommitGraph::count);
        let mut positions = Vec::new();
        for id in commits {
            let commit = self.objects.commit(id)?;
            positions.clear();
            for parent in &commit.parents {
                let position = match commits.binary_search(parent) {
                    Ok(own) => Some(base_count + own as u32),
                    Err(_) => base.and_then(|base| base.lookup(parent)),
                };
                let missing = Error::Missing { id: *parent, kind: Some(Kind::Commit) };
                positions.push(position.ok_or(missing)?);
            }
            graph
                .push(id, &commit.tree, commit.time, &positions)
                .map_err(Error::format("the new commit-graph"))?;
        }
        Ok(graph)
    }

    /// How filters are made, if they are.
    fn bloom_settings(&self) -> Option<BloomSettings> {
        let old = self.old.as_ref().and_then(CommitGraph::bloom_settings);
        let settings = match (self.options.changed_paths, old) {
            (ChangedPathFilters::Drop, _) | (ChangedPathFilters::Keep, None) => return None,
            (_, Some(old)) => old,
            (ChangedPathFilters::Write, None) => BloomSettings::default(),
        };
        let version = self.options.hash_version.unwrap_or(settings.version);
        Some(BloomSettings { version, ..settings })
    }

    /// Taken from the old graph where it has them; computed newest first, where neighbours in
    /// history share most of what is read.
    fn filters(&mut self, commits: &[ObjectId], settings: BloomSettings) -> Result<NewFilters> {
        let named = || Error::format("the new commit-graph");
        let mut filters = NewFilters::new(settings, commits.len() as u32);
        let mut open = Vec::new();
        for (own, id) in (0..).zip(commits) {
            let old = self.old.as_ref();
            let stored = old.and_then(|old| old.filter_at(old.lookup(id)?));
            let is_set = match stored {
                Some(stored) => filters.set_stored(own, &stored).map_err(named())?,
                None => false,
            };
            if !is_set {
                open.push((self.objects.commit(id)?.time, own));
            }
        }
        open.sort_unstable_by(|a, b| b.cmp(a));
        let mut changed = ChangedPaths::new(&self.objects, settings.changed_paths_max);
        let total = open.len() as u64;
        for (done, (_, own)) in (0u64..).zip(open) {
            let commit = self.objects.commit(&commits[own as usize])?;
            let old = match commit.parents.first() {
                Some(parent) => Some(self.objects.commit(parent)?.tree),
                None => None,
            };
            let set = match changed.between(old, commit.tree)? {
                Some(paths) => filters.set_paths(own, paths.iter().map(Vec::as_slice)),
                None => filters.set_everything(own),
            };
            set.map_err(named())?;
            if done.is_multiple_of(PROGRESS_STEP) {
                self.progress.update(Stage::ChangedPaths, done, Some(total))?;
            }
        }
        self.progress.finish(Stage::ChangedPaths, total)?;
        Ok(filters)
    }
}

fn put(stage: &mut dyn storage::Stage, name: &str, bytes: &[u8]) -> Result<()> {
    let mut writer = stage.create(name)?;
    writer.write_all(bytes).map_err(|source| storage::Error::io(name, source))?;
    Ok(writer.finish()?)
}
