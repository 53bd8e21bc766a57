//! Writes on a condition: that there is no object yet, or that it is in the state that was read.

use std::cell::Cell;
use std::sync::PoisonError;
use std::time::Instant;

use bytes::Bytes;
use object_store::{Error as StoreError, PutMode, PutOptions, PutPayload};
use storage::{Error, Result};

use crate::client::Client;
use crate::probe::probe;
use crate::requests::{Tag, TagForm, count};

impl Client {
    /// Writes an object that nobody else writes the same, unless there is one. When the service cannot
    /// be reached, it may be written all the same.
    pub fn put_new(&self, key: &str, bytes: Bytes) -> Result<Option<Tag>> {
        self.probed()?;
        self.put_patiently((key, &bytes), None, || self.try_put_new(key, bytes.clone()))
    }

    /// As [`Client::put_new`], of bytes that others write as well: what is there after a lost answer is
    /// not taken for our own, which `None` says.
    pub fn put_shared(&self, key: &str, bytes: Bytes) -> Result<Option<Tag>> {
        self.probed()?;
        let is_lost = Cell::new(false);
        let put = || {
            let put = self.try_put_new(key, bytes.clone());
            is_lost.set(is_lost.get() || put.is_err());
            put
        };
        let put = self.put_patiently((key, &bytes), None, put)?;
        Ok(put.filter(|_| !is_lost.get()))
    }

    /// As [`Client::put_new`], whatever is known of the store.
    pub fn try_put_new(&self, key: &str, bytes: Bytes) -> Result<Option<Tag>> {
        self.put_when(key, bytes, PutMode::Create)
    }

    /// Writes an object unless it is in another state than the one that was read. When the service
    /// cannot be reached, it may be written all the same.
    pub fn put_over(&self, key: &str, bytes: Bytes, known: &Tag) -> Result<Option<Tag>> {
        let form = self.probed()?;
        let put = || self.try_put_over(key, bytes.clone(), known, form);
        self.put_patiently((key, &bytes), Some(known), put)
    }

    /// Tries again what the service could not answer, but never before a look at what came of it: a
    /// write on a condition that happened would meet its own result.
    fn put_patiently(
        &self,
        (key, bytes): (&str, &Bytes),
        known: Option<&Tag>,
        put: impl Fn() -> Result<Option<Tag>>,
    ) -> Result<Option<Tag>> {
        let until = Instant::now() + self.options.retry_timeout;
        for attempt in 0.. {
            let error = match put() {
                Err(error @ Error::Unavailable { .. }) => error,
                settled => return settled,
            };
            if attempt >= self.options.retries || Instant::now() >= until {
                return Err(error);
            }
            tracing::debug!(%error, "looked at, and tried again");
            self.pause();
            match self.get(key)? {
                Some(found) if found.bytes == *bytes => return Ok(Some(found.tag)),
                None if known.is_none() => {}
                Some(found) if known == Some(&found.tag) => {}
                // Somebody else's, now. It may have been ours in between.
                _ => return Err(error),
            }
        }
        unreachable!("it is tried until it is settled or given up")
    }

    /// As [`Client::put_over`], whatever is known of the store.
    pub fn try_put_over(
        &self,
        key: &str,
        bytes: Bytes,
        known: &Tag,
        form: TagForm,
    ) -> Result<Option<Tag>> {
        let mut version = known.0.clone();
        if form == TagForm::Unquoted {
            version.e_tag = version.e_tag.map(|tag| tag.trim_matches('"').to_owned());
        }
        self.put_when(key, bytes, PutMode::Update(version))
    }

    /// Makes sure that the store keeps conditions, before the first write that needs one.
    ///
    /// # Errors
    /// As [`probe`].
    pub fn probed(&self) -> Result<TagForm> {
        let mut probed = self.probed.lock().unwrap_or_else(PoisonError::into_inner);
        match *probed {
            Some(form) => Ok(form),
            None => Ok(*probed.insert(probe(self, &self.prefix)?)),
        }
    }

    fn put_when(&self, key: &str, bytes: Bytes, mode: PutMode) -> Result<Option<Tag>> {
        let path = self.path(key)?;
        count(&self.counts.writes);
        let replaces = matches!(mode, PutMode::Update(_));
        let options = PutOptions { mode, ..PutOptions::default() };
        match self.run(self.once.put_opts(&path, PutPayload::from(bytes), options)) {
            Ok(put) => Ok(Some(Tag(put.into()))),
            Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => Ok(None),
            // What should be replaced may be gone.
            Err(StoreError::NotFound { .. }) if replaces => Ok(None),
            Err(error) => Err(self.failed(key)(error)),
        }
    }
}
