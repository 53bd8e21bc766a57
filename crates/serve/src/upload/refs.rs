//! The refs a fetching client may see, as it sees them.

use std::ops::ControlFlow;

use bstr::{BStr, BString};
use object::{IdView, Kind, ObjectId};
use repository::Objects;
use storage::{Peeled, PeeledView, RefSnapshot, RefView, Target, TargetView};

use crate::{Error, HiddenRefs, Namespace};

/// Hops from symbolic ref to symbolic ref; git follows five.
const SYMREF_DEPTH_MAX: usize = 5;

/// One ref as it is shown.
pub(crate) struct Shown<'a> {
    /// Its name inside the namespace.
    pub name: &'a BStr,
    /// The object it finally names.
    pub id: IdView<'a>,
    /// Where a symbolic ref points, inside the namespace.
    pub symref_target: Option<&'a BStr>,
    pub peeled: PeeledView<'a>,
}

/// A view of the refs through a namespace and the hidden patterns.
pub(crate) struct Refs<'a> {
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
        let (id, peeled, symref_target) = match head.target {
            Target::Id(id) => (Some(id), head.peeled, None),
            Target::Symbolic(first) => {
                let (id, peeled, last) = self.follow(first.as_bstr())?;
                (id, peeled, self.namespace.shown(&last).map(Into::into))
            }
        };
        Ok(Some(ShownHead { id, symref_target, peeled }))
    }

    /// Follows symbolic refs from `first` on: the object, if there is one, what it peels to,
    /// and the last name.
    fn follow(&self, first: &BStr) -> Result<(Option<ObjectId>, Peeled, BString), Error> {
        let mut name = first.to_owned();
        for _ in 0..SYMREF_DEPTH_MAX {
            let Some(next) = self.snapshot.get(name.as_ref())? else { break };
            match next.target {
                Target::Id(id) => return Ok((Some(id), next.peeled, name)),
                Target::Symbolic(target) => name = target.into_inner(),
            }
        }
        Ok((None, Peeled::Unknown, name))
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
                visit(Shown { name, id, symref_target: None, peeled: found.peeled })
            }
            TargetView::Symbolic(first) => {
                let (id, peeled, last) = self.follow(first)?;
                // A dangling symbolic ref names no object: it is not shown.
                let Some(id) = id else { return Ok(()) };
                let symref_target = self.namespace.shown(&last);
                let (id, peeled) = ((&id).into(), (&peeled).into());
                visit(Shown { name, id, symref_target, peeled })
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
        match found.target {
            Target::Id(id) => Ok(Some(id)),
            Target::Symbolic(first) => Ok(self.follow(first.as_bstr())?.0),
        }
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
pub(crate) struct ShownHead {
    pub id: Option<ObjectId>,
    pub symref_target: Option<BString>,
    pub peeled: Peeled,
}

/// What an annotated tag finally names; `None` for anything else. `Err` only for damage:
/// a ref to a missing object is shown without. What has to be looked up is kept in `found`.
pub(crate) fn peeled_id<'a, 'o>(
    objects: impl FnOnce() -> Result<&'o Objects, Error>,
    id: IdView<'_>,
    peeled: PeeledView<'a>,
    found: &'a mut Option<ObjectId>,
) -> Result<Option<IdView<'a>>, Error> {
    match peeled {
        PeeledView::To(target) => Ok(Some(target)),
        PeeledView::NotATag => Ok(None),
        PeeledView::Unknown => {
            let (id, objects) = (id.to_id(), objects()?);
            match objects.header(&id)? {
                Some((Kind::Tag, _)) => {
                    *found = objects.peel(&id)?.map(|(target, _)| target);
                    Ok(found.as_ref().map(IdView::from))
                }
                _ => Ok(None),
            }
        }
    }
}
