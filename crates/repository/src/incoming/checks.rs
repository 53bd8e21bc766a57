//! The checks of `git fsck` on received objects (`receive.fsckObjects`).

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use bstr::BStr;
use gitconfig::{Config, Scope};
use object::fsck::{
    Finding, FsckOptions, SpecialBlob, SpecialFiles, fsck_object, fsck_special_files,
};
use object::{HashKind, Kind, ObjectId};

use crate::error::{Error, Result};
use crate::objects::Objects;

/// `.gitmodules` larger than this are not looked into but complained about, as by git
/// (`core.bigFileThreshold`).
const SPECIAL_FILE_BYTES_MAX: u64 = 512 << 20;

/// What is checked and what was found so far; shared by all threads.
pub(super) struct Checks<'a> {
    hash: HashKind,
    options: &'a FsckOptions,
    /// Nothing is refused.
    only_reports: bool,
    messages: &'a Mutex<Vec<String>>,
    special: Mutex<SpecialFiles>,
}

impl<'a> Checks<'a> {
    pub fn new(
        hash: HashKind,
        options: &'a FsckOptions,
        only_reports: bool,
        messages: &'a Mutex<Vec<String>>,
    ) -> Self {
        Checks { hash, options, only_reports, messages, special: Mutex::default() }
    }

    /// Checks one object. What is wrong is said in a line each; errors refuse the pack.
    pub fn check(&self, kind: Kind, id: &ObjectId, content: &[u8]) -> Result<()> {
        if kind == Kind::Blob {
            return Ok(());
        }
        let mut special = SpecialFiles::default();
        let mut refused = false;
        let mut found = |finding| refused |= self.say(id, &finding);
        fsck_object(kind, id, content, self.hash, self.options, &mut found, &mut special);
        if !special.is_empty() {
            lock(&self.special).merge(special);
        }
        if refused { Err(Error::Refused("fsck error in packed object".into())) } else { Ok(()) }
    }

    /// Checks the blobs that trees name as files git reads.
    pub fn conclude(&self, received: &Objects) -> Result<()> {
        let special = std::mem::take(&mut *lock(&self.special));
        let mut refused = false;
        fsck_special_files(
            &special,
            self.options,
            &mut |id| read_special(received, id),
            &mut read_config,
            &mut |id, finding| refused |= self.say(id, &finding),
        )?;
        if refused { Err(Error::Refused("fsck error in pack objects".into())) } else { Ok(()) }
    }

    /// Says what was found; whether it refuses the pack.
    fn say(&self, id: &ObjectId, finding: &Finding) -> bool {
        let is_error = finding.severity.is_error();
        let how = if is_error { "error" } else { "warning" };
        lock(self.messages).push(format!("{how}: object {id}: {finding}"));
        is_error && !self.only_reports
    }
}

fn read_special(received: &Objects, id: &ObjectId) -> Result<SpecialBlob<Vec<u8>>> {
    Ok(match received.header(id)? {
        None => SpecialBlob::Missing,
        Some((Kind::Blob, size)) if size > SPECIAL_FILE_BYTES_MAX => SpecialBlob::TooLarge,
        Some((Kind::Blob, _)) => match received.read(id)? {
            Some(object) => SpecialBlob::Content(Arc::unwrap_or_clone(object.data)),
            None => SpecialBlob::Missing,
        },
        Some(_) => SpecialBlob::NotABlob,
    })
}

fn read_config(text: &[u8], each: &mut dyn FnMut(&BStr, Option<&BStr>)) -> bool {
    let Ok(config) = Config::parse(text, Scope::Local, Path::new(".gitmodules")) else {
        return false;
    };
    for entry in config.entries() {
        each(entry.name(), entry.value());
    }
    true
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of the lock panics")
}
