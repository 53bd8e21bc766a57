//! How watched refs were when they were told of last, so that a server that starts anew knows whether anything
//! happened meanwhile.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use host::Cursor;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A folder with a small file for each repository.
pub(crate) struct Notebook {
    folder: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct Note {
    repository: String,
    cursor: String,
}

impl Notebook {
    pub fn open(folder: &Path) -> io::Result<Self> {
        let folder = folder.join("seen");
        fs::create_dir_all(&folder)?;
        Ok(Notebook { folder })
    }

    fn path(&self, repository: &str) -> PathBuf {
        let digest = Sha256::digest(repository.as_bytes());
        let name: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
        self.folder.join(name)
    }

    /// How the refs were; `None` when nobody has noted it, or what is there cannot be read.
    pub fn get(&self, repository: &str) -> Option<Cursor> {
        let note: Note = serde_json::from_slice(&fs::read(self.path(repository)).ok()?).ok()?;
        note.cursor.parse().ok().filter(|_| note.repository == repository)
    }

    /// Notes how they are. Not durable at once: what is lost costs a needless word to list them.
    pub fn set(&self, repository: &str, cursor: Cursor) -> io::Result<()> {
        let note = Note { repository: repository.to_owned(), cursor: cursor.to_string() };
        let path = self.path(repository);
        let unfinished = path.with_extension("new");
        fs::write(&unfinished, serde_json::to_vec(&note)?)?;
        fs::rename(unfinished, path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_noted_is_known_again() {
        let folder = tempfile::tempdir().expect("a folder");
        let notebook = Notebook::open(folder.path()).expect("a notebook");
        assert_eq!(notebook.get("a/b"), None);
        let cursor = "00000000000000000000000000000007".parse().expect("a cursor");
        notebook.set("a/b", cursor).expect("noted");
        let notebook = Notebook::open(folder.path()).expect("a notebook");
        assert_eq!((notebook.get("a/b"), notebook.get("a")), (Some(cursor), None));
        fs::write(notebook.path("a/b"), "torn").expect("written");
        assert_eq!(notebook.get("a/b"), None);
    }
}
