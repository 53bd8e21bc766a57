//! Directory/file conflicts: `refs/a` and `refs/a/b` cannot exist together, because
//! git keeps a ref in a file of its name. Every store refuses them, files or not.

use bstr::{BStr, ByteSlice as _};
use object::{HashKind, RefName};

use crate::{Change, CommitError, Error, RefEdit, Result, Target};

/// The names that would have to be directories for `name` to exist: of `refs/a/b/c`,
/// `refs/a` and `refs/a/b`. `refs` itself is no ref name and left out.
pub fn prefixes_of(name: &BStr) -> impl Iterator<Item = &BStr> {
    name.find_iter("/").skip(1).map(|at| name[..at].as_bstr())
}

/// Verifies a transaction's edits against each other: no ref twice, and none inside another.
///
/// As git, it also refuses to delete `refs/a` and create `refs/a/b` in one transaction.
pub fn check_edits(edits: &[RefEdit]) -> Result<(), CommitError> {
    let mut names: Vec<&RefName> = edits.iter().map(|edit| &edit.name).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(CommitError::EditConflict { name: pair[0].clone(), with: pair[1].clone() });
    }
    for name in &names {
        for prefix in prefixes_of(name.as_bstr()) {
            let found = names.binary_search_by(|other| other.as_bstr().cmp(prefix));
            if let Ok(at) = found {
                let (name, with) = ((*name).clone(), names[at].clone());
                return Err(CommitError::EditConflict { name, with });
            }
        }
    }
    Ok(())
}

/// Refuses edits by which a ref would hold the null id, or an id of another hash.
///
/// # Errors
/// [`Error::Corrupt`], which names the ref.
pub fn check_ids(edits: &[RefEdit], hash: HashKind) -> Result<()> {
    for edit in edits {
        if let Change::Update(Target::Id(id)) = &edit.change
            && (id.is_null() || id.kind() != hash)
        {
            return Err(Error::corrupt(&edit.name, format!("cannot point at {id}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Expected, Peeled};

    fn deletes(names: &[&str]) -> Vec<RefEdit> {
        let edit = |name: &&str| RefEdit {
            name: RefName::new(name).expect("valid"),
            expected: Expected::MustNotExist,
            change: Change::Delete,
            peeled: Peeled::Unknown,
            reflog: None,
        };
        names.iter().map(edit).collect()
    }

    #[test]
    fn prefixes_leave_out_refs_and_the_name_itself() {
        let prefixes: Vec<_> = prefixes_of(b"refs/a/b/c".as_bstr()).collect();
        assert_eq!(prefixes, ["refs/a", "refs/a/b"]);
        assert_eq!(prefixes_of(b"HEAD".as_bstr()).count(), 0);
    }

    #[test]
    fn refuses_twins_and_nesting_also_across_siblings_that_sort_between() {
        check_edits(&deletes(&["refs/heads/a", "refs/heads/a-b", "refs/heads/ab"])).expect("fine");
        let said = |names: &[&str]| check_edits(&deletes(names)).expect_err("refused").to_string();
        assert_eq!(
            said(&["refs/heads/a", "refs/heads/a"]),
            "multiple updates for ref 'refs/heads/a' not allowed"
        );
        assert_eq!(
            said(&["refs/heads/a/x/y", "refs/heads/a-b", "refs/heads/a"]),
            "cannot lock ref 'refs/heads/a/x/y': cannot process 'refs/heads/a/x/y' and \
             'refs/heads/a' at the same time"
        );
    }
}
