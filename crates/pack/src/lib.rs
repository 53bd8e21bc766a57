//! Git's pack-related formats over byte slices: entries, deltas, indices, bitmaps, commit-graph.
//!
//! Floor 1: algorithms on bytes that are already in memory (usually a memory map) or that arrive
//! through `std::io`. Knows no file, no directory and no repository; whoever opens a file hands
//! its [`bytes::Bytes`] in. Opening checks a file's frame in constant time (or in the size of its
//! fan-out table) and allocates nothing that grows with the number of objects; every later access
//! is bounds-checked, so that a damaged file is an [`Error`], never a panic.

mod big_endian;
mod chunks;
mod error;
mod sorted_ids;

pub mod bitmap;
pub mod bitset;
pub mod checksum;
pub mod delta;
pub mod entry;
pub mod ewah;
pub mod graph;
pub mod idx;
pub mod inflate;
pub mod midx;
pub mod mtimes;
pub mod pack_file;
pub mod rev;
pub mod scan;

pub use bitmap::{BitmapIndex, PseudoMerges};
pub use bitset::BitSet;
pub use entry::{EntryHeader, EntryKind};
pub use error::Error;
pub use ewah::Ewah;
pub use graph::CommitGraph;
pub use idx::Index;
pub use midx::MultiPackIndex;
pub use mtimes::Mtimes;
pub use pack_file::PackFile;
pub use rev::{PackOrder, RevIndex};
pub use scan::Scanner;
