//! The bucket, and the repositories in it.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use bstr::{BString, ByteSlice as _};
use bytes::Bytes;
use gitconfig::{Config, Scope};
use object::HashKind;
use object_store::ObjectStore;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::memory::InMemory;
use object_store::signer::Signer;
use object_store::{BackoffConfig, ClientOptions, RetryConfig};
use reftable::stack::{LIST, format_list, table_name};
use reftable::{RefRecord, RefValue, WriteOptions, table_of};
use storage::{
    Error, NewRepository, Parts, RepositoryStore, Result, Stored, check_repository_name,
};

use crate::blobs::ObjectBlobs;
use crate::cache::BlobCache;
use crate::client::{Client, Service};
use crate::lease::Leases;
use crate::options::ObjectOptions;
use crate::refs::{ObjectRefs, RefsHandle};
use crate::requests::Requests;
use crate::watch::Poller;

/// What stands between a repository's own configuration and what git needs to read it in a copy of
/// the bucket.
const MARK: &str = "# What follows belongs to the store.\n";

/// Repositories in a bucket.
#[derive(Clone)]
pub struct ObjectRepositories {
    shared: Arc<Shared>,
}

/// What everything made from one store shares.
pub(crate) struct Shared {
    pub leases: Leases,
    pub client: Arc<Client>,
    pub cache: BlobCache,
    /// Of every key: empty, or with `/` at its end.
    prefix: String,
    pub poller: Poller,
    /// Refs in use, by directory and number.
    refs: Mutex<HashMap<(String, u64), Weak<ObjectRefs>>>,
}

/// A number that nobody can foretell.
pub(crate) fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

impl Shared {
    /// Refuses to write for a repository that was removed.
    pub fn check_alive(&self, directory: &str, number: u64) -> Result<()> {
        let is_there = match self.client.get(&format!("{directory}/config"))? {
            Some(config) => decode(directory, &config.bytes)?.number == number,
            None => false,
        };
        match is_there {
            true => Ok(()),
            false => Err(Error::not_found("the repository, which was removed")),
        }
    }

    fn directory(&self, name: &str) -> Result<String> {
        check_repository_name(name)?;
        let directory = format!("{}{name}.git", self.prefix);
        // Others would be spelled differently in the bucket.
        let path = object_store::path::Path::parse(&directory);
        match path.is_ok_and(|path| path.as_ref() == directory) {
            true => Ok(directory),
            false => Err(Error::InvalidName { what: name.chars().take(100).collect() }),
        }
    }
}

impl ObjectBlobs {
    /// Refuses to write for a repository that was removed.
    pub fn check_alive(&self) -> Result<()> {
        self.shared.check_alive(&self.directory, self.number)
    }
}

impl ObjectRepositories {
    /// Opens a bucket, named by a URL: `s3://BUCKET[/PREFIX]`, `gs://…`, `az://…`. Behind a `?` may
    /// stand settings of the service (`endpoint`, `region`); credentials come from the environment.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a URL that names none, and for a service that cannot be trusted
    /// with refs; [`Error::Refused`] and [`Error::Unavailable`] from the service.
    pub fn open(url: &str, options: &ObjectOptions) -> Result<Self> {
        let (address, query) = url.split_once('?').unwrap_or((url, ""));
        let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let service = Address { scheme, bucket, settings: settings_in(query), what: address };
        let (store, signer) = service.connect(options, true)?;
        let (once, _) = service.connect(options, false)?;
        let service = Service { store, once, signer: Some(signer) };
        Self::over(address.to_owned(), service, prefix, options)
    }

    /// A bucket in memory, for tests.
    ///
    /// # Errors
    /// When threads cannot be started.
    pub fn in_memory(options: &ObjectOptions) -> Result<Self> {
        Self::with_store("memory:", Arc::new(InMemory::new()), "", options)
    }

    /// Opens a store that the caller has made, for credentials and services that a URL cannot name.
    /// `what` names it in errors; keys begin with `prefix`.
    ///
    /// # Errors
    /// As [`ObjectRepositories::open`].
    pub fn with_store(
        what: &str,
        store: Arc<dyn ObjectStore>,
        prefix: &str,
        options: &ObjectOptions,
    ) -> Result<Self> {
        let service = Service { store: store.clone(), once: store, signer: None };
        Self::over(what.to_owned(), service, prefix, options)
    }

    /// How many requests were made since the bucket was opened.
    pub fn requests(&self) -> Requests {
        self.shared.client.requests()
    }

    fn over(what: String, service: Service, prefix: &str, options: &ObjectOptions) -> Result<Self> {
        let prefix = match prefix.trim_matches('/') {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        };
        let client = Arc::new(Client::new(what, service, prefix.clone(), options.clone())?);
        if options.probe_at_start {
            client.probed()?;
        }
        let leases = Leases::start(&client);
        let (directory, bytes_max) = (options.cache_dir.as_deref(), options.cache_bytes);
        let cache = BlobCache::open(directory, bytes_max, client.losses.clone())?;
        let shared = Shared {
            leases,
            client,
            cache,
            prefix,
            poller: Poller::default(),
            refs: Mutex::default(),
        };
        Ok(ObjectRepositories { shared: Arc::new(shared) })
    }

    /// Adds the names of the repositories in a directory, and in those below it.
    fn names_in(
        &self,
        directory: &str,
        after: &str,
        most: usize,
        found: &mut Vec<String>,
    ) -> Result<()> {
        let prefix = &self.shared.prefix;
        let (_, below) = self.shared.client.list(directory)?;
        let mut below: Vec<String> = below
            .into_iter()
            .filter_map(|key| {
                let name = format!("{key}/");
                let name = name.strip_prefix(prefix.as_str())?.trim_end_matches('/').to_owned();
                Some(match name.strip_suffix(".git") {
                    Some(repository) => repository.to_owned(),
                    None => format!("{name}/"),
                })
            })
            .collect();
        // A repository comes before those in the directory of its name.
        below.sort_unstable();
        for name in below {
            if found.len() >= most {
                return Ok(());
            }
            match name.strip_suffix('/') {
                // All in it begins with its name.
                Some(_) if *name < *after && !after.starts_with(&name) => {}
                Some(inner) => {
                    self.names_in(&format!("{prefix}{inner}"), after, most, found)?;
                }
                None if *name > *after => found.push(name),
                None => {}
            }
        }
        Ok(())
    }

    /// Keeps a name for oneself; `None` when `is_done` says that this is not needed any more.
    fn take_name(
        &self,
        directory: &str,
        is_done: impl Fn() -> Result<bool>,
    ) -> Result<Option<NameLease<'_>>> {
        let shared = &self.shared;
        let key = format!("{directory}/packhorse.lock");
        let until = Instant::now() + 3 * shared.client.options.lease;
        loop {
            match shared.leases.take(&shared.client, &key) {
                Ok(()) => return Ok(Some(NameLease { shared, key })),
                Err(Error::Locked { .. }) if Instant::now() < until => {}
                Err(error) => return Err(error),
            }
            if is_done()? {
                return Ok(None);
            }
            shared.client.pause();
        }
    }

    fn exists(&self, directory: &str) -> Result<bool> {
        Ok(self.shared.client.head(&format!("{directory}/config"))?.is_some())
    }

    fn remove_all(&self, directory: &str, but: &str) -> Result<()> {
        for object in self.shared.client.list_below(directory)? {
            if object.key != but {
                self.shared.client.delete(&object.key)?;
            }
        }
        Ok(())
    }
}

struct NameLease<'a> {
    shared: &'a Shared,
    key: String,
}

impl Drop for NameLease<'_> {
    fn drop(&mut self) {
        self.shared.leases.release(&self.shared.client, &self.key);
    }
}

impl RepositoryStore for ObjectRepositories {
    fn names(&self, after: &str, most: usize) -> Result<Vec<String>> {
        let mut found = Vec::new();
        let root = self.shared.prefix.trim_end_matches('/').to_owned();
        self.names_in(&root, after, most, &mut found)?;
        Ok(found)
    }

    fn find(&self, name: &str) -> Result<Option<Stored>> {
        let Ok(directory) = self.shared.directory(name) else { return Ok(None) };
        let config = self.shared.client.get(&format!("{directory}/config"))?;
        config.map(|config| decode(name, &config.bytes)).transpose()
    }

    fn own_parts(&self, name: &str, stored: &Stored) -> Result<Parts> {
        let directory = self.shared.directory(name)?;
        let key = (directory.clone(), stored.number);
        let directory: Arc<str> = directory.into();
        let mut known = self.shared.refs.lock().unwrap_or_else(PoisonError::into_inner);
        let refs = match known.get(&key).and_then(Weak::upgrade) {
            Some(refs) => refs,
            None => {
                known.retain(|_, refs| refs.strong_count() > 0);
                let named = (stored.number, stored.hash);
                let refs =
                    ObjectRefs::new(self.shared.clone(), directory.clone(), named, &stored.config)?;
                let refs = Arc::new(refs);
                known.insert(key, Arc::downgrade(&refs));
                refs
            }
        };
        drop(known);
        let blobs =
            ObjectBlobs::new(self.shared.clone(), directory, stored.number, refs.epoch.clone());
        stored.parts(name, Arc::new(RefsHandle(refs)), Arc::new(blobs))
    }

    fn create(&self, name: &str, new: &NewRepository<'_>) -> Result<bool> {
        let directory = self.shared.directory(name)?;
        if self.exists(&directory)? {
            return Ok(false);
        }
        let Some(lease) = self.take_name(&directory, || self.exists(&directory))? else {
            return Ok(false);
        };
        if self.exists(&directory)? {
            return Ok(false);
        }
        let client = &self.shared.client;
        // What a server left that died while it made or removed one.
        self.remove_all(&directory, &lease.key)?;
        let table = head_table(new)?;
        let table_name = table_name(1, 1, random() as u32);
        let list = format_list(std::slice::from_ref(&table_name));
        // As git makes them: what reads files is told that there is nothing to read.
        client
            .put(&format!("{directory}/HEAD"), Bytes::from_static(b"ref: refs/heads/.invalid\n"))?;
        let stub = Bytes::from_static(b"this repository uses the reftable format\n");
        client.put(&format!("{directory}/refs/heads"), stub)?;
        client.put(&format!("{directory}/reftable/{table_name}"), table.into())?;
        client.put(&format!("{directory}/reftable/{LIST}"), list.into())?;
        self.shared.leases.check(client, &lease.key)?;
        client.put(&format!("{directory}/config"), encode(new))?;
        Ok(true)
    }

    fn configure(&self, name: &str, found: &Stored, config: &[u8]) -> Result<bool> {
        let key = format!("{}/config", self.shared.directory(name)?);
        let Some(read) = self.shared.client.get(&key)? else { return Ok(false) };
        if decode(name, &read.bytes)? != *found {
            return Ok(false);
        }
        let rest = read.bytes.find(MARK).map_or(&b""[..], |at| &read.bytes[at..]);
        let end = if config.last().is_none_or(|last| *last == b'\n') { "" } else { "\n" };
        let text = [config, end.as_bytes(), rest].concat();
        // Nothing is written that nobody could open.
        decode(name, &text)?;
        Ok(self.shared.client.put_over(&key, text.into(), &read.tag)?.is_some())
    }

    fn remove(&self, name: &str) -> Result<bool> {
        let Ok(directory) = self.shared.directory(name) else { return Ok(false) };
        let Some(lease) = self.take_name(&directory, || Ok(false))? else { return Ok(false) };
        if !self.exists(&directory)? {
            return Ok(false);
        }
        let client = &self.shared.client;
        // From here on there is none of that name; then nobody can change its refs.
        client.delete(&format!("{directory}/config"))?;
        client.delete(&format!("{directory}/reftable/{LIST}"))?;
        self.remove_all(&directory, &lease.key)?;
        Ok(true)
    }
}

fn head_table(new: &NewRepository<'_>) -> Result<Vec<u8>> {
    let value = RefValue::Symbolic(BString::from(new.head.as_bytes()));
    let head = RefRecord { name: "HEAD".into(), update_index: 1, value };
    let table = table_of(WriteOptions::new(new.hash, 1, 1), &[head], &[]);
    table.map_err(|error| Error::corrupt(&new.head, error))
}

/// A configuration, and what git needs beside it.
fn encode(new: &NewRepository<'_>) -> Bytes {
    let format = match new.hash {
        HashKind::Sha1 => String::new(),
        other => format!("\tobjectFormat = {}\n", other.name()),
    };
    let own = format!(
        "{MARK}[core]\n\trepositoryFormatVersion = 1\n\tbare = true\n\
         [extensions]\n\trefStorage = reftable\n{format}[packhorse]\n\trepository = {:016x}\n",
        random()
    );
    let end = if new.config.last().is_none_or(|last| *last == b'\n') { "" } else { "\n" };
    [new.config, end.as_bytes(), own.as_bytes()].concat().into()
}

/// The inverse of [`encode`]. Of a repository that was copied into the bucket, all is its own.
fn decode(name: &str, text: &[u8]) -> Result<Stored> {
    let config = Config::parse(text, Scope::Local, Path::new(name))
        .map_err(|error| Error::corrupt(name, error))?;
    if config.string("extensions.refStorage").is_none_or(|format| format != "reftable") {
        let detail = format!("{name}: its refs are no reftables: only those are kept in a bucket");
        return Err(Error::Unsupported { what: name.to_owned(), detail });
    }
    let hash = config.string("extensions.objectFormat").map_or(Some(HashKind::Sha1), |format| {
        [HashKind::Sha1, HashKind::Sha256].into_iter().find(|kind| format == kind.name())
    });
    let hash =
        hash.ok_or_else(|| Error::corrupt(name, "its objects are named by no known hash"))?;
    let number = config.string("packhorse.repository");
    let number = number.and_then(|hex| u64::from_str_radix(&hex.to_string(), 16).ok());
    let own = text.find(MARK).map_or(text, |at| &text[..at]);
    Ok(Stored { number: number.unwrap_or(0), hash, config: own.to_vec() })
}

/// Where a service is, as its URL says.
struct Address<'a> {
    scheme: &'a str,
    bucket: &'a str,
    settings: Vec<(String, String)>,
    what: &'a str,
}

/// A service, and who signs for it.
type Connected = (Arc<dyn ObjectStore>, Arc<dyn Signer>);

fn connected<S: ObjectStore + Signer>(store: S) -> Connected {
    let store = Arc::new(store);
    (store.clone(), store)
}

fn settings_in(query: &str) -> Vec<(String, String)> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key.to_owned(), value.to_owned())
        })
        .collect()
}

impl Address<'_> {
    fn connect(&self, options: &ObjectOptions, retries: bool) -> Result<Connected> {
        let unsupported = |why: &dyn std::fmt::Display| Error::Unsupported {
            what: self.what.to_owned(),
            detail: format!("{}: {why}", self.what),
        };
        if self.bucket.is_empty() {
            return Err(unsupported(&"it names no bucket"));
        }
        let is_plain = |(key, value): &(String, String)| {
            key.ends_with("endpoint") && value.starts_with("http://")
        };
        let client = ClientOptions::new()
            .with_timeout(options.request_timeout)
            .with_connect_timeout(options.connect_timeout)
            .with_allow_http(self.settings.iter().any(is_plain));
        let retry = RetryConfig {
            backoff: BackoffConfig {
                init_backoff: Duration::from_millis(50),
                max_backoff: Duration::from_secs(5),
                base: 2.0,
            },
            max_retries: if retries { options.retries } else { 0 },
            retry_timeout: options.retry_timeout,
        };
        let store: Result<Connected, object_store::Error> = match self.scheme {
            "s3" => {
                let mut builder = AmazonS3Builder::from_env().with_bucket_name(self.bucket);
                for (key, value) in &self.settings {
                    let key: AmazonS3ConfigKey = key.parse().map_err(|why| unsupported(&why))?;
                    builder = builder.with_config(key, value);
                }
                let built = builder.with_client_options(client).with_retry(retry).build();
                built.map(connected)
            }
            "gs" => {
                let mut builder =
                    GoogleCloudStorageBuilder::from_env().with_bucket_name(self.bucket);
                for (key, value) in &self.settings {
                    let key: GoogleConfigKey = key.parse().map_err(|why| unsupported(&why))?;
                    builder = builder.with_config(key, value);
                }
                let built = builder.with_client_options(client).with_retry(retry).build();
                built.map(connected)
            }
            "az" => {
                let mut builder =
                    MicrosoftAzureBuilder::from_env().with_container_name(self.bucket);
                for (key, value) in &self.settings {
                    let key: AzureConfigKey = key.parse().map_err(|why| unsupported(&why))?;
                    builder = builder.with_config(key, value);
                }
                let built = builder.with_client_options(client).with_retry(retry).build();
                built.map(connected)
            }
            _ => return Err(unsupported(&"no service of that kind is known")),
        };
        store.map_err(|why| unsupported(&why))
    }
}
