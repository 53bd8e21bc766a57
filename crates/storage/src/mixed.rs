//! Refs in one store, objects in another.
//!
//! The store of refs says which repositories there are. With each it keeps a *claim*, a random text
//! that the objects have, too: objects that some other store of refs claims are never touched,
//! however the two were put together.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use gitconfig::{Config, Scope};
use object::{HashKind, RefName};

use crate::{BlobStore, Error, NewRepository, Parts, RepositoryStore, Result, Stored};

/// Objects directories by the names of repositories and their claims.
pub trait ObjectsStore: Send + Sync {
    /// Makes an objects directory; whether there was none.
    ///
    /// # Errors
    /// [`Error::Refused`] when the name's objects have another claim.
    fn create(&self, name: &str, hash: HashKind, claim: &str) -> Result<bool>;

    /// An objects directory; `None` when there is none.
    ///
    /// # Errors
    /// [`Error::Refused`] when the name's objects have another claim.
    fn open(&self, name: &str, claim: &str) -> Result<Option<Objects>>;

    /// Removes an objects directory that has this claim; whether there was one.
    fn remove(&self, name: &str, claim: &str) -> Result<bool>;
}

/// An objects directory that was found.
pub struct Objects {
    /// The directory.
    pub blobs: Arc<dyn BlobStore>,
    /// Those it borrows from.
    pub alternates: Vec<Arc<dyn BlobStore>>,
}

/// In the configuration of a repository: its claim.
const CLAIM_KEY: &str = "packhorse.objects";

/// What stands before and behind it.
const CLAIM_LINES: (&str, &str) = ("\n[packhorse]\n\tobjects = ", "\n");

/// A configuration with a claim at its end.
pub fn with_claim(config: &[u8], claim: &str) -> Vec<u8> {
    let (before, behind) = CLAIM_LINES;
    [config, before.as_bytes(), claim.as_bytes(), behind.as_bytes()].concat()
}

/// The claim in a configuration.
///
/// # Errors
/// [`Error::Corrupt`] when it cannot be read, or has none.
pub fn claim_in(config: &[u8], name: &str) -> Result<String> {
    let parsed = Config::parse(config, Scope::Local, Path::new(name));
    let parsed = parsed.map_err(|error| Error::corrupt(name, error))?;
    let claim = parsed.string(CLAIM_KEY).map(|claim| claim.to_string());
    claim.ok_or_else(|| Error::corrupt(name, "its configuration names no objects in another store"))
}

/// The objects of a store of repositories: their refs stay as they were made.
pub struct ObjectsOf(pub Arc<dyn RepositoryStore>);

impl ObjectsStore for ObjectsOf {
    fn create(&self, name: &str, hash: HashKind, claim: &str) -> Result<bool> {
        let head = RefName::new("refs/heads/elsewhere").expect("a valid name");
        let new = NewRepository { hash, head, config: &with_claim(b"", claim) };
        Ok(self.0.create(name, &new)? || self.open(name, claim)?.is_none())
    }

    fn open(&self, name: &str, claim: &str) -> Result<Option<Objects>> {
        let Some(stored) = self.0.find(name)? else { return Ok(None) };
        if claim_in(&stored.config, name).ok().as_deref() != Some(claim) {
            return Err(claimed_by_another(name));
        }
        let parts = self.0.own_parts(name, &stored)?;
        Ok(Some(Objects { blobs: parts.blobs, alternates: parts.alternates }))
    }

    fn remove(&self, name: &str, claim: &str) -> Result<bool> {
        match self.0.find(name)? {
            Some(stored) if claim_in(&stored.config, name)? == claim => self.0.remove(name),
            _ => Ok(false),
        }
    }
}

fn claimed_by_another(name: &str) -> Error {
    Error::Refused {
        what: name.to_owned(),
        detail: format!(
            "the objects called '{name}' belong to other refs than these: two configurations claim \
             one repository, or it was removed and its objects were left; if nothing uses them, \
             remove them from their store"
        ),
    }
}

/// Repositories whose refs are in one store and whose objects are in another.
pub struct MixedStore {
    refs: Arc<dyn RepositoryStore>,
    objects: Arc<dyn ObjectsStore>,
}

impl MixedStore {
    /// Puts both together.
    pub fn new(refs: Arc<dyn RepositoryStore>, objects: Arc<dyn ObjectsStore>) -> Self {
        MixedStore { refs, objects }
    }

    /// A repository as its refs' store has it, and its claim.
    fn claimed(&self, name: &str) -> Result<Option<(Stored, String)>> {
        let Some(stored) = self.refs.find(name)? else { return Ok(None) };
        let claim = claim_in(&stored.config, name)?;
        Ok(Some((without_claim(stored, &claim), claim)))
    }
}

/// The inverse of [`with_claim`].
fn without_claim(mut stored: Stored, claim: &str) -> Stored {
    if let Some(own) = stored.config.strip_suffix(&*with_claim(b"", claim)) {
        stored.config = own.to_vec();
    }
    stored
}

/// A text that nobody else has: the keys of each hasher are random, and 128 bits of them are kept.
fn new_claim() -> String {
    let half = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}", half(), RandomState::new().hash_one(std::process::id()) ^ half())
}

impl RepositoryStore for MixedStore {
    fn names(&self, after: &str, most: usize) -> Result<Vec<String>> {
        self.refs.names(after, most)
    }

    fn find(&self, name: &str) -> Result<Option<Stored>> {
        Ok(self.claimed(name)?.map(|(stored, _)| stored))
    }

    fn own_parts(&self, name: &str, stored: &Stored) -> Result<Parts> {
        let gone = || Error::not_found(format!("the repository '{name}', which was removed"));
        let (now, claim) = self.claimed(name)?.ok_or_else(gone)?;
        if now.number != stored.number {
            return Err(gone());
        }
        let parts = self.refs.own_parts(name, stored)?;
        let mut objects = self.objects.open(name, &claim)?;
        if objects.is_none() {
            // Whoever made the repository did not get this far. One with refs has lost its objects.
            let mut is_fresh = true;
            parts.refs.snapshot()?.scan("refs/".into(), &mut |_| {
                is_fresh = false;
                ControlFlow::Break(())
            })?;
            if is_fresh {
                self.objects.create(name, stored.hash, &claim)?;
                objects = self.objects.open(name, &claim)?;
            }
        }
        let missing = || Error::corrupt(name, "its objects are not in the store of objects");
        let objects = objects.ok_or_else(missing)?;
        Ok(Parts { blobs: objects.blobs, alternates: objects.alternates, local: None, ..parts })
    }

    fn create(&self, name: &str, new: &NewRepository<'_>) -> Result<bool> {
        let claim = new_claim();
        let config = with_claim(new.config, &claim);
        // Who makes the refs has made the repository.
        if !self.refs.create(name, &NewRepository { config: &config, ..new.clone() })? {
            return Ok(false);
        }
        match self.objects.create(name, new.hash, &claim) {
            // Nobody can have used it: whoever opens it is refused like this.
            Err(error @ Error::Refused { .. }) => {
                self.refs.remove(name)?;
                Err(error)
            }
            // Whoever opens it next makes them.
            Err(error) => Err(error),
            Ok(_) => Ok(true),
        }
    }

    fn configure(&self, name: &str, found: &Stored, config: &[u8]) -> Result<bool> {
        let Some(with) = self.refs.find(name)? else { return Ok(false) };
        let claim = claim_in(&with.config, name)?;
        match without_claim(with.clone(), &claim) == *found {
            true => self.refs.configure(name, &with, &with_claim(config, &claim)),
            false => Ok(false),
        }
    }

    fn remove(&self, name: &str) -> Result<bool> {
        let Some((_, claim)) = self.claimed(name)? else { return Ok(false) };
        if !self.refs.remove(name)? {
            return Ok(false);
        }
        self.objects.remove(name, &claim)?;
        Ok(true)
    }
}
