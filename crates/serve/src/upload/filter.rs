//! The filter of a partial clone: what it names here, and what it says about the client.

use bstr::BString;
use object::{Kind, ObjectId};
use repository::SparsePatterns;
use wire::FetchRequest;

use super::fetch::Fetch;
use crate::Error;

impl Fetch<'_> {
    /// The filter of a request, with the blob of patterns it may name.
    pub(super) fn filter(&self, filter: &wire::Filter) -> Result<repository::Filter, Error> {
        use repository::Filter;
        Ok(match filter {
            wire::Filter::BlobNone => Filter::BlobNone,
            wire::Filter::BlobLimit(limit) => Filter::BlobLimit(*limit),
            wire::Filter::TreeDepth(depth) => Filter::TreeDepth(*depth),
            wire::Filter::ObjectType(kind) => Filter::ObjectType(*kind),
            wire::Filter::SparseOid(name) => Filter::Sparse(self.sparse_patterns(name)?),
            wire::Filter::Combine(parts) => {
                let parts = parts.iter().map(|part| self.filter(part));
                Filter::Combine(parts.collect::<Result<_, _>>()?)
            }
        })
    }

    fn sparse_patterns(&self, name: &BString) -> Result<SparsePatterns, Error> {
        let no_access = || Error::Refused(format!("unable to access sparse blob in '{name}'"));
        let id = self.object_by_name(name)?.ok_or_else(no_access)?;
        let object = self.objects.read(&id)?.ok_or_else(no_access)?;
        if object.kind != Kind::Blob {
            let words = format!("unable to parse sparse filter data in {id}");
            return Err(Error::Refused(words));
        }
        Ok(SparsePatterns::parse(&object.data))
    }

    /// An object by its id, a ref's name, or `<commit>:<path>`.
    fn object_by_name(&self, name: &[u8]) -> Result<Option<ObjectId>, Error> {
        let hash = self.objects.hash();
        let by_id_or_ref = |name: &[u8]| -> Result<Option<ObjectId>, Error> {
            match ObjectId::from_hex_of(name, hash) {
                Some(id) => Ok(Some(id)),
                None => Ok(self.refs.resolve_short(name)?.first().copied()),
            }
        };
        let Some(colon) = name.iter().position(|&byte| byte == b':') else {
            return by_id_or_ref(name);
        };
        let Some(start) = by_id_or_ref(&name[..colon])? else { return Ok(None) };
        let mut id = match self.objects.peel(&start)? {
            Some((id, Kind::Commit)) => self.objects.commit(&id)?.tree,
            Some((id, Kind::Tree)) => id,
            _ => return Ok(None),
        };
        for part in name[colon + 1..].split(|&byte| byte == b'/').filter(|part| !part.is_empty()) {
            let tree = self.objects.read_expect(&id, Kind::Tree)?;
            let entry = object::TreeIter::new(&tree.data, hash)
                .filter_map(Result::ok)
                .find(|entry| entry.name == part);
            match entry {
                Some(entry) => id = entry.oid(hash),
                None => return Ok(None),
            }
        }
        Ok(Some(id))
    }

    /// Whether the client has every object that counts as known to it, so that deltas may
    /// build on them. A partial clone lacks what its filter leaves out: with `blob:none`
    /// that is every blob, and none is sent unless asked for by its id; other filters
    /// leave out objects of a kind that is sent too.
    pub(super) fn holds_whole_known_objects(&self, request: &FetchRequest) -> Result<bool, Error> {
        match &request.filter {
            None => return Ok(true),
            Some(wire::Filter::BlobNone) => {}
            Some(_) => return Ok(false),
        }
        for want in &request.wants {
            if let Some((Kind::Blob | Kind::Tree, _)) = self.objects.header(want)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
