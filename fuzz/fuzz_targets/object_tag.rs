//! Tags: whatever parses can be asked everything.

#![no_main]

use libfuzzer_sys::fuzz_target;
use object::{HashKind, TagRef};

fuzz_target!(|bytes: &[u8]| {
    for hash in [HashKind::Sha1, HashKind::Sha256] {
        let Ok(tag) = TagRef::parse(bytes, hash) else { continue };
        assert_eq!(tag.target.kind(), hash);
        assert!(!tag.name.contains(&b'\n'));
        assert!(tag.tagger_time() >= 0);
        assert!(tag.message().len() < bytes.len());
    }
});
