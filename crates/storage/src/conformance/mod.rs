//! One suite for every backend and wrapper: what a store must do, as tests over a factory.
//!
//! [`refs::run`], [`watch::run`], [`blobs::run`] and [`repositories::run`] run every case, each on a fresh store, and panic with
//! what is wrong. A backend calls them from its tests.

/// How much of something a case asks for: more than a test of every change has time for when
/// `PACKHORSE_SOAK` is set.
fn scaled(usual: u64, soak: u64) -> u64 {
    if std::env::var_os("PACKHORSE_SOAK").is_some() { soak } else { usual }
}

pub mod blobs;
pub mod refs;
pub mod repositories;
pub mod watch;
