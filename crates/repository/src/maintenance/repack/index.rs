//! The new pack's index and reverse index.

use object::ObjectId;
use pack::idx::write::{IndexEntry, write_v2};
use storage::Stage;

use super::table::Entry;
use crate::error::Result;
use crate::incoming::write_blob;
use crate::objects::Objects;

/// Writes `<stem>.idx` and `<stem>.rev` of a pack whose table is in the order of ranks; `crcs` are
/// by rank too, `order` is that of the entries.
pub(super) fn write_indices(
    objects: &Objects,
    table: &[Entry],
    crcs: &[u32],
    order: &[u32],
    name: &ObjectId,
    stem: &str,
    stage: &mut dyn Stage,
) -> Result<()> {
    let sorted = in_order_of_ids(objects, table)?;
    let entry_at = |position: u32| {
        let (_, rank) = sorted[position as usize];
        let entry = &table[rank as usize];
        // An id that can be read no longer is out of order, and is refused for that.
        let id = objects.id(entry.slot).unwrap_or_else(|_| ObjectId::null(name.kind()));
        IndexEntry { id, offset: entry.offset, crc32: crcs[rank as usize] }
    };
    write_blob(&format!("{stem}.idx"), stage, |out| {
        write_v2(sorted.len() as u32, entry_at, name, out).map(drop)
    })?;
    let mut positions = vec![0; table.len()];
    for (position, (_, rank)) in sorted.iter().enumerate() {
        positions[*rank as usize] = position as u32;
    }
    write_blob(&format!("{stem}.rev"), stage, |out| {
        pack::rev::write(order.iter().map(|rank| positions[*rank as usize]), name, out).map(drop)
    })
}

/// The ranks in the order of the objects' ids, each with the beginning of its id.
fn in_order_of_ids(objects: &Objects, table: &[Entry]) -> Result<Vec<(u64, u32)>> {
    let mut sorted = Vec::with_capacity(table.len());
    for (rank, entry) in table.iter().enumerate() {
        let id = objects.id(entry.slot)?;
        let beginning = id.as_bytes()[..8].iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
        sorted.push((beginning, rank as u32));
    }
    let id = |rank: u32| objects.id(table[rank as usize].slot).ok();
    sorted.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| id(a.1).cmp(&id(b.1))));
    Ok(sorted)
}
