//! Fsck: no object upsets it, and what passes can be parsed.
//!
//! The first byte says which kind the rest is, and in which hash.

use std::convert::Infallible;

use bstr::BStr;
use gitconfig::SyntaxError;
use object::fsck::{FsckOptions, SpecialBlob, SpecialFiles, SpecialUse, fsck_special_files};
use object::{CommitRef, HashKind, Kind, ObjectId, TagRef, TreeIter, fsck_object};

fn read_config(text: &[u8], visit: &mut dyn FnMut(&BStr, Option<&BStr>)) -> bool {
    gitconfig::scan::<SyntaxError>(text, &mut |entry| {
        visit(entry.name, entry.value);
        Ok(())
    })
    .is_ok()
}

pub(crate) fn run(data: &[u8]) {
    let Some((first, bytes)) = data.split_first() else { return };
    let kind = [Kind::Commit, Kind::Tree, Kind::Tag, Kind::Blob][usize::from(first & 3)];
    let hash = if first & 4 == 0 { HashKind::Sha1 } else { HashKind::Sha256 };
    let id = ObjectId::null(hash);
    let options = FsckOptions::strict();
    let mut good = true;
    let mut special = SpecialFiles::default();
    let mut found = |finding: object::Finding| good &= !finding.severity.is_error();
    fsck_object(kind, &id, bytes, hash, &options, &mut found, &mut special);
    if good {
        match kind {
            Kind::Commit => assert!(CommitRef::parse(bytes, hash).is_ok()),
            Kind::Tree => assert!(TreeIter::new(bytes, hash).all(|entry| entry.is_ok())),
            Kind::Tag => assert!(TagRef::parse(bytes, hash).is_ok()),
            Kind::Blob => {}
        }
    }
    if kind == Kind::Blob {
        special.insert(id, SpecialUse::Modules);
        special.insert(id, SpecialUse::Attributes);
    }
    let mut read = |_: &ObjectId| Ok::<_, Infallible>(SpecialBlob::Content(bytes));
    let Ok(()) =
        fsck_special_files(&special, &options, &mut read, &mut read_config, &mut |_, finding| {
            assert!(!finding.to_string().is_empty());
        });
}
