//! What requests are about: objects, their states, and how many requests there were.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use object_store::{ObjectMeta, UpdateVersion};

/// Which state of an object was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tag(pub UpdateVersion);

impl Tag {
    /// The state in a word, if the service gives one.
    pub fn word(&self) -> Option<&str> {
        self.0.e_tag.as_deref().map(|tag| tag.trim_matches('"'))
    }

    /// Whether both are of the same state. A listing may spell it in another way.
    pub fn is_same(&self, other: &Tag) -> bool {
        let plain = |tag: &Tag| tag.0.e_tag.as_deref().map(|tag| tag.trim_matches('"').to_owned());
        plain(self).is_some() && plain(self) == plain(other)
    }
}

#[cfg(test)]
impl Default for Tag {
    fn default() -> Self {
        Tag(UpdateVersion { e_tag: None, version: None })
    }
}

/// An object, and which state of it.
#[derive(Debug, Clone)]
pub(crate) struct Tagged {
    pub bytes: Bytes,
    pub tag: Tag,
}

/// What a listing says of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Listed {
    /// Its key.
    pub key: String,
    pub size: u64,
    pub modified: SystemTime,
    pub tag: Tag,
}

/// How an object that may only be replaced in a known state is named in a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TagForm {
    /// As the store gave it.
    AsGiven,
    /// Without the quotes around it.
    Unquoted,
}

/// Requests by what services charge for them; what is tried again counts once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Requests {
    /// Objects, parts of objects, or what is known of them.
    pub reads: u64,
    /// Of them, those that were made because another one was slow.
    pub hedges: u64,
    /// Objects and parts of objects.
    pub writes: u64,
    /// Listings.
    pub lists: u64,
    /// Removals.
    pub deletes: u64,
}

#[derive(Default)]
pub(crate) struct Counts {
    pub reads: AtomicU64,
    pub writes: AtomicU64,
    pub lists: AtomicU64,
    pub deletes: AtomicU64,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

pub(crate) fn listed(meta: ObjectMeta) -> Listed {
    let (modified, tag) = (meta.last_modified.into(), tag_of(&meta));
    Listed { tag, key: meta.location.into(), size: meta.size, modified }
}

pub(crate) fn tag_of(meta: &ObjectMeta) -> Tag {
    Tag(UpdateVersion { e_tag: meta.e_tag.clone(), version: meta.version.clone() })
}
