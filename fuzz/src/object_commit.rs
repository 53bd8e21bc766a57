//! Commits: whatever parses can be asked everything.

use object::{CommitRef, HashKind};

pub(crate) fn run(bytes: &[u8]) {
    for hash in [HashKind::Sha1, HashKind::Sha256] {
        let Ok(commit) = CommitRef::parse(bytes, hash) else { continue };
        assert_eq!(commit.parents().len(), commit.parents().count());
        assert!(commit.parents().all(|parent| parent.kind() == hash));
        assert!(commit.committer_time() >= 0);
        let parts = [commit.author(), commit.committer(), commit.encoding()];
        for part in parts.into_iter().flatten().chain([commit.message()]) {
            assert!(part.len() < bytes.len());
        }
    }
}
