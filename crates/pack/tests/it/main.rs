//! This crate against stock git: what git writes is read, what is written here git reads.

mod bitmaps;
mod bitmaps_written;
mod commit_graph;
mod deltas;
mod git;
mod index;
mod multi_pack;
mod multi_pack_written;
mod receiving;
