//! A scratch folder that goes away with the value.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// A scratch folder under the system's temporary folder, removed on drop.
///
/// Set `PACKHORSE_KEEP_TEMP` to keep the folders of a failing test for a look.
#[derive(Debug)]
pub struct TempDir {
    path: PathBuf,
    // `None` once the folder is to be kept.
    _guard: Option<tempfile::TempDir>,
}

impl TempDir {
    /// Makes a fresh, empty folder.
    pub fn new() -> Self {
        Self::new_in(std::env::temp_dir())
    }

    /// Makes a fresh, empty folder below `parent`: on a file system of the caller's choice.
    pub fn new_in(parent: impl AsRef<Path>) -> Self {
        let guard = tempfile::Builder::new()
            .prefix("packhorse-test-")
            .tempdir_in(parent)
            .expect("the parent folder is writable");
        // git prints resolved paths; ours must compare equal to them.
        let path = guard.path().canonicalize().expect("the folder was just made");
        if std::env::var_os("PACKHORSE_KEEP_TEMP").is_some() {
            return TempDir { path: guard.keep(), _guard: None };
        }
        TempDir { path, _guard: Some(guard) }
    }

    /// The folder, as an absolute path without symbolic links.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path below the folder; nothing is created.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file below the folder, making the folders it needs.
    pub fn write(&self, name: impl AsRef<Path>, contents: impl AsRef<[u8]>) -> PathBuf {
        let path = self.join(name);
        let parent = path.parent().expect("a file lies in a folder");
        std::fs::create_dir_all(parent).expect("make the folders of a scratch file");
        std::fs::write(&path, contents).expect("write a scratch file");
        path
    }
}

impl Default for TempDir {
    fn default() -> Self {
        Self::new()
    }
}

impl AsRef<Path> for TempDir {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

impl AsRef<OsStr> for TempDir {
    fn as_ref(&self) -> &OsStr {
        self.path.as_os_str()
    }
}
