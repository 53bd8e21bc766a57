//! The commit-graph of a view: commits without reading them, and what its numbers say about who
//! can reach whom.
//!
//! A graph is closed: the parents of its commits are in it. It may lack the newest commits, and
//! it may be absent; answers are the same then, and cost more.

use object::{HashKind, ObjectId};
use pack::CommitGraph;
use pack::graph::{CHAIN_NAME, FILE_NAME};
use storage::BlobStore;

use super::pack_handle::read_whole;
use super::{Commit, Objects, PackSet};
use crate::error::{Error, Result};

/// How far above its ancestors a commit stands. The order is that of what can be reached: least
/// is what anything may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Generation {
    /// In the graph, which has no number for it.
    Unknown,
    /// In the graph; greater than that of every ancestor.
    Number(u64),
    /// Not in the graph: nothing in it leads here.
    Outside,
}

impl Generation {
    /// Whether a commit of this generation may have an ancestor of generation `target` or higher.
    pub fn may_reach(self, target: Generation) -> bool {
        match self {
            Generation::Unknown => target != Generation::Outside,
            Generation::Number(_) => self > target,
            Generation::Outside => true,
        }
    }
}

/// Sorts commits so that none comes before its ancestors, as far as is known: by corrected commit
/// date, or by date where there are only those. What the graph lacks is newer than what it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Recency {
    corrected: u64,
    time: i64,
}

impl Recency {
    /// Of a commit that no graph has.
    pub fn outside(time: i64) -> Self {
        Recency { corrected: u64::MAX, time }
    }
}

impl Objects {
    /// A commit and how recent it is.
    ///
    /// # Errors
    /// As [`Objects::commit`].
    pub(crate) fn commit_and_recency(&self, id: &ObjectId) -> Result<(Commit, Recency)> {
        let (commit, position) = self.commit_and_place(id)?;
        let corrected = match (position, self.graph()) {
            (Some(position), Some(graph)) if graph.has_corrected_dates() => {
                // A number that cannot be read costs order, and no answer depends on that.
                graph.corrected_date_at(position).unwrap_or(0)
            }
            (Some(_), _) => 0,
            (None, _) => u64::MAX,
        };
        let recency = Recency { corrected, time: commit.time };
        Ok((commit, recency))
    }

    /// A commit and its generation.
    ///
    /// # Errors
    /// As [`Objects::commit`].
    pub(crate) fn commit_and_generation(&self, id: &ObjectId) -> Result<(Commit, Generation)> {
        let (commit, position) = self.commit_and_place(id)?;
        Ok((commit, self.generation_at(position)))
    }

    /// The generation of a commit, which need not be there.
    pub(crate) fn generation(&self, id: &ObjectId) -> Generation {
        self.generation_at(self.commit_from_graph(id).map(|(_, position)| position))
    }

    fn generation_at(&self, position: Option<u32>) -> Generation {
        let (Some(position), Some(graph)) = (position, self.graph()) else {
            return Generation::Outside;
        };
        match graph.generation_at(position) {
            Ok(0) | Err(_) => Generation::Unknown,
            Ok(number) => Generation::Number(number),
        }
    }

    pub(super) fn commit_from_graph(&self, id: &ObjectId) -> Option<(Commit, u32)> {
        let graph = self.graph()?;
        let position = graph.lookup(id)?;
        let data = graph.commit_at(position).ok()?;
        let parents = graph.parents_at(position).ok()?;
        let parents = parents.map(|parent| parent.ok().map(|parent| graph.id_at(parent)));
        let parents = parents.collect::<Option<_>>()?;
        let commit = Commit { tree: data.tree, parents, time: data.time.cast_signed() };
        Some((commit, position))
    }

    /// The commit-graph, when there is one that can be read.
    pub(crate) fn graph(&self) -> Option<&CommitGraph> {
        let open = || match open_graph(&self.view.set) {
            Ok(graph) => graph,
            Err(error) => {
                tracing::warn!(%error, "the commit-graph is not used");
                None
            }
        };
        self.view.graph.get_or_init(open).as_ref()
    }
}

fn open_graph(set: &PackSet) -> Result<Option<CommitGraph>> {
    for store in &set.stores {
        if let Some(graph) = open_graph_in(&**store, set.hash)? {
            return Ok(Some(graph));
        }
    }
    Ok(None)
}

/// The commit-graph of one store, the single file before the chain, as git looks for them.
pub(crate) fn open_graph_in(store: &dyn BlobStore, hash: HashKind) -> Result<Option<CommitGraph>> {
    if store.stat(FILE_NAME)?.is_some() {
        let bytes = read_whole(store, FILE_NAME)?;
        return CommitGraph::open(bytes, hash).map(Some).map_err(Error::format(FILE_NAME));
    }
    if store.stat(CHAIN_NAME)?.is_some() {
        let chain = read_whole(store, CHAIN_NAME)?;
        let load = |name: &str| Ok::<_, pack::Error>(read_whole(store, name).ok());
        return CommitGraph::open_chain(&chain, hash, load).map_err(Error::format(CHAIN_NAME));
    }
    Ok(None)
}
