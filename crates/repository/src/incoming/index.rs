//! Writing a received pack's index and reverse index, as `git index-pack --rev-index` does.

use std::io::{BufWriter, Write};

use object::ObjectId;
use pack::idx::write::{IndexEntry, write_v2};
use storage::{BlobWriter, Stage};

use super::table::Table;
use crate::error::{Error, Result};

const BUFFER_BYTES: usize = 64 << 10;

/// Writes `<stem>.idx` and `<stem>.rev`. An object that is in the pack twice is in the index
/// twice, in pack order, as git has it.
pub(super) fn write(
    table: &Table,
    checksum: &ObjectId,
    stem: &str,
    stage: &mut dyn Stage,
) -> Result<()> {
    let ids = table.ids();
    let mut order: Vec<u32> = (0..table.len()).collect();
    order.sort_unstable_by(|a, b| ids.raw(*a).cmp(ids.raw(*b)).then(a.cmp(b)));
    let entry_at = |position: u32| {
        let entry = order[position as usize];
        IndexEntry { id: ids.get(entry), offset: table.offset(entry), crc32: table.crc(entry) }
    };
    write_blob(&format!("{stem}.idx"), stage, |out| {
        write_v2(table.len(), entry_at, checksum, out).map(drop)
    })?;
    let mut positions = vec![0; order.len()];
    for (position, entry) in order.iter().enumerate() {
        positions[*entry as usize] = position as u32;
    }
    drop(order);
    write_blob(&format!("{stem}.rev"), stage, |out| {
        pack::rev::write(positions.iter().copied(), checksum, out).map(drop)
    })
}

/// Writes one blob of the stage through a buffer.
pub(crate) fn write_blob(
    name: &str,
    stage: &mut dyn Stage,
    write: impl FnOnce(&mut BufWriter<Box<dyn BlobWriter>>) -> Result<(), pack::Error>,
) -> Result<()> {
    let failed = |error| Error::Storage(storage::Error::io(name, error));
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, stage.create(name)?);
    write(&mut out).map_err(|error| match error {
        pack::Error::Io(error) => failed(error),
        other => Error::format(name)(other),
    })?;
    out.flush().map_err(failed)?;
    let (writer, _) = out.into_parts();
    Ok(writer.finish()?)
}
