//! Tags: whatever parses can be asked everything.

use object::{HashKind, TagRef};

pub(crate) fn run(bytes: &[u8]) {
    for hash in [HashKind::Sha1, HashKind::Sha256] {
        let Ok(tag) = TagRef::parse(bytes, hash) else { continue };
        assert_eq!(tag.target.kind(), hash);
        assert!(!tag.name.contains(&b'\n'));
        assert!(tag.tagger_time() >= 0);
        assert!(tag.message().len() < bytes.len());
    }
}
