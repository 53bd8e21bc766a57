//! What is archived, from the name a client gave it.
//!
//! As git has it, a client names a ref, or what lies at a path in it, and nothing else, so that
//! nothing comes out that a fetch would not give. `uploadArchive.allowUnreachable` lifts that
//! (git-upload-archive(1), "SECURITY"); then any name of gitrevisions(7) is taken that leads to an
//! object by itself: ids, also short ones, refs, `^N`, `~N`, `^{KIND}`, `:PATH`.

use bstr::{BStr, ByteSlice as _};
use object::{Kind, ObjectId, TreeIter};
use repository::{Objects, PREFIX_DIGITS_MIN};

use crate::Error;
use crate::upload::refs::Refs;

/// What was found by a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    /// The root of the archive.
    pub tree: ObjectId,
    /// The commit, if it is one.
    pub commit: Option<ObjectId>,
}

/// Commits passed for one `~N`.
const STEPS_MAX: u64 = 1_000_000;

/// Finds a tree.
///
/// # Errors
/// [`Error::Refused`] in git's words when the name means nothing or must not be used.
pub(super) fn find(
    objects: &Objects,
    refs: &Refs<'_>,
    name: &BStr,
    any: bool,
) -> Result<Found, Error> {
    let (revision, path) = split(name);
    let start = match any {
        true => expression(objects, refs, revision)?.ok_or_else(|| invalid(name))?,
        false => match of_ref(refs, revision)? {
            Some(id) => id,
            None => {
                let words = format!("no such ref: {}", revision.as_bstr());
                return Err(Error::Refused(words));
            }
        },
    };
    let id = match path {
        None => start,
        Some(path) => {
            let root = tree_of(objects, &start)?.ok_or_else(|| invalid(name))?;
            at_path(objects, &root, path)?.ok_or_else(|| invalid(name))?
        }
    };
    let commit = match objects.peel(&id)? {
        Some((commit, Kind::Commit)) => Some(commit),
        _ => None,
    };
    let words = || Error::Refused(format!("not a tree object: {id}"));
    Ok(Found { tree: tree_of(objects, &id)?.ok_or_else(words)?, commit })
}

fn invalid(name: &BStr) -> Error {
    Error::Refused(format!("not a valid object name: {name}"))
}

/// `REVISION:PATH`, where a colon inside of braces is none.
fn split(name: &[u8]) -> (&[u8], Option<&[u8]>) {
    let mut depth = 0;
    for (at, byte) in name.iter().enumerate() {
        match byte {
            b'{' => depth += 1,
            b'}' if depth > 0 => depth -= 1,
            b':' if depth == 0 => return (&name[..at], Some(&name[at + 1..])),
            _ => {}
        }
    }
    (name, None)
}

/// What a ref that may be seen stands for, by its name or a short form of it.
fn of_ref(refs: &Refs<'_>, name: &[u8]) -> Result<Option<ObjectId>, Error> {
    let name = if name == b"@" { b"HEAD" } else { name };
    Ok(refs.resolve_short(name)?.into_iter().next())
}

/// An object by an expression.
fn expression(objects: &Objects, refs: &Refs<'_>, text: &[u8]) -> Result<Option<ObjectId>, Error> {
    let end = text.iter().position(|byte| matches!(byte, b'^' | b'~')).unwrap_or(text.len());
    let (base, mut steps) = text.split_at(end);
    let Some(mut id) = base_of(objects, refs, base)? else { return Ok(None) };
    while let Some((kind, rest)) = steps.split_first() {
        let next = match (kind, rest) {
            (b'^', [b'{', braced @ ..]) => {
                let Some((wanted, rest)) = braced.split_once_str("}") else { return Ok(None) };
                steps = rest;
                of_kind(objects, &id, wanted)?
            }
            (kind, rest) => {
                let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
                let (number, rest) = rest.split_at(digits);
                steps = rest;
                let number = match number {
                    b"" => Some(1),
                    digits => digits.to_str().ok().and_then(|digits| digits.parse().ok()),
                };
                match (kind, number) {
                    (b'^', Some(number)) => parent(objects, &id, number)?,
                    (b'~', Some(number)) => ancestor(objects, &id, number)?,
                    _ => None,
                }
            }
        };
        let Some(next) = next else { return Ok(None) };
        id = next;
    }
    Ok(Some(id))
}

fn base_of(objects: &Objects, refs: &Refs<'_>, base: &[u8]) -> Result<Option<ObjectId>, Error> {
    if let Some(id) = ObjectId::from_hex_of(&base.to_ascii_lowercase(), objects.hash()) {
        return Ok(objects.contains(&id)?.then_some(id));
    }
    if let Some(id) = of_ref(refs, base)? {
        return Ok(Some(id));
    }
    match base.len() >= PREFIX_DIGITS_MIN && base.iter().all(u8::is_ascii_hexdigit) {
        true => Ok(objects.by_prefix(base)?.ok()),
        false => Ok(None),
    }
}

fn of_kind(objects: &Objects, id: &ObjectId, wanted: &[u8]) -> Result<Option<ObjectId>, Error> {
    let peeled = objects.peel(id)?;
    Ok(match (wanted, peeled) {
        (b"tree", _) => tree_of(objects, id)?,
        (b"", Some((peeled, _))) => Some(peeled),
        (b"commit", Some((peeled, Kind::Commit))) => Some(peeled),
        (b"blob", Some((peeled, Kind::Blob))) => Some(peeled),
        (b"object", Some(_)) => Some(*id),
        (b"tag", Some(_)) => {
            objects.header(id)?.filter(|(kind, _)| *kind == Kind::Tag).map(|_| *id)
        }
        _ => None,
    })
}

fn parent(objects: &Objects, id: &ObjectId, number: u64) -> Result<Option<ObjectId>, Error> {
    let Some((commit, Kind::Commit)) = objects.peel(id)? else { return Ok(None) };
    let Some(at) = number.checked_sub(1) else { return Ok(Some(commit)) };
    let parents = objects.commit(&commit)?.parents;
    Ok(usize::try_from(at).ok().and_then(|at| parents.get(at).copied()))
}

fn ancestor(objects: &Objects, id: &ObjectId, steps: u64) -> Result<Option<ObjectId>, Error> {
    let Some((mut commit, Kind::Commit)) = objects.peel(id)? else { return Ok(None) };
    if steps > STEPS_MAX {
        return Ok(None);
    }
    for _ in 0..steps {
        match objects.commit(&commit)?.parents.first() {
            Some(parent) => commit = *parent,
            None => return Ok(None),
        }
    }
    Ok(Some(commit))
}

/// The tree of a commit, of what a tag names, or a tree itself.
fn tree_of(objects: &Objects, id: &ObjectId) -> Result<Option<ObjectId>, Error> {
    Ok(match objects.peel(id)? {
        Some((commit, Kind::Commit)) => Some(objects.commit(&commit)?.tree),
        Some((tree, Kind::Tree)) => Some(tree),
        _ => None,
    })
}

/// What lies at a path in a tree; the tree itself at an empty one.
pub(super) fn at_path(
    objects: &Objects,
    root: &ObjectId,
    path: &[u8],
) -> Result<Option<ObjectId>, Error> {
    let mut id = *root;
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let mut is_tree = true;
    for part in path.split_str("/").filter(|_| !path.is_empty()) {
        if !is_tree {
            return Ok(None);
        }
        let tree = objects.read_expect(&id, Kind::Tree)?;
        let mut entries = TreeIter::new(&tree.data, objects.hash());
        let found = entries.find_map(|entry| entry.ok().filter(|entry| entry.name == part));
        let Some(entry) = found else { return Ok(None) };
        (id, is_tree) = (entry.oid(objects.hash()), entry.mode.is_tree());
    }
    Ok(Some(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_colon_in_braces_is_none() {
        assert_eq!(split(b"HEAD"), (&b"HEAD"[..], None));
        assert_eq!(split(b"HEAD:a:b"), (&b"HEAD"[..], Some(&b"a:b"[..])));
        assert_eq!(split(b"v1^{/a:b}:c"), (&b"v1^{/a:b}"[..], Some(&b"c"[..])));
        assert_eq!(split(b"a}:b"), (&b"a}"[..], Some(&b"b"[..])));
    }
}
