//! Git's objects as data: ids, hashing, the four kinds, their text, and the
//! checks `git fsck` makes on them.
//!
//! Floor 0: knows bytes only; no file, no pack, no repository, no network.

mod hash;
mod id;
mod kind;

pub use hash::{Checksum, Collision, ObjectHasher, loose_header, object_id};
pub use id::{HashKind, ID_BYTES_MAX, ObjectId};
pub use kind::Kind;
