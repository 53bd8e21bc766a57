//! Git's objects as data: ids, hashing, the four kinds, their text, and the
//! checks `git fsck` makes on them.
//!
//! Floor 0: knows bytes only; no file, no pack, no repository, no network.

mod commit;
pub mod fsck;
mod hash;
mod header;
mod id;
mod id_view;
mod kind;
mod lanes;
mod parse_error;
mod refname;
mod tag;
mod tree;

pub use commit::{CommitRef, Parents};
pub use fsck::{Finding, FsckOptions, MsgId, Severity, SpecialFiles, fsck_object};
pub use hash::{Checksum, Collision, ObjectHasher, loose_header, object_id, object_ids};
pub use id::{HashKind, ID_BYTES_MAX, ObjectId};
pub use id_view::{IdHex, IdView, MixedHex};
pub use kind::Kind;
pub use parse_error::ParseError;
pub use refname::{RefName, RefNameError, check_ref_format, check_ref_format_onelevel};
pub use tag::TagRef;
pub use tree::{EntryMode, TreeEntry, TreeIter};
