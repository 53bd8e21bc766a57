//! The commit-graph: parents, tree, date and generation of commits without reading them.
//!
//! Format: gitformat-commit-graph; a single file, or a chain of layers under `commit-graphs`.
//! Positions count through all layers, the base layer first. Writing is in [`write`](mod@write).

pub mod bloom;
mod layer;
pub mod write;

use bytes::Bytes;
use object::{HashKind, ObjectId};

use crate::chunks::chain_layers;
use crate::{Error, checksum};
use bloom::{BloomSettings, Filter};
use layer::Layer;
pub use layer::Parents;

/// Where the single file lies, relative to an objects directory.
pub const FILE_NAME: &str = "info/commit-graph";

/// Where the chain of layers is listed, relative to an objects directory.
pub const CHAIN_NAME: &str = "info/commit-graphs/commit-graph-chain";

/// The most layers a chain is followed through; the format counts them in one byte.
pub const LAYERS_MAX: usize = 256;

/// What a commit-graph says of one commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GraphCommit {
    /// Its root tree.
    pub tree: ObjectId,
    /// Committer date in seconds since the epoch (34 bits).
    pub time: u64,
    /// Topological level: one more than the highest of its parents, from 1; 0 when unknown.
    pub level: u32,
}

/// One layer of an opened commit-graph.
#[derive(Debug, Clone)]
pub struct GraphLayer {
    /// The checksum that ends it and names its file in a chain.
    pub id: ObjectId,
    /// Commits in this layer alone.
    pub count: u32,
    /// Whether it stores corrected commit dates.
    pub has_corrected_dates: bool,
    /// The whole file.
    pub bytes: Bytes,
}

/// An opened commit-graph, of one layer or more.
#[derive(Debug, Clone)]
pub struct CommitGraph {
    layers: Vec<Layer>,
    hash: HashKind,
}

impl CommitGraph {
    /// Takes the bytes of a single commit-graph after a check of its frame.
    ///
    /// # Errors
    /// [`Error::Corrupt`] or [`Error::Unsupported`].
    pub fn open(bytes: Bytes, hash: HashKind) -> Result<Self, Error> {
        let layer = Layer::open(bytes, hash, 0)?;
        if !layer.base_ids().is_empty() {
            return Err(Error::corrupt("commit-graph needs base graphs"));
        }
        Ok(CommitGraph { layers: vec![layer], hash })
    }

    /// Opens the layers that a chain file lists, base first, as far as `load` finds them by
    /// their name relative to the objects directory. `None` when not even the first is found.
    ///
    /// # Errors
    /// As [`CommitGraph::open`], also when a layer was made for other base layers; and those of
    /// `load`.
    pub fn open_chain<E: From<Error>>(
        chain: &[u8],
        hash: HashKind,
        mut load: impl FnMut(&str) -> Result<Option<Bytes>, E>,
    ) -> Result<Option<Self>, E> {
        let mut layers: Vec<Layer> = Vec::new();
        let mut ids_so_far: Vec<u8> = Vec::new();
        for id in chain_layers(chain, hash) {
            let id = id?;
            let Some(bytes) = load(&layer_name(&id))? else { break };
            if layers.len() == LAYERS_MAX {
                return Err(Error::corrupt("chain has too many layers").into());
            }
            let base = layers.last().map_or(0, Layer::end);
            let layer = Layer::open(bytes, hash, base)?;
            if layer.base_ids() != ids_so_far {
                return Err(Error::corrupt("commit-graph layer was made for other layers").into());
            }
            ids_so_far.extend_from_slice(id.as_bytes());
            layers.push(layer);
        }
        let whole = CommitGraph { layers, hash };
        Ok((!whole.layers.is_empty()).then_some(whole))
    }

    /// Its layers, base first.
    pub fn layers(&self) -> impl DoubleEndedIterator<Item = GraphLayer> + '_ {
        self.layers.iter().map(|layer| GraphLayer {
            id: checksum::trailer(layer.bytes(), self.hash).expect("its frame was checked"),
            count: layer.count(),
            has_corrected_dates: layer.has_corrected_dates(),
            bytes: layer.bytes().clone(),
        })
    }

    /// The graph of the first `count` layers; `None` for none of them.
    pub fn base(&self, count: usize) -> Option<CommitGraph> {
        let layers: Vec<Layer> = self.layers.iter().take(count).cloned().collect();
        (!layers.is_empty()).then_some(CommitGraph { layers, hash: self.hash })
    }

    /// Commits in all layers.
    pub fn count(&self) -> u32 {
        self.layers.last().map_or(0, Layer::end)
    }

    /// The hash of its ids.
    pub fn hash(&self) -> HashKind {
        self.hash
    }

    /// The position of a commit.
    #[inline]
    pub fn lookup(&self, id: &ObjectId) -> Option<u32> {
        self.layers.iter().rev().find_map(|layer| layer.lookup(id))
    }

    /// The id of the commit at a position.
    ///
    /// # Panics
    /// At or past [`CommitGraph::count`].
    #[inline]
    pub fn id_at(&self, position: u32) -> ObjectId {
        let layer = self.layer_of(position).expect("position is below the count");
        ObjectId::from_prefix(layer.id_bytes(position), self.hash)
    }

    /// What the graph says of the commit at a position.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when there is no such position.
    #[inline]
    pub fn commit_at(&self, position: u32) -> Result<GraphCommit, Error> {
        self.layer_of(position).ok_or(OUT_OF_RANGE)?.commit(position)
    }

    /// The positions of the parents, in order; each is in the graph, or an error ends them.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when there is no such position.
    #[inline]
    pub fn parents_at(&self, position: u32) -> Result<Parents<'_>, Error> {
        self.layer_of(position).ok_or(OUT_OF_RANGE)?.parents(position)
    }

    /// Whether every layer stores corrected commit dates (generation numbers version 2). Only
    /// then may they be compared.
    pub fn has_corrected_dates(&self) -> bool {
        self.layers.iter().all(Layer::has_corrected_dates)
    }

    /// The corrected commit date: at least the commit's date, and greater than that of every
    /// parent.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the graph does not store it.
    pub fn corrected_date_at(&self, position: u32) -> Result<u64, Error> {
        self.layer_of(position).ok_or(OUT_OF_RANGE)?.corrected_date(position)
    }

    /// A number that is greater than that of every ancestor, of the best version all layers
    /// have; compare it only with numbers out of this same graph. Zero says nothing.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when there is no such position.
    pub fn generation_at(&self, position: u32) -> Result<u64, Error> {
        if self.has_corrected_dates() {
            return self.corrected_date_at(position);
        }
        Ok(u64::from(self.commit_at(position)?.level))
    }

    /// How the topmost layer's changed-path filters are made, if it has any.
    pub fn bloom_settings(&self) -> Option<BloomSettings> {
        self.layers.last()?.filters().map(|filters| filters.settings)
    }

    /// Which paths the commit at a position may have changed; `None` where nobody computed it.
    #[inline]
    pub fn filter_at(&self, position: u32) -> Option<Filter<'_>> {
        self.layer_of(position)?.filter(position)
    }

    /// Recomputes every layer's checksum; linear in their size.
    ///
    /// # Errors
    /// As [`checksum::verify_trailer`].
    pub fn verify_checksums(&self) -> Result<(), Error> {
        for layer in &self.layers {
            checksum::verify_trailer(layer.bytes(), self.hash)?;
        }
        Ok(())
    }

    #[inline]
    fn layer_of(&self, position: u32) -> Option<&Layer> {
        self.layers.iter().find(|layer| position < layer.end())
    }
}

const OUT_OF_RANGE: Error = Error::corrupt("position beyond the commit-graph");

/// Where the layer of a chain lies, relative to an objects directory.
pub fn layer_name(id: &ObjectId) -> String {
    format!("info/commit-graphs/graph-{id}.graph")
}
