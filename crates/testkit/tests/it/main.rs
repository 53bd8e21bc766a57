//! The test parts tested: every shape passes `git fsck --strict`, twice built is
//! twice the same, transcripts speak with stock git.

mod scenarios;
mod sessions;
