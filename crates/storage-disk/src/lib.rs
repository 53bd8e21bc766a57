//! Ordinary bare repositories on disk as a [`storage::RefStore`] and a [`storage::BlobStore`].
//!
//! What is written here, stock git reads, and the other way round, at any moment and
//! with both at work: the same file names, lock files, quarantine directories and order
//! of writes. Sources: git's `gitrepository-layout` and the behaviour of its files and
//! reftable ref backends.
//!
//! Knows files and directories; it must not know what objects or packs mean.

mod alternates;
mod blobs;
mod discover;
mod disk;
mod events;
mod format;
mod gc_lock;
mod gitdir;
mod init;
mod lock;
mod objects;
mod open;
mod owner;
pub mod packed_refs;
mod refs;
mod shared;
mod syncs;
mod table_refs;
mod worktree;

pub use blobs::DiskBlobs;
pub use discover::{Discovered, discover, discover_with, expand_user};
pub use disk::{BeforeChange, Durability};
pub use format::{RefFormat, RepositoryFormat};
pub use gc_lock::GcLock;
pub use init::{init_bare, init_bare_with};
pub use objects::FolderObjects;
pub use open::{OpenOptions, Variable, open};
pub use owner::{OwnerContext, check_owner};
pub use refs::{FilesRefs, RefSettings};
pub use storage::ReflogPolicy;
pub use table_refs::TableRefs;
