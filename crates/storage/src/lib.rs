//! The two storage seams of Packhorse: [`RefStore`], the small mutable truth of a
//! repository, and [`BlobStore`], its immutable bytes by name; and [`RepositoryStore`], from
//! names to both, for backends that hold many.
//!
//! Here are the traits, the strictest possible in-memory stores ([`MemoryRefs`],
//! [`MemoryBlobs`], [`MemoryRepositories`]), wrappers that work over any store ([`PrefixBlobs`],
//! [`LimitBlobs`], [`faulty`], [`metered`]), [`ChunkStage`] for stores that keep blobs in rows, and, behind the feature `conformance`, the one test
//! suite every backend runs.
//!
//! This crate must not know any backend's type, nor what the bytes of a blob mean.

mod blobs;
mod chunked;
mod conflict;
#[cfg(feature = "conformance")]
pub mod conformance;
mod error;
pub mod faulty;
pub mod forks;
mod held;
mod limit;
mod line;
mod memory;
pub mod metered;
mod mixed;
mod parts;
mod prefix;
mod reflog;
mod refs;
mod repositories;
mod rounds;
mod routed;
mod watch;

pub use blobs::{
    BlobMeta, BlobName, BlobStore, BlobWriter, OpenBlob, Stage, check_blob_name, check_list_prefix,
};
pub use chunked::{ChunkStage, ChunkStore, ChunkedBlob};
pub use conflict::{check_edits, check_ids, prefixes_of};
pub use error::{Blame, CommitError, Error, Result};
pub use held::{HeldRefs, Hold};
pub use limit::{BlobLimits, LimitBlobs};
pub use line::{Line, Turn};
pub use memory::{MemoryBlobs, MemoryRefs, MemoryRepositories};
pub use mixed::{MixedStore, Objects, ObjectsOf, ObjectsStore, claim_in, with_claim};
pub use parts::{LocalPaths, Parts};
pub use prefix::PrefixBlobs;
pub use reflog::ReflogPolicy;
pub use refs::{
    Change, Expected, Peel, Peeled, PeeledView, Prepared, Ref, RefEdit, RefSnapshot, RefStore,
    RefTransaction, RefView, ReflogLine, Target, TargetView, single_line,
};
pub use repositories::{NewRepository, RepositoryStore, Stored, check_repository_name};
pub use rounds::Rounds;
pub use routed::{RoutedStore, is_below};
pub use watch::{Bells, Moved, Wake, Watched, Watching};
