//! The rules of the house, checked: floors, files, fuzz targets, dependencies.
//!
//! ARCHITECTURE.md says what they are for; a rule that nothing checks is a wish.

mod dependencies;
mod files;
mod floors;
mod fuzz_targets;

use std::path::{Path, PathBuf};

use cargo_metadata::{Metadata, MetadataCommand};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies below the root").to_owned()
}

/// The workspace's own packages, without what they depend on.
fn metadata() -> Metadata {
    MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .exec()
        .expect("cargo metadata reads the workspace")
}

/// Fails with every complaint at once.
#[track_caller]
fn report(rule: &str, complaints: &[String]) {
    assert!(complaints.is_empty(), "{rule}\n  {}\n", complaints.join("\n  "));
}
