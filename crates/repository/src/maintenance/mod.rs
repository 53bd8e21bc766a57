//! Work that keeps a repository cheap to serve and changes nothing of what it says.

mod changed_paths;
pub mod graph;
