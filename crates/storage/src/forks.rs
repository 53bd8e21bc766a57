//! Repositories that borrow objects of others in the same store.
//!
//! A borrower has the file `info/alternates`, as on a disk, with the path from its objects directory to
//! that of the lender: a copy of the store, file by file, is what git reads. Its configuration says
//! `packhorse.borrows`, so that nobody looks for the file where there is none. A lender has the file
//! `info/borrowers`, one name in each line, and maintenance drops none of its objects as long as it has.

use bstr::ByteSlice as _;

use crate::{BlobStore, Error, Parts, Result, check_repository_name};

/// In the configuration of a repository: it may have `info/alternates`.
pub const BORROWS_KEY: &str = "packhorse.borrows";

/// The file that names lenders.
pub const ALTERNATES: &str = "info/alternates";

/// The file that names borrowers.
pub const BORROWERS: &str = "info/borrowers";

/// How deep lenders may borrow themselves (git's limit).
pub const NESTING_MAX: usize = 5;

/// The line of `info/alternates` by which one repository borrows from another.
pub fn alternates_line(borrower: &str, lender: &str) -> String {
    format!("{}{lender}.git/objects\n", way_up(borrower))
}

/// From a repository's objects directory to that of all repositories.
fn way_up(name: &str) -> String {
    "../".repeat(name.split('/').count() + 1)
}

/// The lenders a repository's `info/alternates` names.
///
/// # Errors
/// [`Error::Corrupt`] for a line that leads to no repository of the store.
pub fn lenders(name: &str, blobs: &dyn BlobStore) -> Result<Vec<String>> {
    let text = match blobs.read(ALTERNATES, 0..u64::MAX) {
        Err(Error::NotFound { .. }) => return Ok(Vec::new()),
        text => text?,
    };
    let lender = |line: &[u8]| {
        let path = std::str::from_utf8(line).ok()?.strip_prefix(&way_up(name))?;
        let lender = path.strip_suffix(".git/objects")?;
        check_repository_name(lender).is_ok().then(|| lender.to_owned())
    };
    let damaged = || Error::corrupt(name, format!("{ALTERNATES} names no repository of the store"));
    text.lines()
        .filter(|line| !line.is_empty())
        .map(|line| lender(line).ok_or_else(damaged))
        .collect()
}

/// Who borrows from a repository.
///
/// # Errors
/// Those of the store.
pub fn borrowers(blobs: &dyn BlobStore) -> Result<Vec<String>> {
    match blobs.read(BORROWERS, 0..u64::MAX) {
        Err(Error::NotFound { .. }) => Ok(Vec::new()),
        text => Ok(text?.lines().map(|line| line.to_str_lossy().into_owned()).collect()),
    }
}

/// Adds what a repository borrows, and what its lenders borrow; `open` gives the lenders' own parts.
///
/// # Errors
/// [`Error::Corrupt`] when a lender is not there: the borrower is not whole without it.
pub(crate) fn with_lenders(
    name: &str,
    mut parts: Parts,
    open: &mut dyn FnMut(&str) -> Result<Option<Parts>>,
) -> Result<Parts> {
    if !borrows(name, &parts)? {
        return Ok(parts);
    }
    let finds_itself = !parts.alternates.is_empty();
    let mut seen = vec![name.to_owned()];
    let mut due: Vec<(String, usize)> =
        lenders(name, &*parts.blobs)?.into_iter().map(|lender| (lender, 1)).collect();
    while let Some((lender, depth)) = due.pop() {
        if seen.contains(&lender) {
            continue;
        }
        if depth > NESTING_MAX {
            let what = format!("it borrows through more than {NESTING_MAX} others");
            return Err(Error::corrupt(name, what));
        }
        let missing = || {
            Error::corrupt(name, format!("it borrows objects of '{lender}', which is not there"))
        };
        let own = open(&lender)?.ok_or_else(missing)?;
        if own.hash != parts.hash {
            return Err(Error::corrupt(name, format!("'{lender}' names objects by another hash")));
        }
        if borrows(&lender, &own)? {
            due.extend(lenders(&lender, &*own.blobs)?.into_iter().map(|next| (next, depth + 1)));
        }
        // A folder finds out by itself.
        if !finds_itself {
            parts.alternates.push(own.blobs);
        }
        parts.alternate_refs.push(own.refs);
        seen.push(lender);
    }
    Ok(parts)
}

fn borrows(name: &str, parts: &Parts) -> Result<bool> {
    let set = parts.config.bool(BORROWS_KEY).map_err(|error| Error::corrupt(name, error))?;
    Ok(set.unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;
    use crate::MemoryBlobs;

    #[test]
    fn lenders_are_named_as_git_names_them() {
        let put = |text: &str| {
            let blobs = MemoryBlobs::new();
            let mut stage = blobs.stage().expect("a stage");
            let mut file = stage.create(ALTERNATES).expect("new");
            file.write_all(text.as_bytes()).expect("written");
            file.finish().expect("finished");
            stage.publish().expect("published");
            blobs
        };
        assert_eq!(alternates_line("a", "b/c"), "../../b/c.git/objects\n");
        assert_eq!(alternates_line("x/y/a", "b"), "../../../../b.git/objects\n");
        let line = alternates_line("x/a", "b/c") + &alternates_line("x/a", "d");
        assert_eq!(lenders("x/a", &put(&line)).expect("fine"), ["b/c", "d"]);
        assert_eq!(lenders("a", &MemoryBlobs::new()).expect("none"), Vec::<String>::new());
        for bad in [
            "/srv/b.git/objects\n",
            "../../b.git/objects\n",
            "../../../../b.git/objects\n",
            "../../../b/objects\n",
        ] {
            assert!(matches!(lenders("x/a", &put(bad)), Err(Error::Corrupt { .. })), "{bad}");
        }
    }
}
