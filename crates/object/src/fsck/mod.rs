//! The checks `git fsck` makes on single objects, and which `receive.fsckObjects` makes on what
//! comes in: same checks, same ids, same severities, same words (git's `fsck.c`).
//!
//! Objects are checked one by one as they arrive ([`fsck_object`]). Trees name blobs that need
//! checks of their own (`.gitmodules`, `.gitattributes`); those are collected in a
//! [`SpecialFiles`] and checked when everything is there ([`fsck_special_files`]).

mod commit;
mod dotfile;
mod header;
mod ident;
mod message;
mod options;
mod special;
mod submodule;
mod tag;
mod tree;
mod url;

use std::ops::ControlFlow;

pub use message::{Finding, MsgId, Severity};
pub use options::{FsckOptions, NAME_BYTES_MAX};
pub use special::{
    ATTRIBUTES_BYTES_MAX, ATTRIBUTES_LINE_BYTES_MAX, ReadConfig, SpecialBlob, SpecialFiles,
    SpecialUse, fsck_special_blob, fsck_special_files,
};

use crate::{HashKind, Kind, ObjectId};

/// Checks one object. A blob has nothing to check here.
///
/// What is wrong goes to `found`, in the order git says it; blobs to look at later go into
/// `special`. The object is to be refused when a finding's severity
/// [is an error](Severity::is_error).
pub fn fsck_object(
    kind: Kind,
    id: &ObjectId,
    bytes: &[u8],
    hash: HashKind,
    options: &FsckOptions,
    found: &mut dyn FnMut(Finding),
    special: &mut SpecialFiles,
) {
    let mut report = Report::new(id, options, found);
    // An error ends the checks of an object; whoever listens has heard of it.
    let _ended_early = match kind {
        Kind::Blob => ControlFlow::Continue(()),
        Kind::Tree => tree::check(bytes, hash, &mut report, special),
        Kind::Commit => commit::check(bytes, hash, &mut report),
        Kind::Tag => tag::check(bytes, hash, &mut report),
    };
}

/// Where the checks of one object say what they find.
struct Report<'r> {
    options: &'r FsckOptions,
    skipped: bool,
    found: &'r mut dyn FnMut(Finding),
}

impl<'r> Report<'r> {
    fn new(id: &ObjectId, options: &'r FsckOptions, found: &'r mut dyn FnMut(Finding)) -> Self {
        Report { options, skipped: options.skip_list.contains(id), found }
    }

    /// Says that something is wrong; breaks when it is an error.
    fn say(&mut self, id: MsgId, message: impl Into<String>) -> ControlFlow<()> {
        let severity = self.options.severity(id);
        if self.skipped || severity == Severity::Ignore {
            return ControlFlow::Continue(());
        }
        (self.found)(Finding { id, severity, message: message.into() });
        if severity.is_error() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}
