//! The parts one repository is put together from, whatever stores they live in.

use std::path::PathBuf;
use std::sync::Arc;

use bstr::BString;
use object::{HashKind, ObjectId};

use crate::{BlobStore, RefStore};

/// Everything a `Repository` is opened from.
#[derive(Clone)]
pub struct Parts {
    /// Its refs.
    pub refs: Arc<dyn RefStore>,
    /// Its own objects directory.
    pub blobs: Arc<dyn BlobStore>,
    /// Objects directories it borrows from, in the order they are searched.
    pub alternates: Vec<Arc<dyn BlobStore>>,
    /// Its configuration, all scopes merged.
    pub config: gitconfig::Config,
    /// The hash that names its objects.
    pub hash: HashKind,
    /// Where it is on this machine's disk, if it is.
    pub local: Option<LocalPaths>,
    /// Tips of the repositories its alternates belong to (git's `.have` lines): objects a
    /// pusher need not send. Empty when `core.alternateRefsCommand` is to be asked instead.
    pub alternate_refs: Vec<Arc<dyn RefStore>>,
    /// Name prefixes that limit `alternate_refs` (`core.alternateRefsPrefixes`); empty: all.
    pub alternate_refs_prefixes: Vec<BString>,
}

/// Where a repository is on the local disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalPaths {
    /// `$GIT_DIR`: holds `HEAD`; of one work tree when the repository has several.
    pub git_dir: PathBuf,
    /// What all work trees share; equals `git_dir` for an ordinary repository.
    pub common_dir: PathBuf,
    /// The work tree, unless the repository is bare.
    pub work_tree: Option<PathBuf>,
    /// The objects directory.
    pub objects_dir: PathBuf,
    /// The objects directories of its alternates, in the order they are searched.
    pub alternate_dirs: Vec<PathBuf>,
}

impl Parts {
    /// A repository of its own: it borrows from nobody and is in no directory.
    pub fn alone(
        refs: Arc<dyn RefStore>,
        blobs: Arc<dyn BlobStore>,
        config: gitconfig::Config,
        hash: HashKind,
    ) -> Self {
        Parts {
            refs,
            blobs,
            alternates: Vec::new(),
            config,
            hash,
            local: None,
            alternate_refs: Vec::new(),
            alternate_refs_prefixes: Vec::new(),
        }
    }

    /// The all-zero id of this repository's hash.
    pub fn null_id(&self) -> ObjectId {
        ObjectId::null(self.hash)
    }
}
