//! Stores by their URLs.

use std::num::{NonZeroU64, NonZeroUsize};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use storage::{MixedStore, ObjectsOf, ObjectsStore, RepositoryStore, RoutedStore};
use storage_disk::FolderObjects;
use storage_kv::KvStore;
use storage_object::{ObjectOptions, ObjectRepositories};
use storage_postgres::PgStore;

use crate::config::{BucketConfig, FileConfig, KvConfig, PostgresConfig, RouteConfig};

/// How the URLs of stores begin.
const SCHEMES: &[&str] = &["kv", "postgres", "postgresql", "dir", "s3", "gs", "az"];

/// What a store's URL names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// `kv:FILE`.
    KeyValueFile(String),
    /// `postgres://[USER[:PASSWORD]@]HOST[:PORT]/DATABASE`: the whole URL.
    Postgres(String),
    /// `s3://BUCKET[/PREFIX][?endpoint=URL…]`, `gs://…`, `az://…`: the whole URL.
    Bucket(String),
    /// `dir:DIRECTORY`: objects only.
    Folder(String),
    /// `REFS+OBJECTS`: two stores.
    Mixed(Box<StoreUrl>, Box<StoreUrl>),
}

/// How stores of each kind are used.
#[derive(Debug, Clone, Default)]
pub struct StoresConfig {
    pub kv: KvConfig,
    pub postgres: PostgresConfig,
    pub bucket: BucketConfig,
}

/// The URL of one store, or of two.
pub fn store_url(
    store: &Option<String>,
    refs: &Option<String>,
    blobs: &Option<String>,
) -> Result<Option<String>, String> {
    match (store, refs, blobs) {
        (None, None, None) => Ok(None),
        (Some(store), None, None) => Ok(Some(store.clone())),
        (None, Some(refs), Some(blobs)) => Ok(Some(format!("{refs}+{blobs}"))),
        (None, ..) => Err("refs and blobs are named together, each with a store".to_owned()),
        (Some(_), ..) => Err("a store is named, and others for refs or blobs".to_owned()),
    }
}

impl StoresConfig {
    /// What a configuration file says of them.
    pub fn of_file(file: &FileConfig) -> Self {
        let (kv, postgres, bucket) = (&file.kv, &file.postgres, &file.bucket);
        StoresConfig { kv: kv.clone(), postgres: postgres.clone(), bucket: bucket.clone() }
    }
}

impl StoreUrl {
    /// The store a configuration file names, if it names one.
    ///
    /// # Errors
    /// As [`StoreUrl::parse`].
    pub fn of_file(file: &FileConfig) -> Result<Option<Self>, String> {
        let url = store_url(&file.store, &file.refs, &file.blobs)?;
        url.map(|url| Ok(Self::parse(&url)?.seen_from(&file.folder))).transpose()
    }

    /// The other stores a configuration file names, each with where names lead to it.
    ///
    /// # Errors
    /// As [`StoreUrl::parse`]; and for one without a store, or without names.
    pub fn routes_of_file(file: &FileConfig) -> Result<Vec<(String, Self)>, String> {
        let route = |route: &RouteConfig| {
            let below = route.below.trim_matches('/').to_owned();
            storage::check_repository_name(&below)
                .map_err(|error| format!("[[stores]]: below = '{}': {error}", route.below))?;
            let url = store_url(&route.store, &route.refs, &route.blobs)?;
            let url = url.ok_or_else(|| format!("[[stores]] below '{below}' name no store"))?;
            Ok((below, Self::parse(&url)?.seen_from(&file.folder)))
        };
        file.stores.iter().map(route).collect()
    }

    /// What a URL names.
    ///
    /// # Errors
    /// Words, for a URL of no known kind.
    pub fn parse(url: &str) -> Result<Self, String> {
        match split_mixed(url) {
            None => match Self::parse_one(url)? {
                StoreUrl::Folder(_) => {
                    Err(format!("'{url}' is for objects only: REFS+{url}, with a store of refs"))
                }
                store => Ok(store),
            },
            Some((refs, objects)) => {
                let (refs, objects) = (Self::parse(refs)?, Self::parse_one(objects)?);
                Ok(StoreUrl::Mixed(Box::new(refs), Box::new(objects)))
            }
        }
    }

    fn parse_one(url: &str) -> Result<Self, String> {
        match url.split_once(':') {
            Some(("kv", file)) if !file.is_empty() => Ok(StoreUrl::KeyValueFile(file.to_owned())),
            Some(("dir", path)) if !path.is_empty() => Ok(StoreUrl::Folder(path.to_owned())),
            Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") => {
                Ok(StoreUrl::Postgres(url.to_owned()))
            }
            Some(("s3" | "gs" | "az", rest)) if rest.len() > 2 && rest.starts_with("//") => {
                Ok(StoreUrl::Bucket(url.to_owned()))
            }
            _ => Err(format!(
                "'{}' is no store: kv:FILE, postgres://USER@HOST/DATABASE and s3://BUCKET are",
                without_password(url)
            )),
        }
    }

    /// Whether a text begins like a store's URL.
    pub fn is_one(text: &str) -> bool {
        text.split_once(':').is_some_and(|(scheme, _)| SCHEMES.contains(&scheme))
    }

    /// As [`StoreUrl::parse`], with `#` and a repository's name behind it; `None` for what does
    /// not begin like a store's URL.
    ///
    /// # Errors
    /// Words, for a store without a name behind it.
    pub fn parse_with_name(text: &str) -> Result<Option<(Self, String)>, String> {
        if !Self::is_one(text) {
            return Ok(None);
        }
        let no_name =
            || format!("'{}' names no repository: STORE#NAME does", without_password(text));
        let (url, name) = text.rsplit_once('#').ok_or_else(no_name)?;
        Ok(Some((Self::parse(url)?, name.to_owned())))
    }

    /// Opens the store; a key-value file is made when there is none, and the tables of a database.
    ///
    /// Not to be called, nor the last use of the store dropped, where futures are run: stores block.
    ///
    /// # Errors
    /// Words that name the store.
    pub fn open(&self, config: &StoresConfig) -> Result<Arc<dyn RepositoryStore>, String> {
        let store: Result<Arc<dyn RepositoryStore>, _> = match self {
            StoreUrl::Mixed(refs, objects) => {
                let refs = refs.open(config)?;
                return Ok(Arc::new(MixedStore::new(refs, objects.open_objects(config)?)));
            }
            StoreUrl::Folder(_) => return Err(format!("'{self}' is for objects only")),
            StoreUrl::KeyValueFile(file) => {
                let store = KvStore::open(Path::new(file), &kv_options(&config.kv));
                store.map(|store| Arc::new(store) as _)
            }
            StoreUrl::Postgres(url) => {
                let store = PgStore::open(url, &postgres_options(&config.postgres));
                store.map(|store| Arc::new(store) as _)
            }
            StoreUrl::Bucket(url) => {
                let store = ObjectRepositories::open(url, &bucket_options(&config.bucket));
                store.map(|store| Arc::new(store) as _)
            }
        };
        store.map_err(|error| format!("cannot open '{self}': {error}"))
    }

    /// Whether several programs can have it open at the same time.
    pub fn is_shared(&self) -> bool {
        match self {
            StoreUrl::KeyValueFile(_) => false,
            StoreUrl::Postgres(_) | StoreUrl::Bucket(_) | StoreUrl::Folder(_) => true,
            StoreUrl::Mixed(refs, objects) => refs.is_shared() && objects.is_shared(),
        }
    }

    /// Opens the store for objects of repositories whose refs are elsewhere.
    fn open_objects(&self, config: &StoresConfig) -> Result<Arc<dyn ObjectsStore>, String> {
        match self {
            StoreUrl::Folder(path) => {
                let objects = FolderObjects::new(Path::new(path), Default::default());
                let objects = objects.map_err(|error| format!("cannot open '{self}': {error}"))?;
                Ok(Arc::new(objects))
            }
            other => Ok(Arc::new(ObjectsOf(other.open(config)?))),
        }
    }

    /// The same store for somebody in another folder: files are named as seen from `folder`.
    pub fn seen_from(self, folder: &Path) -> Self {
        let join = |file: String| folder.join(file).display().to_string();
        match self {
            StoreUrl::KeyValueFile(file) => StoreUrl::KeyValueFile(join(file)),
            StoreUrl::Folder(path) => StoreUrl::Folder(join(path)),
            StoreUrl::Mixed(refs, objects) => StoreUrl::Mixed(
                Box::new(refs.seen_from(folder)),
                Box::new(objects.seen_from(folder)),
            ),
            StoreUrl::Postgres(url) => StoreUrl::Postgres(url),
            StoreUrl::Bucket(url) => StoreUrl::Bucket(url),
        }
    }
}

/// Opens stores, each with where names lead to it; one that is named twice is opened once.
///
/// # Errors
/// As [`StoreUrl::open`].
pub fn open_routes(
    routes: &[(String, StoreUrl)],
    config: &StoresConfig,
) -> Result<RoutedStore, String> {
    let mut open: Vec<(&StoreUrl, Arc<dyn RepositoryStore>)> = Vec::new();
    let mut routed = RoutedStore::new();
    for (below, url) in routes {
        let store = match open.iter().find(|(known, _)| *known == url) {
            Some((_, store)) => store.clone(),
            None => url.open(config)?,
        };
        open.push((url, store.clone()));
        routed = routed.with(below, store);
    }
    Ok(routed)
}

/// The stores of refs and of objects: what follows a `+` begins like a store's URL.
fn split_mixed(url: &str) -> Option<(&str, &str)> {
    let begins = |at: usize| {
        let behind = &url[at + 1..];
        let scheme = behind.split_once(':').map(|(scheme, _)| scheme);
        scheme.is_some_and(|scheme| SCHEMES.contains(&scheme))
    };
    let at = url.match_indices('+').map(|(at, _)| at).find(|at| begins(*at))?;
    Some((&url[..at], &url[at + 1..]))
}

impl std::fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StoreUrl::KeyValueFile(file) => write!(f, "kv:{file}"),
            StoreUrl::Postgres(url) => f.write_str(&without_password(url)),
            // Settings may be secret; names of buckets are not.
            StoreUrl::Bucket(url) => f.write_str(url.split_once('?').map_or(url, |(name, _)| name)),
            StoreUrl::Folder(path) => write!(f, "dir:{path}"),
            StoreUrl::Mixed(refs, objects) => write!(f, "{refs}+{objects}"),
        }
    }
}

/// A URL for people to read: nothing of it is secret.
fn without_password(url: &str) -> String {
    let until = |text: &'_ str, ends: &[char]| text.find(ends).unwrap_or(text.len());
    let Some((scheme, rest)) = url.split_once("://") else {
        // It may be a URL with something forgotten.
        return match url.contains('@') {
            true => format!("{}...", &url[..until(url, &[':'])]),
            false => url.to_owned(),
        };
    };
    // Parameters may hold one, too. Whatever stands before the last @ may be part of one.
    match rest.rsplit_once('@') {
        Some((user, host)) => {
            let (user, host) =
                (&user[..until(user, &[':', '/', '?'])], &host[..until(host, &['?'])]);
            format!("{scheme}://{user}@{host}")
        }
        None => format!("{scheme}://{}", &rest[..until(rest, &['?'])]),
    }
}

fn kv_options(kv: &KvConfig) -> storage_kv::OpenOptions {
    let default = storage_kv::OpenOptions::default();
    storage_kv::OpenOptions {
        cache_bytes: kv.cache_bytes.unwrap_or(default.cache_bytes),
        writers_per_commit_max: kv
            .writers_per_commit_max
            .map_or(default.writers_per_commit_max, NonZeroUsize::get),
        lock_wait: kv.lock_wait_ms.map_or(default.lock_wait, Duration::from_millis),
        open_wait: kv.open_wait_ms.map_or(default.open_wait, Duration::from_millis),
    }
}

fn postgres_options(postgres: &PostgresConfig) -> storage_postgres::OpenOptions {
    let default = storage_postgres::OpenOptions::default();
    let ms = |set: Option<u64>, default| set.map_or(default, Duration::from_millis);
    storage_postgres::OpenOptions {
        password: std::env::var("PGPASSWORD").ok(),
        connections_max: postgres
            .connections_max
            .map_or(default.connections_max, NonZeroUsize::get),
        connection_wait: ms(postgres.connection_wait_ms, default.connection_wait),
        lock_wait: ms(postgres.lock_wait_ms, default.lock_wait),
        lease: ms(postgres.lease_ms, default.lease),
        staged_keep: ms(postgres.staged_keep_ms, default.staged_keep),
        watch_poll: ms(postgres.watch_poll_ms, default.watch_poll),
        listen: postgres.listen.unwrap_or(default.listen),
    }
}

fn bucket_options(bucket: &BucketConfig) -> ObjectOptions {
    let default = ObjectOptions::default();
    let ms = |set: Option<u64>, default| set.map_or(default, Duration::from_millis);
    let count = |set: Option<NonZeroUsize>, default| set.map_or(default, NonZeroUsize::get);
    ObjectOptions {
        part_bytes: bucket.part_bytes.map_or(default.part_bytes, NonZeroU64::get),
        parallel_requests: count(bucket.parallel_requests, default.parallel_requests),
        cache_dir: bucket.cache_dir.clone(),
        cache_bytes: bucket.cache_bytes.unwrap_or(default.cache_bytes),
        request_timeout: ms(bucket.request_timeout_ms, default.request_timeout),
        connect_timeout: ms(bucket.connect_timeout_ms, default.connect_timeout),
        retries: bucket.retries.unwrap_or(default.retries),
        hedge_percent: bucket.hedge_percent.unwrap_or(default.hedge_percent),
        retry_timeout: ms(bucket.retry_timeout_ms, default.retry_timeout),
        lock_wait: ms(bucket.lock_wait_ms, default.lock_wait),
        commit_attempts: count(bucket.commit_attempts, default.commit_attempts),
        lease: ms(bucket.lease_ms, default.lease),
        probe_at_start: bucket.probe_at_start.unwrap_or(default.probe_at_start),
        gone_keep: ms(bucket.gone_keep_ms, default.gone_keep),
        watch_poll: ms(bucket.watch_poll_ms, default.watch_poll),
        watch_poll_max: ms(bucket.watch_poll_max_ms, default.watch_poll_max),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stores_are_named_by_urls() {
        for url in [
            "kv:repos.kv",
            "kv:/srv/git:1.kv",
            "kv:a+b.kv",
            "kv:r.kv+dir:/srv",
            "kv:r+kv:o",
            "s3://b/p",
        ] {
            assert_eq!(StoreUrl::parse(url).expect(url).to_string(), url);
        }
        let named = StoreUrl::parse_with_name("kv:a#b.kv#group/project").expect("a store");
        let expected = (StoreUrl::KeyValueFile("a#b.kv".into()), "group/project".to_owned());
        assert_eq!(named, Some(expected));
        assert_eq!(StoreUrl::parse_with_name("./kv#x").expect("a directory"), None);
        StoreUrl::parse_with_name("kv:repos.kv").expect_err("no name");
        let url = "postgres://git:pass#word@db/git?sslmode=disable";
        let named = StoreUrl::parse_with_name(&format!("{url}#a")).expect("a store");
        let expected = (StoreUrl::Postgres(url.to_owned()), "a".to_owned());
        assert_eq!(named, Some(expected));
        let mixed = StoreUrl::parse("postgres://db/git+dir:packs").expect("two stores");
        let moved = mixed.seen_from(Path::new("/etc/packhorse"));
        assert_eq!(moved.to_string(), "postgres://db/git+dir:/etc/packhorse/packs");
        for url in ["dir:/srv", "dir:/srv+kv:x"] {
            let words = StoreUrl::parse(url).expect_err(url);
            assert!(words.contains("objects only"), "{words}");
        }
        for url in
            ["", "kv", "kv:", "/srv/git", "ftp://host/x", "postgres:db", "kv:a+dir:", "s3://"]
        {
            let words = StoreUrl::parse(url).expect_err(url);
            assert!(words.contains("kv:FILE"), "{words}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let shown = |url: &str| StoreUrl::parse(url).expect(url).to_string();
        assert_eq!(shown("postgres://git:secret@db:1/git?password=x"), "postgres://git@db:1/git");
        assert_eq!(shown("postgresql://db/git"), "postgresql://db/git");
        assert_eq!(shown("s3://b/p?endpoint=http://h&secret_access_key=x@y"), "s3://b/p");
        assert_eq!(shown("postgres://git:pa?secret@db/git"), "postgres://git@db/git");
        let words = StoreUrl::parse("postgres:git:secret@db/git").expect_err("no store");
        assert!(!words.contains("secret"), "{words}");
        let words = StoreUrl::parse("ftp://git:secret@db/git").expect_err("no store");
        assert!(!words.contains("secret"), "{words}");
    }
}
