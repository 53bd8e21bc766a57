//! The suite every backend runs.

use std::sync::{Arc, Mutex};

use object::HashKind;
use storage::{BlobStore, RefStore, conformance};
use storage_disk::DiskBlobs;
use testkit::TempDir;

use crate::support;

#[test]
fn refs_conform() {
    for hash in [HashKind::Sha1, HashKind::Sha256] {
        // Also with every creation going through packed-refs, and none.
        for packed_refs_min in [1, 50, usize::MAX] {
            let kept = Mutex::new(Vec::new());
            let make = || -> Arc<dyn RefStore> {
                let root = TempDir::new();
                let git_dir = root.join("r.git");
                storage_disk::init_bare(&git_dir, hash, "main").expect("made");
                let options = storage_disk::OpenOptions { packed_refs_min, ..support::options() };
                let parts = storage_disk::open(&git_dir, &options).expect("opens");
                kept.lock().expect("not poisoned").push(root);
                parts.refs
            };
            conformance::refs::run(hash, &make);
        }
    }
}

#[test]
fn blobs_conform() {
    let kept = Mutex::new(Vec::new());
    let make = || -> Arc<dyn BlobStore> {
        let root = TempDir::new();
        let blobs = DiskBlobs::new(root.path());
        kept.lock().expect("not poisoned").push(root);
        Arc::new(blobs)
    };
    conformance::blobs::run(&make);
}
