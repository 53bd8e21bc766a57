//! Compares what is accepted, refused and said with stock git.

mod fsck;
mod real_git;
mod refname;
mod special;
mod walk;
