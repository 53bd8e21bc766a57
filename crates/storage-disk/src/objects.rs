//! Objects directories of repositories whose refs are elsewhere, in one folder.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use object::HashKind;
use storage::{Error, Objects, ObjectsStore, Result, check_repository_name, with_claim};

use crate::init::init_bare_with;
use crate::open::{OpenOptions, open};

/// How many characters of a claim are in a directory's name.
const CLAIM_SHOWN: usize = 8;

/// Each objects directory is that of a bare repository, `NAME-CLAIM.git`, with a `HEAD` and no refs. It is
/// marked as precious, so that git never takes its objects for unreachable.
pub struct FolderObjects {
    root: PathBuf,
    options: OpenOptions,
}

impl FolderObjects {
    /// Objects below a directory, which is made when there is none.
    ///
    /// # Errors
    /// Those of the system.
    pub fn new(root: &Path, options: OpenOptions) -> Result<Self> {
        fs::create_dir_all(root).map_err(|source| Error::io(root.display(), source))?;
        let root = root.canonicalize().map_err(|source| Error::io(root.display(), source))?;
        Ok(FolderObjects { root, options })
    }

    /// A name made of a name and a claim cannot be made of others: the last part has one length.
    fn directory(&self, name: &str, claim: &str) -> Result<PathBuf> {
        check_repository_name(name)?;
        let is_fine = claim.len() > CLAIM_SHOWN && claim.bytes().all(|b| b.is_ascii_alphanumeric());
        if !is_fine {
            return Err(Error::corrupt(
                name,
                format!("{claim:?} is not who its objects belong to"),
            ));
        }
        Ok(self.root.join(format!("{name}-{}.git", &claim[..CLAIM_SHOWN])))
    }
}

impl ObjectsStore for FolderObjects {
    fn create(&self, name: &str, hash: HashKind, claim: &str) -> Result<bool> {
        let directory = self.directory(name, claim)?;
        if let Some(parent) = directory.parent() {
            fs::create_dir_all(parent).map_err(|source| Error::io(parent.display(), source))?;
        }
        let extension = match hash {
            HashKind::Sha1 => String::new(),
            other => format!("\tobjectFormat = {}\n", other.name()),
        };
        let config = format!(
            "[core]\n\trepositoryFormatVersion = 1\n\tbare = true\n\
             [extensions]\n\tpreciousObjects = true\n{extension}"
        );
        let config = with_claim(config.as_bytes(), claim);
        match init_bare_with(&directory, hash, "elsewhere", Some(&config)) {
            Ok(()) => Ok(true),
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::AlreadyExists => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn open(&self, name: &str, claim: &str) -> Result<Option<Objects>> {
        let directory = self.directory(name, claim)?;
        if !directory.is_dir() {
            return Ok(None);
        }
        let parts = open(&directory, &self.options)?;
        Ok(Some(Objects { blobs: parts.blobs, alternates: parts.alternates }))
    }

    fn remove(&self, name: &str, claim: &str) -> Result<bool> {
        let directory = self.directory(name, claim)?;
        match fs::remove_dir_all(&directory) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(source) => Err(Error::io(directory.display(), source)),
        }
    }
}
