//! Stores in memory: for tests and for repositories that need no disk.
//!
//! They are the strictest stores: what they accept, every other store accepts.

mod blobs;
mod refs;
mod repositories;

pub use blobs::MemoryBlobs;
pub use refs::MemoryRefs;
pub use repositories::MemoryRepositories;
