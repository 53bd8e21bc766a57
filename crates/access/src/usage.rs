//! When keys and tokens were used last: noted beside the records, so that those stay as they were
//! written.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::Date;
use crate::authority::Credential;

/// How often it is written down, seconds; a server that is killed forgets as much.
const WRITE_EVERY: u64 = 60;

/// When credentials were used last.
pub struct Usage {
    file: PathBuf,
    noted: Mutex<Noted>,
}

#[derive(Default)]
struct Noted {
    /// Seconds since 1970, of what is not written yet.
    fresh: BTreeMap<String, u64>,
    written: u64,
}

fn name_of(credential: &Credential) -> Option<&str> {
    match credential {
        Credential::Key { fingerprint } => Some(fingerprint),
        Credential::Token { id } => Some(id),
        Credential::Other(_) => None,
    }
}

impl Usage {
    /// Beside the records in `file`.
    pub fn beside(file: &Path) -> Self {
        let mut name = file.as_os_str().to_owned();
        name.push(".used");
        Usage { file: name.into(), noted: Mutex::default() }
    }

    /// A credential is used.
    pub fn note(&self, credential: &Credential, now: u64) {
        let Some(name) = name_of(credential) else { return };
        let mut noted = self.lock();
        noted.fresh.insert(name.to_owned(), now);
        if now >= noted.written.saturating_add(WRITE_EVERY) {
            noted.written = now;
            self.write(&mut noted);
        }
    }

    /// When each was used last, by fingerprint or id.
    pub fn read(&self) -> BTreeMap<String, Date> {
        let text = fs::read_to_string(&self.file).unwrap_or_default();
        let mut known: BTreeMap<String, Date> = BTreeMap::new();
        for (name, date) in text.lines().filter_map(|line| line.split_once(' ')) {
            if let Ok(date) = date.parse() {
                known.insert(name.to_owned(), date);
            }
        }
        known
    }

    fn write(&self, noted: &mut Noted) {
        let mut known = self.read();
        for (name, seconds) in std::mem::take(&mut noted.fresh) {
            let last = known.entry(name).or_insert(Date(0));
            *last = (*last).max(Date(seconds));
        }
        let text: String = known.iter().map(|(name, date)| format!("{name} {date}\n")).collect();
        if let Err(error) = self.replace(&text) {
            tracing::warn!(file = %self.file.display(), %error, "cannot note when keys and tokens are used");
        }
    }

    /// Two servers may write at once: what one of them notes may be lost, and nothing else.
    fn replace(&self, text: &str) -> io::Result<()> {
        let mut name = self.file.as_os_str().to_owned();
        name.push(format!(".{}", std::process::id()));
        fs::write(&name, text)?;
        fs::rename(&name, &self.file)
    }

    fn lock(&self) -> MutexGuard<'_, Noted> {
        self.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Usage {
    fn drop(&mut self) {
        let mut noted = std::mem::take(&mut *self.lock());
        if !noted.fresh.is_empty() {
            self.write(&mut noted);
        }
    }
}
