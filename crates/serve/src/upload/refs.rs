//! The refs a fetching client may see, as it sees them.

use std::ops::ControlFlow;

use bstr::{BStr, BString};
use object::{Kind, ObjectId};
use repository::Objects;
use storage::{Peeled, RefSnapshot, RefView, TargetView};

use crate::{Error, HiddenRefs, Namespace};

/// Hops from symbolic ref to symbolic ref; git follows five.
const SYMREF_DEPTH_MAX: usize = 5;

/// One ref as it is shown.
pub(super) struct Shown<'a> {
    /// Its name inside the namespace.
    pub name: &'a BStr,
    /// The object it finally names; `None` for a HEAD whose branch does not exist.
    pub id: Option<ObjectId>,
    /// Where a symbolic ref points, inside the namespace.
    pub symref_target: Option<BString>,
    pub peeled: Peeled,
}

/// A view of the refs through a namespace and the hidden patterns.
pub(super) struct Refs<'a> {
    pub snapshot: &'a dyn RefSnapshot,
    pub namespace: &'a Namespace,
    pub hidden: &'a HiddenRefs,
}

impl Refs<'_> {
    /// HEAD, when there is one.
    pub fn head(&self) -> Result<Option<ShownHead>, Error> {
        let stored = self.namespace.stored(b"HEAD");
        let Some(head) = self.snapshot.get(stored.as_ref())? else { return Ok(None) };
        if self.hidden.hides(Some("HEAD".into()), stored.as_ref()) {
            return Ok(None);
        }
        let (id, peeled, target) = self.follow(head.target.as_view(), head.peeled)?;
        let symref_target = target.and_then(|target| self.namespace.shown(&target).map(Into::into));
        Ok(Some(ShownHead { id, symref_target, peeled }))
    }

    /// Follows symbolic refs: the object and what it peels to, and the first target's name.
    fn follow(
        &self,
        target: TargetView<'_>,
        peeled: Peeled,
    ) -> Result<(Option<ObjectId>, Peeled, Option<BString>), Error> {
        let first: BString = match target {
            TargetView::Id(id) => return Ok((Some(id), peeled, None)),
            TargetView::Symbolic(name) => name.into(),
        };
        let mut name = first.clone();
        for _ in 0..SYMREF_DEPTH_MAX {
            let Some(next) = self.snapshot.get(name.as_ref())? else { break };
            match next.target.as_view() {
                TargetView::Id(id) => return Ok((Some(id), next.peeled, Some(name))),
                TargetView::Symbolic(target) => name = target.into(),
            }
        }
        Ok((None, Peeled::Unknown, Some(name)))
    }

    /// Every visible ref under `prefix` (a name inside the namespace), in byte order.
    pub fn each(
        &self,
        prefix: &[u8],
        visit: &mut dyn FnMut(Shown<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let stored_prefix = self.namespace.stored(prefix);
        let mut failed = None;
        self.snapshot.scan(stored_prefix.as_ref(), &mut |found| match self.one(&found, visit) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        })?;
        failed.map_or(Ok(()), Err)
    }

    fn one(
        &self,
        found: &RefView<'_>,
        visit: &mut dyn FnMut(Shown<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let Some(name) = self.namespace.shown(found.name) else { return Ok(()) };
        if !self.hidden.is_empty() && self.hidden.hides(Some(name), found.name) {
            return Ok(());
        }
        match found.target {
            TargetView::Id(id) => {
                visit(Shown { name, id: Some(id), symref_target: None, peeled: found.peeled })
            }
            TargetView::Symbolic(_) => {
                let (id, peeled, target) = self.follow(found.target, found.peeled)?;
                // A dangling symbolic ref names no object: it is not shown.
                let Some(id) = id else { return Ok(()) };
                let symref_target =
                    target.and_then(|target| self.namespace.shown(&target).map(Into::into));
                visit(Shown { name, id: Some(id), symref_target, peeled })
            }
        }
    }

    /// The object a full name (inside the namespace) stands for, if it may be seen.
    pub fn resolve(&self, name: &[u8]) -> Result<Option<ObjectId>, Error> {
        let stored = self.namespace.stored(name);
        if self.hidden.hides(Some(name.into()), stored.as_ref()) {
            return Ok(None);
        }
        let Some(found) = self.snapshot.get(stored.as_ref())? else { return Ok(None) };
        Ok(self.follow(found.target.as_view(), found.peeled)?.0)
    }

    /// What a short name stands for, by the rules of gitrevisions(7).
    pub fn resolve_short(&self, name: &[u8]) -> Result<Vec<ObjectId>, Error> {
        let rules: [(&[u8], &[u8]); 6] = [
            (b"", b""),
            (b"refs/", b""),
            (b"refs/tags/", b""),
            (b"refs/heads/", b""),
            (b"refs/remotes/", b""),
            (b"refs/remotes/", b"/HEAD"),
        ];
        let mut found = Vec::new();
        for (before, after) in rules {
            let full = [before, name, after].concat();
            if object::check_ref_format(&full).is_err() && full != b"HEAD" {
                continue;
            }
            found.extend(self.resolve(&full)?);
        }
        Ok(found)
    }
}

/// HEAD as it is shown.
pub(super) struct ShownHead {
    pub id: Option<ObjectId>,
    pub symref_target: Option<BString>,
    pub peeled: Peeled,
}

/// What an annotated tag finally names; `None` for anything else. `Err` only for damage:
/// a ref to a missing object is shown without.
pub(super) fn peeled_id(
    objects: &Objects,
    id: &ObjectId,
    peeled: Peeled,
) -> Result<Option<ObjectId>, Error> {
    match peeled {
        Peeled::To(target) => Ok(Some(target)),
        Peeled::NotATag => Ok(None),
        Peeled::Unknown => match objects.header(id)? {
            Some((Kind::Tag, _)) => Ok(objects.peel(id)?.map(|(target, _)| target)),
            _ => Ok(None),
        },
    }
}
