//! `object-info`: facts about objects, without the objects.

use repository::Objects;
use wire::{ObjectInfoRequest, PacketWriter, Sink, reply};

use crate::Error;

/// Answers one `object-info`.
pub(super) fn object_info(
    objects: &Objects,
    request: &ObjectInfoRequest,
    output: &mut dyn Sink,
) -> Result<(), Error> {
    let mut writer = PacketWriter::new(output);
    if request.size {
        writer.data(b"size")?;
        for id in &request.ids {
            let size = objects.header(id)?.map(|(_, size)| size);
            reply::object_size(&mut writer, id, size)?;
        }
    }
    writer.flush_pkt()?;
    writer.flush()?;
    Ok(())
}
