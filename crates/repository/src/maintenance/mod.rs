//! Keeping a repository in the state in which serving it costs least.

pub mod repack;
