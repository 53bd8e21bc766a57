//! The authority of records that are kept in a file: what is written there holds at once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use super::{Source, SourceError, Stamp};
use crate::authority::{Authority, AuthorityError, Decision, Identity, Proof};
use crate::{Book, PgpKey, SigningKeys, SshKey, Usage};

/// A file that was changed so recently may be changed again without looking like another one.
const RACY: Duration = Duration::from_secs(2);

/// Records that are read again when they change. While they cannot be read or meant, those before
/// hold, and the log says so.
pub struct Watched {
    source: Box<dyn Source>,
    current: Mutex<Current>,
    usage: Usage,
}

struct Current {
    book: Arc<Book>,
    /// How the file was when it was read; `None` if that may be told from what it is now by
    /// reading only.
    stamp: Option<Stamp>,
    /// What was wrong with it, so that the log is told once.
    complaint: Option<String>,
}

impl Watched {
    /// Reads a source for the first time.
    ///
    /// # Errors
    /// [`SourceError`]: a server does not start with rules that nobody understands.
    pub fn new(source: Box<dyn Source>) -> Result<Self, SourceError> {
        let (book, stamp) = read(&*source)?;
        let usage = Usage::beside(source.path());
        let current = Mutex::new(Current { book, stamp, complaint: None });
        Ok(Watched { source, current, usage })
    }

    /// What holds now.
    pub fn book(&self) -> Arc<Book> {
        let mut current = self.lock();
        let now = Stamp::of(self.source.path()).ok();
        if now.is_some() && now == current.stamp {
            return current.book.clone();
        }
        match read(&*self.source) {
            Ok((book, stamp)) => {
                if current.complaint.take().is_some() {
                    tracing::warn!(file = %self.source.path().display(), "rules are understood again");
                }
                *current = Current { book, stamp, complaint: None };
            }
            Err(error) => {
                let words = error.to_string();
                if current.complaint.as_ref() != Some(&words) {
                    tracing::error!(%error, "rules cannot be read; those before still hold");
                    current.complaint = Some(words);
                }
                // Not read again before it changes.
                current.stamp = now;
            }
        }
        current.book.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(source: &dyn Source) -> Result<(Arc<Book>, Option<Stamp>), SourceError> {
    let name = || source.path().display().to_string();
    let before = Stamp::of(source.path()).map_err(|error| SourceError::Io(name(), error))?;
    let records = source.load()?;
    let book = Book::new(records).map_err(|error| SourceError::Meaning(name(), error))?;
    let age = SystemTime::now().duration_since(before.modified).unwrap_or_default();
    Ok((Arc::new(book), (age > RACY).then_some(before)))
}

impl Authority for Watched {
    fn identify(&self, proof: &Proof<'_>, now: u64) -> Result<Option<Identity>, AuthorityError> {
        let identity = self.book().identify(proof, now);
        if let Some(identity) = &identity {
            self.usage.note(&identity.credential, now);
        }
        Ok(identity)
    }

    fn decide(
        &self,
        who: Option<&Identity>,
        repository: &str,
        now: u64,
    ) -> Result<Decision, AuthorityError> {
        Ok(self.book().decide(who, repository, now))
    }

    fn keys_of(&self, user: &str) -> Result<SigningKeys, AuthorityError> {
        let book = self.book();
        let Some(user) = book.records().users.get(user) else { return Ok(SigningKeys::default()) };
        let ssh = user.keys.iter().filter_map(|line| SshKey::parse(line).ok());
        let openpgp = user.openpgp_keys.iter().filter_map(|text| PgpKey::parse(text).ok());
        Ok(SigningKeys { ssh: ssh.map(|key| key.blob).collect(), openpgp: openpgp.collect() })
    }
}
