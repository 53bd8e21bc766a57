//! The checksum at the end of a pack: the stored one where a stored pack is sent as it lies, the
//! one of last time where the same was sent before, computed otherwise.

use bytes::Bytes;
use object::{Checksum, HashKind, ObjectId};

use super::PackPlan;
use crate::objects::FIRST_EXTRA_SERIAL;

/// A sum is only looked up when one object in so many is sent: looking it up takes time by the
/// number of objects stored, computing it by that of objects sent.
const SPARSE: u64 = 64;

pub(super) enum Sum {
    /// In the making; kept under the key, if there is one.
    Computed(Checksum, Option<ObjectId>),
    Known(Bytes),
}

impl Sum {
    pub fn new(plan: &PackPlan) -> Self {
        if let Some(sum) = plan.stored_checksum() {
            return Sum::Known(sum);
        }
        let key = key(plan);
        match key.and_then(|key| plan.objects.sums().get(&key)) {
            Some(sum) => Sum::Known(Bytes::copy_from_slice(sum.as_bytes())),
            None => Sum::Computed(Checksum::new(plan.objects.hash()), key),
        }
    }

    pub fn update(&mut self, bytes: &[u8]) {
        if let Sum::Computed(sum, _) = self {
            sum.update(bytes);
        }
    }

    /// The sum of all bytes, kept for the next time. There is nothing after it.
    pub fn finish(&mut self, plan: &PackPlan) -> Bytes {
        match std::mem::replace(self, Sum::Known(Bytes::new())) {
            Sum::Known(sum) => sum,
            Sum::Computed(sum, key) => {
                let sum = sum.finish();
                if let Some(key) = key {
                    plan.objects.sums().put(key, sum);
                }
                Bytes::copy_from_slice(sum.as_bytes())
            }
        }
    }
}

/// A hash of all that decides the bytes of the pack: which objects of which open packs, and which
/// deltas the client understands. `None` where more decides (what the client has, loose objects),
/// and where little is sent.
fn key(plan: &PackPlan) -> Option<ObjectId> {
    let send = &plan.reached.send;
    let worth_it = u64::from(plan.count) * SPARSE >= u64::from(plan.objects.packed_count());
    if !plan.alone || !worth_it || send.iter_loose().next().is_some() {
        return None;
    }
    // SHA-256 whatever the repository's hash is: a client chooses what it asks for.
    let mut key = Checksum::new(HashKind::Sha256);
    key.update(&[u8::from(plan.ofs_delta)]);
    let units = plan.objects.units();
    // Units behind the last something is sent from decide nothing: an object's slot is that of
    // the first unit that has it, and an object there is not sent.
    let is_used = |at: &usize| {
        let placed = &units[*at];
        send.count_packed(placed.first_slot, placed.first_slot + placed.count) > 0
    };
    let last = (0..units.len()).rev().find(is_used)?;
    let mut slots = 0;
    for placed in &units[..=last] {
        key.update(&placed.first_slot.to_le_bytes());
        key.update(&[u8::from(placed.unit.is_one_pack())]);
        for pack in placed.unit.packs() {
            if pack.serial >= FIRST_EXTRA_SERIAL {
                return None;
            }
            key.update(&pack.serial.to_le_bytes());
        }
        slots = placed.first_slot + placed.count;
    }
    send.hash_packed(slots, &mut key);
    Some(key.finish())
}
