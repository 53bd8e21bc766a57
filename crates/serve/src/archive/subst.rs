//! `$Format:…$` in files that are `export-subst` (gitattributes(5), "Creating an archive").

mod decorations;
mod person;
mod placeholders;

use bstr::ByteSlice as _;
use object::{Kind, ObjectId};
use repository::Objects;

use crate::Error;
use crate::upload::refs::Refs;
use placeholders::Commit;

const OPENING: &[u8] = b"$Format:";

/// Puts facts about one commit into files.
pub(super) struct Substitution<'a> {
    commit: Commit<'a>,
}

impl<'a> Substitution<'a> {
    /// Reads the commit.
    pub fn of(
        objects: &'a Objects,
        refs: &'a Refs<'a>,
        commit: &ObjectId,
        abbreviate: Option<usize>,
    ) -> Result<Self, Error> {
        let object = objects.read_expect(commit, Kind::Commit)?;
        let parents = objects.commit(commit)?.parents;
        let commit = Commit { objects, refs, id: *commit, parents, text: object.data, abbreviate };
        Ok(Substitution { commit })
    }

    /// A content with each `$Format:…$` replaced.
    ///
    /// # Errors
    /// [`Error::Refused`] when it gets larger than `bytes_max`.
    pub fn apply(&self, content: Vec<u8>, bytes_max: u64) -> Result<Vec<u8>, Error> {
        let mut rest = content.as_slice();
        let mut out = Vec::new();
        while let Some(at) = rest.find(OPENING) {
            let inside = &rest[at + OPENING.len()..];
            let Some(end) = inside.find_byte(b'$') else { break };
            out.extend_from_slice(&rest[..at]);
            self.commit.write(&inside[..end], bytes_max, &mut out)?;
            rest = &inside[end + 1..];
        }
        if rest.len() == content.len() {
            return Ok(content);
        }
        out.extend_from_slice(rest);
        Ok(out)
    }
}
