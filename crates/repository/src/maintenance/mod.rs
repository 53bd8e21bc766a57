//! Keeping a repository in the state in which serving it costs least: packs, and the files beside
//! them. Nothing of what the repository says is changed.

pub mod bitmap;
mod changed_paths;
pub mod graph;
pub mod midx;
pub mod repack;
mod select;
pub mod upkeep;
