//! Repositories in one embedded key-value file: no server, nothing else to install.
//!
//! Refs are rows, blobs are chunks in rows (see `tables.rs` for the layout). Readers see one
//! moment and never wait; writers that come at the same time share one durable commit (`group.rs`).
//! One process has the file open at a time.

mod blobs;
mod chunks;
mod errors;
mod group;
mod opened;
mod refs;
mod stage;
mod store;
mod tables;

pub use blobs::KvBlobs;
pub use refs::KvRefs;
pub use store::{KvStore, OpenOptions};
