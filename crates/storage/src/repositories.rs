//! Many repositories in one store, by name.

use std::path::Path;
use std::sync::Arc;

use gitconfig::{Config, Scope};
use object::{HashKind, RefName};

use crate::{BlobStore, Error, Parts, RefStore, Result, forks};

/// The longest name of a repository, bytes.
const NAME_BYTES_MAX: usize = 4096;

/// What a new repository begins with.
#[derive(Debug, Clone)]
pub struct NewRepository<'a> {
    /// The hash that names its objects.
    pub hash: HashKind,
    /// The branch `HEAD` points at; it need not exist.
    pub head: RefName,
    /// Its configuration, as text.
    pub config: &'a [u8],
}

/// What a store knows of a repository without opening it. Who has it open opens it anew when
/// this is another one than it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Tells it from every other the store had or will have: never given twice.
    pub number: u64,
    /// The hash that names its objects.
    pub hash: HashKind,
    /// Its configuration, as text.
    pub config: Vec<u8>,
}

/// Repositories by name. Names are paths of text without `.git`; see [`check_repository_name`].
pub trait RepositoryStore: Send + Sync {
    /// The names behind `after`, in byte order, at most `most` of them. All begin behind `""`.
    fn names(&self, after: &str, most: usize) -> Result<Vec<String>>;

    /// What is known of a repository; `None` when there is none of that name.
    fn find(&self, name: &str) -> Result<Option<Stored>>;

    /// What a repository that was found under this name has itself; see [`RepositoryStore::parts_of`].
    /// Once it has been removed, what is written to it is gone with it, whether or not that is told.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a configuration that cannot be read.
    fn own_parts(&self, name: &str, stored: &Stored) -> Result<Parts>;

    /// Makes a repository; whether there was none of that name.
    fn create(&self, name: &str, new: &NewRepository<'_>) -> Result<bool>;

    /// Gives a repository another configuration, if it still is as it was found; whether it was. Who
    /// opens it from then on has the new one.
    fn configure(&self, name: &str, found: &Stored, config: &[u8]) -> Result<bool>;

    /// Removes a repository and all that is in it; whether there was one.
    fn remove(&self, name: &str) -> Result<bool>;

    /// What a repository that was found under this name is opened from: what it has itself, and
    /// what it borrows.
    ///
    /// # Errors
    /// As [`RepositoryStore::own_parts`], and [`Error::Corrupt`] when a lender is not there.
    fn parts_of(&self, name: &str, stored: &Stored) -> Result<Parts> {
        forks::with_lenders(name, self.own_parts(name, stored)?, &mut |lender| {
            self.find(lender)?.map(|stored| self.own_parts(lender, &stored)).transpose()
        })
    }

    /// What a repository is opened from; `None` when there is none of that name.
    ///
    /// # Errors
    /// Those of the store, and [`Error::Corrupt`] for a configuration that cannot be read.
    fn parts(&self, name: &str) -> Result<Option<Parts>> {
        self.find(name)?.map(|stored| self.parts_of(name, &stored)).transpose()
    }
}

impl Stored {
    /// Puts refs and blobs together with what is known of the repository.
    ///
    /// # Errors
    /// [`Error::Corrupt`] for a configuration that cannot be read.
    pub fn parts(
        &self,
        name: &str,
        refs: Arc<dyn RefStore>,
        blobs: Arc<dyn BlobStore>,
    ) -> Result<Parts> {
        let config = Config::parse(&self.config, Scope::Local, Path::new(name))
            .map_err(|error| Error::corrupt(name, error))?;
        Ok(Parts::alone(refs, blobs, config, self.hash))
    }
}

/// Refuses names that no store can keep, or that could be taken for another.
///
/// A name is one or more parts with `/` between them, none of them empty, `.` or `..`, and no
/// part ends with `.git`.
///
/// # Errors
/// [`Error::InvalidName`].
pub fn check_repository_name(name: &str) -> Result<()> {
    let part_is_fine = |part: &str| {
        !matches!(part, "" | "." | "..")
            && !part.ends_with(".git")
            && !part.bytes().any(|byte| byte.is_ascii_control())
    };
    match name.len() <= NAME_BYTES_MAX && name.split('/').all(part_is_fine) {
        true => Ok(()),
        false => Err(Error::InvalidName { what: name.chars().take(100).collect() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_paths_without_surprises() {
        for good in ["a", "group/project", "Über/straße", "a.gitx", "-"] {
            check_repository_name(good).expect(good);
        }
        let long = "a".repeat(NAME_BYTES_MAX + 1);
        for bad in ["", "/a", "a/", "a//b", "a/../b", ".", "a.git", "a.git/b", "a\nb", "a\0", &long]
        {
            assert!(
                matches!(check_repository_name(bad), Err(Error::InvalidName { .. })),
                "{bad:?}"
            );
        }
    }
}
