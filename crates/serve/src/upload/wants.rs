//! Whether a client may have what it asks for.

use bstr::BString;
use object::ObjectId;
use repository::{Objects, history};
use rustc_hash::FxHashSet;
use wire::FetchRequest;

use super::refs::Refs;
use super::settings::{UploadSettings, Wantable};
use crate::Error;

/// Refuses wants of a v0 or v1 client that name neither a tip it was shown nor anything
/// the configuration lets it ask for.
///
/// Between the advertisement and the request of a stateless client the refs may have moved:
/// what the present tips reach was a tip a moment ago, and is given.
pub(super) fn check(
    objects: &Objects,
    refs: &Refs<'_>,
    settings: &UploadSettings,
    stateless: bool,
    wants: &[ObjectId],
) -> Result<(), Error> {
    all_exist(objects, wants)?;
    if settings.wantable == Wantable::Any {
        return Ok(());
    }
    let mut open: FxHashSet<ObjectId> = wants.iter().copied().collect();
    let mut tips = Vec::new();
    if let Some(id) = refs.head()?.and_then(|head| head.id) {
        open.remove(&id);
        tips.push(id);
    }
    refs.each(b"refs/", &mut |shown| {
        let id = shown.id.to_id();
        open.remove(&id);
        tips.push(id);
        Ok(())
    })?;
    if !open.is_empty() && settings.wantable.hidden_tips() {
        remove_hidden_tips(refs, &mut open)?;
    }
    let Some(first) = wants.iter().find(|want| open.contains(*want)) else { return Ok(()) };
    if !stateless && !settings.wantable.reachable() {
        return Err(not_our_ref(first));
    }
    let rest: Vec<_> = wants.iter().filter(|want| open.contains(*want)).copied().collect();
    match history::unreachable(objects, &rest, &tips)?.first() {
        None => Ok(()),
        Some(id) => Err(not_our_ref(id)),
    }
}

fn remove_hidden_tips(refs: &Refs<'_>, open: &mut FxHashSet<ObjectId>) -> Result<(), Error> {
    let nothing = crate::HiddenRefs::default();
    let all = Refs { snapshot: refs.snapshot, namespace: refs.namespace, hidden: &nothing };
    all.each(b"refs/", &mut |shown| {
        open.remove(&shown.id.to_id());
        Ok(())
    })
}

/// Refuses wants the repository does not have.
pub(super) fn all_exist(objects: &Objects, wants: &[ObjectId]) -> Result<(), Error> {
    for want in wants {
        if !objects.contains(want)? {
            return Err(not_our_ref(want));
        }
    }
    Ok(())
}

/// Turns `want-ref` lines into wants, and says what each stands for.
pub(super) fn take_want_refs(
    refs: &Refs<'_>,
    request: &mut FetchRequest,
) -> Result<Vec<(BString, ObjectId)>, Error> {
    let mut wanted = Vec::new();
    for name in std::mem::take(&mut request.want_refs) {
        let found = match name.as_slice() {
            b"HEAD" => refs.head()?.and_then(|head| head.id),
            full => refs.resolve(full)?,
        };
        let Some(id) = found else {
            return Err(Error::Refused(format!("unknown ref {name}")));
        };
        if !request.wants.contains(&id) {
            request.wants.push(id);
        }
        wanted.push((name, id));
    }
    Ok(wanted)
}

fn not_our_ref(id: &ObjectId) -> Error {
    Error::Refused(format!("upload-pack: not our ref {id}"))
}
