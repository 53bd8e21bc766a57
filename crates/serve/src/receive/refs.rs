//! Following symbolic refs: a push to a symbolic ref changes what it points at.

use bstr::{BStr, BString};
use object::ObjectId;
use storage::{Error, RefSnapshot, Target};

/// How many symbolic refs may follow each other, as in git.
const SYMBOLIC_DEPTH_MAX: usize = 5;

/// The end of a chain of symbolic refs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resolved {
    /// The ref at the end; it need not exist.
    pub name: BString,
    /// What it names, when it exists.
    pub id: Option<ObjectId>,
    /// Whether the ref asked for was symbolic.
    pub symbolic: bool,
}

/// Follows a ref to its end; `None` when the chain has none.
pub(super) fn resolve(snapshot: &dyn RefSnapshot, name: &BStr) -> Result<Option<Resolved>, Error> {
    let mut name = name.to_owned();
    for depth in 0..SYMBOLIC_DEPTH_MAX {
        let symbolic = depth > 0;
        match snapshot.get(name.as_ref())?.map(|found| found.target) {
            Some(Target::Symbolic(target)) => name = target.as_bstr().to_owned(),
            Some(Target::Id(id)) => return Ok(Some(Resolved { name, id: Some(id), symbolic })),
            None => return Ok(Some(Resolved { name, id: None, symbolic })),
        }
    }
    Ok(None)
}
