//! Stores by their URLs.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use storage::RepositoryStore;
use storage_kv::KvStore;

use crate::config::KvConfig;

/// How the URLs of stores begin.
const SCHEMES: &[&str] = &["kv"];

/// What a store's URL names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// `kv:FILE`.
    KeyValueFile(String),
}

impl StoreUrl {
    /// What a URL names.
    ///
    /// # Errors
    /// Words, for a URL of no known kind.
    pub fn parse(url: &str) -> Result<Self, String> {
        match url.split_once(':') {
            Some(("kv", file)) if !file.is_empty() => Ok(StoreUrl::KeyValueFile(file.to_owned())),
            _ => Err(format!("'{url}' is no store: kv:FILE is one")),
        }
    }

    /// As [`StoreUrl::parse`], with `#` and a repository's name behind it; `None` for what does
    /// not begin like a store's URL.
    ///
    /// # Errors
    /// Words, for a store without a name behind it.
    pub fn parse_with_name(text: &str) -> Result<Option<(Self, String)>, String> {
        let scheme = text.split_once(':').map(|(scheme, _)| scheme);
        if !scheme.is_some_and(|scheme| SCHEMES.contains(&scheme)) {
            return Ok(None);
        }
        let no_name = || format!("'{text}' names no repository: STORE#NAME does");
        let (url, name) = text.rsplit_once('#').ok_or_else(no_name)?;
        Ok(Some((Self::parse(url)?, name.to_owned())))
    }

    /// Opens the store; a key-value file is made when there is none.
    ///
    /// # Errors
    /// Words that name the store.
    pub fn open(&self, kv: &KvConfig) -> Result<Arc<dyn RepositoryStore>, String> {
        match self {
            StoreUrl::KeyValueFile(file) => match KvStore::open(Path::new(file), &options(kv)) {
                Ok(store) => Ok(Arc::new(store)),
                Err(error) => Err(format!("cannot open '{self}': {error}")),
            },
        }
    }
}

impl std::fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StoreUrl::KeyValueFile(file) => write!(f, "kv:{file}"),
        }
    }
}

fn options(kv: &KvConfig) -> storage_kv::OpenOptions {
    let default = storage_kv::OpenOptions::default();
    storage_kv::OpenOptions {
        cache_bytes: kv.cache_bytes.unwrap_or(default.cache_bytes),
        writers_per_commit_max: kv
            .writers_per_commit_max
            .map_or(default.writers_per_commit_max, std::num::NonZeroUsize::get),
        lock_wait: kv.lock_wait_ms.map_or(default.lock_wait, Duration::from_millis),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_are_named_by_urls() {
        for url in ["kv:repos.kv", "kv:/srv/git:1.kv"] {
            assert_eq!(StoreUrl::parse(url).expect(url).to_string(), url);
        }
        let named = StoreUrl::parse_with_name("kv:a#b.kv#group/project").expect("a store");
        let expected = (StoreUrl::KeyValueFile("a#b.kv".into()), "group/project".to_owned());
        assert_eq!(named, Some(expected));
        assert_eq!(StoreUrl::parse_with_name("./kv#x").expect("a directory"), None);
        StoreUrl::parse_with_name("kv:repos.kv").expect_err("no name");
        for url in ["", "kv", "kv:", "/srv/git", "ftp://host/x"] {
            let words = StoreUrl::parse(url).expect_err(url);
            assert!(words.contains("kv:FILE"), "{words}");
        }
    }
}
