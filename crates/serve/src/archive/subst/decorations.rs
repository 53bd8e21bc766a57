//! The refs that lead to a commit, as `git log --decorate` names them.

use bstr::{BStr, BString};
use object::{Kind, ObjectId};
use repository::Objects;

use crate::Error;
use crate::upload::refs::{Refs, Shown, peeled_id};

/// The names of refs that may be seen and lead to the commit, in the order git gives them: HEAD,
/// then the others from the last to the first.
pub(super) fn of(
    objects: &Objects,
    refs: &Refs<'_>,
    commit: &ObjectId,
) -> Result<Vec<BString>, Error> {
    let mut names: Vec<BString> = Vec::new();
    refs.each(b"refs/", &mut |shown| {
        if leads_to(objects, &shown, commit)? {
            names.push(shown.name.to_owned());
        }
        Ok(())
    })?;
    let head = refs.head()?.filter(|head| head.id.as_ref() == Some(commit));
    let branch = head.as_ref().and_then(|head| head.symref_target.clone());
    let mut decorations = Vec::new();
    if head.is_some() {
        decorations.push(match branch.as_ref().filter(|branch| names.contains(branch)) {
            Some(branch) => format!("HEAD -> {}", short(branch.as_ref())).into(),
            None => "HEAD".into(),
        });
    }
    let others = names.iter().rev().filter(|name| Some(*name) != branch.as_ref() || head.is_none());
    decorations.extend(others.map(|name| short(name.as_ref())));
    Ok(decorations)
}

fn leads_to(objects: &Objects, shown: &Shown<'_>, commit: &ObjectId) -> Result<bool, Error> {
    let id = shown.id.to_id();
    if id == *commit {
        return Ok(true);
    }
    let mut found = None;
    let peeled = peeled_id(|| Ok(objects), shown.id, shown.peeled, &mut found)?;
    let Some(peeled) = peeled.map(|peeled| peeled.to_id()) else { return Ok(false) };
    Ok(peeled == *commit && matches!(objects.header(&id)?, Some((Kind::Tag, _))))
}

/// A name without what every one of its kind begins with.
fn short(name: &BStr) -> BString {
    if let Some(tag) = name.strip_prefix(b"refs/tags/") {
        return [b"tag: ", tag].concat().into();
    }
    let short = name.strip_prefix(b"refs/heads/").or_else(|| name.strip_prefix(b"refs/remotes/"));
    short.map_or_else(|| name.to_owned(), BString::from)
}
