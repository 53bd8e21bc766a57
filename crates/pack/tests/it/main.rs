//! This crate against stock git: what git writes is read, what is written here git reads.

mod git;
mod index;
mod receiving;
