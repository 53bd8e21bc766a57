//! Records in a TOML file that people write by hand, too.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::{Change, Source, SourceError, changed, sync, with_patience};
use crate::Records;

/// Who makes such a file keeps it to himself: hashes are of use to nobody, but nobody's business.
const MODE: u32 = 0o600;

pub(super) struct File {
    path: PathBuf,
}

impl File {
    pub fn new(path: &Path) -> Self {
        File { path: path.to_owned() }
    }

    fn text(&self) -> Result<String, SourceError> {
        match fs::read_to_string(&self.path) {
            Ok(text) => Ok(text),
            Err(error) => Err(SourceError::Io(self.path.display().to_string(), error)),
        }
    }

    fn parse(&self, text: &str) -> Result<Records, SourceError> {
        toml::from_str(text).map_err(|error| {
            let words = error.to_string().trim_end().to_owned();
            SourceError::Form(self.path.display().to_string(), words)
        })
    }

    fn beside(&self, end: &str) -> PathBuf {
        let mut name = self.path.as_os_str().to_owned();
        name.push(end);
        name.into()
    }
}

/// Removes the lock unless its file has become the records.
struct Locked(Option<PathBuf>);

impl Drop for Locked {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

impl Source for File {
    fn load(&self) -> Result<Records, SourceError> {
        self.parse(&self.text()?)
    }

    fn change(&self, change: Box<Change<'_>>) -> Result<(), SourceError> {
        let lock = self.beside(".lock");
        let io = |error| SourceError::Io(lock.display().to_string(), error);
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true).mode(MODE);
        let opened = with_patience(|| match options.open(&lock) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => None,
            other => Some(other),
        });
        let Some(opened) = opened else {
            let words = format!("or has died; remove '{}' then", lock.display());
            return Err(SourceError::Busy(self.path.display().to_string(), words));
        };
        let mut file = opened.map_err(io)?;
        let mut locked = Locked(Some(lock.clone()));
        let before = match self.text() {
            Err(SourceError::Io(_, error)) if error.kind() == ErrorKind::NotFound => String::new(),
            other => other?,
        };
        let old = self.parse(&before)?;
        let new = changed(old.clone(), change, &self.path)?;
        let text = sync::in_place(&before, &old, &new)
            .map_err(|words| SourceError::Form(self.path.display().to_string(), words))?;
        if self.parse(&text)? != new {
            let words = "this change is to be made by hand".to_owned();
            return Err(SourceError::Form(self.path.display().to_string(), words));
        }
        file.write_all(text.as_bytes()).map_err(io)?;
        if let Ok(meta) = fs::metadata(&self.path) {
            let mode = fs::Permissions::from_mode(meta.permissions().mode());
            file.set_permissions(mode).map_err(io)?;
        }
        file.sync_all().map_err(io)?;
        fs::rename(&lock, &self.path).map_err(io)?;
        // The next one may have made it anew.
        locked.0 = None;
        Ok(())
    }

    fn path(&self) -> &Path {
        &self.path
    }
}
