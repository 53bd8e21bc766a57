//! `ls-refs`: the refs under the prefixes a v2 client asks for.

use bstr::{BStr, BString};
use object::IdView;
use wire::reply::{LsRef, ls_ref};
use wire::{LsRefsRequest, PacketWriter, Sink};

use super::lazy::LazyObjects;
use super::refs::{Refs, peeled_id};
use crate::Error;

/// Answers one `ls-refs`.
pub(super) fn ls_refs(
    objects: &LazyObjects<'_>,
    refs: &Refs<'_>,
    request: &LsRefsRequest,
    output: &mut dyn Sink,
) -> Result<(), Error> {
    let mut writer = PacketWriter::new(output);
    if wants_head(&request.prefixes) {
        head(objects, refs, request, &mut writer)?;
    }
    for prefix in scans(&request.prefixes) {
        refs.each(&prefix, &mut |shown| {
            let mut found = None;
            let peeled = match request.peel {
                true => peeled_id(|| objects.get(), shown.id, shown.peeled, &mut found)?,
                false => None,
            };
            let symref_target = shown.symref_target.filter(|_| request.symrefs);
            let id = Some(shown.id);
            ls_ref(&mut writer, &LsRef { id, name: shown.name, symref_target, peeled })?;
            Ok(())
        })?;
    }
    writer.flush_pkt()?;
    writer.flush()?;
    Ok(())
}

fn head(
    objects: &LazyObjects<'_>,
    refs: &Refs<'_>,
    request: &LsRefsRequest,
    writer: &mut PacketWriter<'_>,
) -> Result<(), Error> {
    let Some(head) = refs.head()? else { return Ok(()) };
    if head.id.is_none() && !(request.unborn && head.symref_target.is_some()) {
        return Ok(());
    }
    let id = head.id.as_ref().map(IdView::from);
    let mut found = None;
    let peeled = match (request.peel, id) {
        (true, Some(id)) => peeled_id(|| objects.get(), id, (&head.peeled).into(), &mut found)?,
        _ => None,
    };
    // An unborn HEAD is told by its target alone, whether symrefs were asked for or not.
    let target = head.symref_target.filter(|_| request.symrefs || head.id.is_none());
    let symref_target = target.as_deref().map(BStr::new);
    ls_ref(writer, &LsRef { id, name: "HEAD".into(), symref_target, peeled })?;
    Ok(())
}

fn wants_head(prefixes: &[BString]) -> bool {
    prefixes.is_empty() || prefixes.iter().any(|prefix| b"HEAD".starts_with(prefix))
}

/// The prefixes to scan: sorted, none of them inside another, so that every ref comes once
/// and in order. Prefixes that no full ref name can start with are left out.
fn scans(prefixes: &[BString]) -> Vec<BString> {
    if prefixes.is_empty() || prefixes.iter().any(|prefix| b"refs/".starts_with(prefix)) {
        return vec!["refs/".into()];
    }
    let mut sorted: Vec<BString> =
        prefixes.iter().filter(|prefix| prefix.starts_with(b"refs/")).cloned().collect();
    sorted.sort_unstable();
    sorted.dedup_by(|next, kept| next.starts_with(kept));
    sorted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scanned(prefixes: &[&str]) -> Vec<String> {
        let prefixes: Vec<BString> = prefixes.iter().map(|p| BString::from(*p)).collect();
        scans(&prefixes).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn overlapping_prefixes_are_scanned_once() {
        assert_eq!(
            scanned(&["refs/tags/", "refs/heads/", "refs/tags/v1"]),
            ["refs/heads/", "refs/tags/"]
        );
        assert_eq!(scanned(&["HEAD"]), Vec::<String>::new());
        assert_eq!(scanned(&["refs/heads/x", ""]), ["refs/"]);
        assert!(wants_head(&["HE".into()]) && !wants_head(&["HEADS".into()]));
    }
}
