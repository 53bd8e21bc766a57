//! The v0 and v1 advertisement of upload-pack.

use wire::advertise::RefAdvertisement;
use wire::{PacketWriter, Protocol, Sink, UploadPackOffer};

use super::lazy::LazyObjects;
use super::refs::{Refs, peeled_id};
use crate::Error;

/// Writes HEAD, every visible ref with what tags peel to, and the shallow boundary.
pub(super) fn advertise(
    objects: &LazyObjects<'_>,
    refs: &Refs<'_>,
    protocol: Protocol,
    offer: &mut UploadPackOffer,
    output: &mut dyn Sink,
) -> Result<(), Error> {
    let head = refs.head()?;
    if let Some(head) = &head
        && let (Some(target), Some(_)) = (&head.symref_target, &head.id)
    {
        offer.symrefs.push(("HEAD".into(), target.clone()));
    }
    let mut writer = PacketWriter::new(output);
    let mut lines = RefAdvertisement::upload_pack(&mut writer, protocol, offer)?;
    if let Some(head) = head
        && let Some(id) = head.id
    {
        lines.reference(&id, "HEAD".into())?;
        let found = &mut None;
        if let Some(peeled) =
            peeled_id(|| objects.get(), (&id).into(), (&head.peeled).into(), found)?
        {
            lines.peeled(peeled, "HEAD".into())?;
        }
    }
    refs.each(b"refs/", &mut |shown| {
        lines.reference(shown.id, shown.name)?;
        if let Some(peeled) = peeled_id(|| objects.get(), shown.id, shown.peeled, &mut None)? {
            lines.peeled(peeled, shown.name)?;
        }
        Ok(())
    })?;
    lines.finish(&refs.snapshot.shallow()?)?;
    writer.flush()?;
    Ok(())
}
