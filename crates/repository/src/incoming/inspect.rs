//! What every received object is looked at for, once it has a name: whether the repository has
//! another object under that name, whether its text passes the checks of `git fsck`, and what it
//! names.

use std::sync::{Arc, Mutex, OnceLock};

use object::{HashKind, Kind, ObjectId};
use storage::BlobStore;

use super::links::Links;
use super::options::IncomingOptions;
use crate::error::{Error, Result};
use crate::objects::{Objects, Placed, find_packed};

/// The objects the repository had before, for many questions that are mostly answered "no".
///
/// The packs are the ones of one view; loose objects are listed a directory at a time, when
/// the first question about it comes, so that a name nobody knows costs no look at the disk.
pub(super) struct Existing {
    pub objects: Objects,
    units: Arc<Vec<Placed>>,
    stores: Vec<Arc<dyn BlobStore>>,
    loose: Vec<OnceLock<Vec<ObjectId>>>,
}

impl Existing {
    pub fn new(objects: Objects, stores: Vec<Arc<dyn BlobStore>>) -> Self {
        let loose = (0..256).map(|_| OnceLock::new()).collect();
        Existing { units: objects.units(), objects, stores, loose }
    }

    pub fn has(&self, id: &ObjectId) -> Result<bool> {
        if find_packed(&self.units, id)?.is_some() {
            return Ok(true);
        }
        let directory = &self.loose[usize::from(id.as_bytes()[0])];
        if directory.get().is_none() {
            let listed = self.list_loose(id)?;
            // Somebody else may have listed it meanwhile; the lists are alike.
            let _ = directory.set(listed);
        }
        Ok(directory.get().is_some_and(|ids| ids.binary_search(id).is_ok()))
    }

    fn list_loose(&self, like: &ObjectId) -> Result<Vec<ObjectId>> {
        let prefix = like.to_hex()[..2].to_owned();
        let mut ids = Vec::new();
        for store in &self.stores {
            let blobs = store.list(&format!("{prefix}/"))?;
            ids.extend(blobs.iter().filter_map(|blob| {
                let hex = format!("{prefix}{}", blob.name.rsplit('/').next()?);
                ObjectId::from_hex_of(hex.as_bytes(), like.kind())
            }));
        }
        ids.sort_unstable();
        ids.dedup();
        ids.shrink_to_fit();
        Ok(ids)
    }
}

/// Looks at received objects; shared by all threads.
pub(super) struct Inspector<'a> {
    existing: &'a Existing,
    links: Option<Links>,
    checks: Option<super::checks::Checks<'a>>,
}

impl<'a> Inspector<'a> {
    pub fn new(
        hash: HashKind,
        existing: &'a Existing,
        options: &'a IncomingOptions,
        messages: &'a Mutex<Vec<String>>,
    ) -> Self {
        let checks = options.fsck.as_ref().map(|fsck| {
            super::checks::Checks::new(hash, fsck, options.fsck_only_reports, messages)
        });
        // Beside packs of its own, a repository gets what builds on them: that is walked.
        let links = (existing.objects.packed_count() == 0)
            .then(|| Links::new(hash, options.closed_objects_max));
        Inspector { existing, links, checks }
    }

    /// Whether objects of this kind must be seen whole.
    pub fn wants_whole(&self, kind: Kind) -> bool {
        self.checks.is_some() && kind != Kind::Blob
    }

    /// Looks at an object that is held whole.
    pub fn inspect(&self, kind: Kind, id: &ObjectId, content: &[u8]) -> Result<()> {
        if self.existing.has(id)? {
            let collision = match self.existing.objects.read(id)? {
                Some(object) => object.kind != kind || *object.data != content,
                None => false,
            };
            if collision {
                return Err(collides(id));
            }
        }
        if let Some(links) = &self.links {
            links.pass(kind, id, content);
        }
        match &self.checks {
            Some(checks) => checks.check(kind, id, content),
            None => Ok(()),
        }
    }

    /// Takes note of an object that is not held whole.
    pub fn pass_unseen(&self, kind: Kind, id: &ObjectId) {
        if let Some(links) = &self.links {
            links.pass_unseen(kind, id);
        }
    }

    /// Whether everything the objects name is among them; `false` when that is not known.
    pub fn are_closed(&self) -> bool {
        self.links.as_ref().is_some_and(Links::are_closed)
    }

    /// The checks that need several objects, after all of them are there.
    pub fn conclude(&self, received: &Objects) -> Result<()> {
        match &self.checks {
            Some(checks) => checks.conclude(received),
            None => Ok(()),
        }
    }
}

fn collides(id: &ObjectId) -> Error {
    Error::Refused(format!("SHA1 COLLISION FOUND WITH {id} !"))
}
