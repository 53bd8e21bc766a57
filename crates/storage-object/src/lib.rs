//! Repositories in an object store: S3, Google Cloud Storage, Azure.
//!
//! What is in a bucket has the names it would have on a disk, so that a copy of it is a
//! repository to git: `NAME.git/config`, `NAME.git/objects/pack/…`, `NAME.git/reftable/tables.list`.
//! Refs change when `tables.list` is replaced on the condition that nobody else has replaced it.
//! No server keeps anything that matters.

mod blobs;
mod cache;
mod client;
mod commit;
mod conditions;
mod hedge;
mod lease;
mod options;
mod packs;
mod pieces;
mod probe;
mod refs;
mod requests;
mod stage;
mod store;
mod watch;

pub use options::ObjectOptions;
pub use requests::Requests;
pub use store::ObjectRepositories;
