//! Tests of this crate against stock git.

mod bare;
mod connectivity;
mod incoming;
mod incoming_refused;
mod pack_builder;
mod plan;
mod repack;
