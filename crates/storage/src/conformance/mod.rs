//! One suite for every backend and wrapper: what a store must do, as tests over a factory.
//!
//! [`refs::run`], [`blobs::run`] and [`repositories::run`] run every case, each on a fresh store, and panic with
//! what is wrong. A backend calls them from its tests.

pub mod blobs;
pub mod refs;
pub mod repositories;
