//! Which files lie in an objects directory, and which of them are removed.
//!
//! What is removed gets a file beside it, named like it with `.gone` behind, and is in no listing
//! from then on: who opened it reads on. When that file is older than any fetch, the blob goes; what
//! says so stays for a while, so that no late removal hits a new blob of that name. A blob whose
//! name is taken by a removed one meanwhile is called `pack-….g2.pack`, and so on.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use storage::Result;

use crate::cache::Cacheable;
use crate::client::Client;
use crate::requests::{Listed, Tag};

/// What stands behind the name of a blob in the name of what says that it is removed.
const GONE: &str = ".gone";

/// How much longer than the blob the note stays that it is removed.
const NOTE_KEPT: Duration = Duration::from_secs(2 * 60 * 60);

/// Removals that were found due are done within this time, or found again.
const REMOVED_WITHIN: Duration = Duration::from_secs(10 * 60);

/// Names a blob may have had in a row, within the time that notes are kept.
const GENERATIONS_MAX: u32 = 100;

/// Whether a blob never changes while it has its name, and may be read for long.
pub(crate) fn is_lasting(name: &str) -> bool {
    const ENDINGS: [&str; 5] = [".pack", ".idx", ".rev", ".bitmap", ".mtimes"];
    name.strip_prefix("pack/pack-").is_some_and(|rest| {
        !rest.contains('/') && ENDINGS.iter().any(|ending| rest.ends_with(ending))
    })
}

/// The name of the blob that a file holds: without its generation.
fn logical(file: &str) -> String {
    if !is_lasting(file) {
        return file.to_owned();
    }
    let Some((stem, ending)) = file.rsplit_once('.') else { return file.to_owned() };
    match stem.rsplit_once(".g") {
        Some((first, number)) if number.parse::<u32>().is_ok() => format!("{first}.{ending}"),
        _ => file.to_owned(),
    }
}

/// The file of a blob in some generation.
pub(crate) fn of_generation(name: &str, generation: u32) -> String {
    match (generation, name.rsplit_once('.')) {
        (0 | 1, _) | (_, None) => name.to_owned(),
        (_, Some((stem, ending))) => format!("{stem}.g{generation}.{ending}"),
    }
}

/// The generations a new blob may have, in the order they are tried.
pub(crate) fn generations() -> impl Iterator<Item = u32> {
    1..=GENERATIONS_MAX
}

/// A file that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    pub key: String,
    pub size: u64,
    pub modified: SystemTime,
    pub tag: Tag,
}

impl File {
    /// The file for the cache.
    pub fn cacheable(&self) -> Cacheable {
        cacheable(&self.key, &self.tag, self.size).unwrap_or_else(|| {
            let since = self.modified.duration_since(UNIX_EPOCH).unwrap_or_default();
            Cacheable { key: format!("{} at {}", self.key, since.as_nanos()), size: self.size }
        })
    }
}

/// A file for the cache: in one state it never changes.
pub(crate) fn cacheable(key: &str, tag: &Tag, size: u64) -> Option<Cacheable> {
    Some(Cacheable { key: format!("{key} {}", tag.word()?), size })
}

/// A listing of an objects directory: blobs by their names.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub blobs: BTreeMap<String, File>,
    /// Keys of files that nobody reads any more.
    unread: Vec<String>,
    /// Keys of notes that can go.
    notes: Vec<String>,
}

impl Listing {
    /// Reads a listing of the objects directory with this key.
    pub fn of(files: Vec<Listed>, directory: &str, keep: Duration) -> Self {
        let now = SystemTime::now();
        let mut listing = Listing::default();
        let mut gone = BTreeMap::new();
        for file in &files {
            if let Some(key) = file.key.strip_suffix(GONE) {
                gone.insert(key.to_owned(), now.duration_since(file.modified).unwrap_or_default());
            }
        }
        for file in files {
            let Some(name) = file.key.strip_prefix(directory).and_then(|n| n.strip_prefix('/'))
            else {
                continue;
            };
            if name.ends_with(GONE) || name.ends_with(".lock") {
                continue;
            }
            match gone.remove(&file.key) {
                None => {
                    let there = File {
                        key: file.key.clone(),
                        size: file.size,
                        modified: file.modified,
                        tag: file.tag,
                    };
                    listing.blobs.insert(logical(name), there);
                }
                Some(age) if age >= keep => listing.unread.push(file.key),
                Some(_) => {}
            }
        }
        let old = gone.into_iter().filter(|(_, age)| *age >= keep + NOTE_KEPT);
        listing.notes = old.map(|(key, _)| format!("{key}{GONE}")).collect();
        listing
    }
}

/// Says that a file is removed.
pub(crate) fn mark(client: &Client, key: &str) -> Result<()> {
    client.put(&format!("{key}{GONE}"), Bytes::new()).map(drop)
}

/// Whether a file is said to be removed.
pub(crate) fn is_marked(client: &Client, key: &str) -> Result<bool> {
    Ok(client.head(&format!("{key}{GONE}"))?.is_some())
}

/// The last listing: every request makes one when it looks for packs, and need not ask again for
/// what lasts, nor, for a moment, for what else it saw or did not see.
#[derive(Default)]
pub(crate) struct LastListing(Mutex<Option<Dated>>);

struct Dated {
    listing: Listing,
    at: Instant,
    /// Which state of the refs had been read before.
    epoch: Option<u64>,
}

/// How long a listing is used while refs stay as they are.
const KEPT: Duration = Duration::from_secs(10);

/// How long a listing tells of what does not last, and of what is not there.
const MOMENT: Duration = Duration::from_secs(2);

impl LastListing {
    fn lock(&self) -> MutexGuard<'_, Option<Dated>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn set(&self, listing: Listing, epoch: Option<u64>) {
        *self.lock() = Some(Dated { listing, at: Instant::now(), epoch });
    }

    /// Whether the listing has all that this state of the refs needs, and is not so old that it would
    /// keep what maintenance has made from being used.
    pub fn is_of(&self, epoch: Option<u64>) -> bool {
        let dated = self.lock();
        let Some(dated) = &*dated else { return false };
        epoch.is_some() && dated.epoch == epoch && dated.at.elapsed() < KEPT
    }

    /// After a change of our own, or when the newest state is needed.
    pub fn forget(&self) {
        *self.lock() = None;
    }

    pub fn remove(&self, name: &str) {
        if let Some(Dated { listing, .. }) = &mut *self.lock() {
            listing.blobs.remove(name);
        }
    }

    /// What the listing says of a blob; `None` when another one is needed to tell.
    pub fn look(&self, name: &str, epoch: Option<u64>) -> Option<Option<File>> {
        let is_of = self.is_of(epoch);
        let listing = self.lock();
        let Dated { listing, at, .. } = listing.as_ref()?;
        let found = listing.blobs.get(name);
        match found {
            Some(file) if is_lasting(name) => Some(Some(file.clone())),
            found => (is_of || at.elapsed() < MOMENT).then(|| found.cloned()),
        }
    }

    /// The blobs in a directory, as the listing has them.
    pub fn below(&self, prefix: &str) -> Vec<(String, File)> {
        let listing = self.lock();
        let Some(Dated { listing, .. }) = &*listing else { return Vec::new() };
        let below = listing.blobs.range(prefix.to_owned()..);
        let below = below.take_while(|(name, _)| name.starts_with(prefix));
        let here = below.filter(|(name, _)| !name[prefix.len()..].contains('/'));
        here.map(|(name, file)| (name.clone(), file.clone())).collect()
    }

    /// Removes for good what the last listing found due.
    pub fn sweep(&self, client: &Client) -> Result<()> {
        let mut listing = self.lock();
        let Some(Dated { listing: found, at, .. }) = &mut *listing else { return Ok(()) };
        let (at, unread) = (*at, std::mem::take(&mut found.unread));
        let notes = std::mem::take(&mut found.notes);
        drop(listing);
        for key in unread.iter().chain(&notes) {
            if at.elapsed() >= REMOVED_WITHIN {
                break;
            }
            client.delete(key)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_removed_is_not_listed_and_goes_later() {
        let hour = Duration::from_secs(60 * 60);
        let file = |name: &str, age: Duration| Listed {
            key: format!("a/pack/{name}"),
            size: 1,
            modified: SystemTime::now() - age,
            tag: Tag::default(),
        };
        let listed = vec![
            file("pack-1.idx", 9 * hour),
            file("pack-1.idx.gone", 3 * hour),
            file("pack-1.g2.idx", hour),
            file("pack-1.pack", 9 * hour),
            file("pack-1.pack.gone", hour),
            file("pack-2.idx", hour),
            file("pack-3.rev.gone", 9 * hour),
            file("pack-4.rev.gone", 3 * hour),
            file("multi-pack-index.lock", hour),
        ];
        let packs = Listing::of(listed, "a", 2 * hour);
        let there: Vec<_> = packs.blobs.iter().map(|(name, file)| (&**name, &*file.key)).collect();
        assert_eq!(
            there,
            [("pack/pack-1.idx", "a/pack/pack-1.g2.idx"), ("pack/pack-2.idx", "a/pack/pack-2.idx")]
        );
        assert_eq!(packs.unread, ["a/pack/pack-1.idx"]);
        assert_eq!(packs.notes, ["a/pack/pack-3.rev.gone"]);
        assert!(is_lasting("pack/pack-1.rev") && !is_lasting("pack/multi-pack-index"));
        assert!(!is_lasting("pack/pack-1/x.pack") && !is_lasting("info/commit-graph"));
        assert_eq!(of_generation("pack-1.idx", 3), "pack-1.g3.idx");
        assert_eq!(logical("pack/pack-1.g.idx"), "pack/pack-1.g.idx");
    }
}
