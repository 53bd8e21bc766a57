//! Tests of this crate against stock git.

mod again;
mod bare;
mod bitmaps;
mod commit_graph;
mod connectivity;
mod content;
mod damaged;
mod far;
mod forks;
mod history;
mod incoming;
mod incoming_refused;
mod pack_builder;
mod plan;
mod pseudo_merges;
mod repack;
mod transfer;
mod upkeep;
mod upkeep_stopped;
