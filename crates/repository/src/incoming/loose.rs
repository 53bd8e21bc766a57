//! Keeping a small pack's objects as loose ones (`receive.unpackLimit`).

use std::io::Write;

use object::loose_header;
use storage::Stage;

use super::inspect::Existing;
use super::table::Table;
use crate::error::{Error, Result};
use crate::objects::{Objects, loose_name};

/// Stages every object of the received pack that the repository does not have as a loose object.
pub(super) fn unpack(
    table: &Table,
    received: &Objects,
    existing: &Existing,
    level: i32,
    stage: &mut dyn Stage,
) -> Result<()> {
    let mut ids: Vec<_> = {
        let known = table.ids();
        (0..table.len()).map(|entry| known.get(entry)).collect()
    };
    ids.sort_unstable();
    ids.dedup();
    let (mut text, mut compressed) = (Vec::new(), Vec::new());
    for id in ids {
        if existing.has(&id)? {
            continue;
        }
        let object = received.read(&id)?.ok_or(Error::Missing { id, kind: None })?;
        text.clear();
        text.extend_from_slice(loose_header(object.kind, object.data.len() as u64, &mut [0; 32]));
        text.extend_from_slice(&object.data);
        compressed.clear();
        pack::inflate::deflate(&text, level, &mut compressed);
        let name = loose_name(&id);
        let mut writer = stage.create(&name)?;
        writer.write_all(&compressed).map_err(|error| storage::Error::io(&name, error))?;
        writer.finish()?;
    }
    Ok(())
}
