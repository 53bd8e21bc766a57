//! Sending a pack: what goes in, and stored bytes copied as they lie wherever that is right.
//!
//! [`plan`] decides which objects are sent, by [`crate::walk`]. The rest is decided on the way,
//! entry by entry: [`extents`] says from indexes alone which parts of which packs are passed,
//! [`feed`] gets their bytes, [`choice`] says how each entry leaves, [`sent`] remembers where it
//! went, [`kin`] what is like one whose base did not, [`stream`] writes it, and [`sum`] is the
//! checksum behind it.
//!
//! A delta is sent only when its base is sent too, or when the client is known to have
//! the base and asked for a thin pack. Deltas reach for bases in packs of the same or an
//! earlier rank only, so no ring of deltas can come about across packs.

mod choice;
mod extents;
mod feed;
mod kin;
mod sent;
mod stream;
mod sum;

use std::sync::Arc;

use bytes::Bytes;
use object::ObjectId;

use crate::error::{Error, Result};
use crate::filter::Filter;
use crate::objects::{Objects, Placed, Slot};
use crate::progress::{Progress, Stage};
use crate::walk::{self, Reached};
use extents::Extents;

pub use stream::PackStream;

/// What a client asks for, and what it has.
#[derive(Debug, Clone, Default)]
pub struct PackRequest {
    /// What it wants, with all it reaches.
    pub wants: Vec<ObjectId>,
    /// What it has, with all that reaches.
    pub haves: Vec<ObjectId>,
    /// Where its history ends after this fetch.
    pub shallow: Vec<ObjectId>,
    /// Where its history ends now.
    pub old_shallow: Vec<ObjectId>,
    /// Those of them whose parents it is given: it has the commits themselves.
    pub unshallowed: Vec<ObjectId>,
    /// What it wants left out.
    pub filter: Option<Filter>,
    /// Deltas may have bases it has.
    pub thin: bool,
    /// It understands deltas that name their base by distance.
    pub ofs_delta: bool,
    /// Tags to send when what they name is sent: the tag and what it peels to.
    pub include_tag: Vec<(ObjectId, ObjectId)>,
    /// The repository is a partial clone: objects it lacks are passed over.
    pub missing_allowed: bool,
    /// The repository is a shallow clone itself, so that whole-history bitmaps do not hold.
    pub own_history_cut: bool,
}

/// What to send.
pub struct PackPlan {
    objects: Objects,
    reached: Arc<Reached>,
    thin: bool,
    ofs_delta: bool,
    /// Nothing the client has may decide how an object leaves.
    alone: bool,
    count: u32,
}

/// How much of a pack was copied from stored packs, in objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Reuse {
    /// Copied in all.
    pub objects: u32,
    /// Of these, deltas among those that were picked one by one.
    pub deltas: u32,
    /// Of these, sent with the whole pack they lie in: nobody counted the deltas there.
    pub in_whole_packs: u32,
    /// How many packs were sent whole.
    pub whole_packs: u32,
}

/// Decides what a request gets.
///
/// # Errors
/// [`Error::Missing`] when the repository lacks something it should have, and whatever the
/// storage or the listener of `progress` answers.
pub fn plan(
    objects: &Objects,
    request: &PackRequest,
    progress: &mut dyn Progress,
) -> Result<PackPlan> {
    let reached = walk::reached(objects, request, progress)?;
    let count = u32::try_from(reached.send.count()).map_err(|_| Error::Limit {
        setting: "objects per pack",
        limit: u64::from(u32::MAX),
        what: "the answer has more objects than a pack can hold".into(),
    })?;
    progress.finish(Stage::Counting, u64::from(count))?;
    let (objects, reached) = (objects.clone(), Arc::new(reached));
    let alone = !request.thin || (request.haves.is_empty() && request.old_shallow.is_empty());
    let PackRequest { thin, ofs_delta, .. } = *request;
    Ok(PackPlan { objects, reached, thin, ofs_delta, alone, count })
}

impl PackPlan {
    /// How many objects the pack will hold.
    pub fn object_count(&self) -> u32 {
        self.count
    }

    /// Bytes of the pack that are known before it is made: those of stored objects, unless deltas
    /// may take their place.
    ///
    /// # Errors
    /// When an index is damaged or cannot be read.
    pub fn bytes_min(&self) -> Result<u64> {
        let mut bytes = 0;
        if !self.thin || self.reached.versions.is_empty() {
            let mut extents = self.extents();
            while let Some(extent) = extents.next(&self.reached.send)? {
                bytes += extent.end - extent.start;
            }
        }
        Ok(bytes)
    }

    /// Bytes of memory the pack's making holds at least, beside its cache of rebuilt objects.
    pub fn held_bytes(&self) -> usize {
        /// What is sent, what is known, and what is selected of one unit.
        const SETS: usize = 3;
        self.objects.packed_count() as usize / 8 * SETS
            + self.reached.versions.len() * 2 * size_of::<(Slot, Slot)>()
            + PackStream::BUFFERS_BYTES
    }

    /// The checksum of the one stored pack that is the answer, whole and alone.
    fn stored_checksum(&self) -> Option<Bytes> {
        let units = self.objects.units();
        let is_all = |placed: &&Placed| {
            let last = placed.first_slot + placed.count;
            let selected = self.reached.send.count_packed(placed.first_slot, last);
            selected == u64::from(self.count)
        };
        let placed = units.iter().find(is_all).filter(|_| self.ofs_delta)?;
        let [pack] = placed.unit.packs() else { return None };
        let same_count = pack.index().ok()?.count() == self.count;
        let read = |start, end| match pack.map() {
            Some(_) => pack.bytes(start..end).ok(),
            None => pack.read_directly(start..end).ok(),
        };
        // The checksum covers the header, so the header must be the one written here.
        let version_2 = || read(0, 8).is_some_and(|header| header[..] == *b"PACK\0\0\0\x02");
        let sum = (same_count && version_2()).then(|| read(pack.entries_end(), pack.size))??;
        (pack.index().ok()?.pack_checksum().as_bytes() == &sum[..]).then_some(sum)
    }

    fn extents(&self) -> Extents {
        let with_slots = self.thin && !self.reached.versions.is_empty();
        Extents::new(self.objects.units(), self.ofs_delta, with_slots)
    }

    /// The pack, piece by piece.
    pub fn into_stream(self) -> PackStream {
        PackStream::new(self)
    }
}
