//! The requests this crate makes, for callers that wait for the answer.

use std::fs::File;
use std::future::Future;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use http::Method;
use maps::Losses;
use object_store::path::Path;
use object_store::signer::Signer;
use object_store::{
    Error as StoreError, GetOptions, GetRange, ObjectStore, ObjectStoreExt as _, PutPayload,
    WriteMultipart,
};
use storage::{Error, Result};
use tokio::runtime::Runtime;

use crate::cache::Sink;
use crate::hedge::Hedge;
use crate::options::ObjectOptions;
use crate::requests::{Counts, Listed, Requests, Tag, TagForm, Tagged, count, listed, tag_of};

/// What answers requests.
pub(crate) struct Service {
    pub store: Arc<dyn ObjectStore>,
    /// The same one, which tries nothing again.
    pub once: Arc<dyn ObjectStore>,
    pub signer: Option<Arc<dyn Signer>>,
}

/// One bucket.
pub(crate) struct Client {
    /// What to call it in errors.
    pub what: String,
    pub options: ObjectOptions,
    store: Arc<dyn ObjectStore>,
    /// Makes addresses that need no credentials.
    signer: Option<Arc<dyn Signer>>,
    /// The same one, which tries nothing again: who replaces on a condition must know how the first
    /// try ended.
    pub once: Arc<dyn ObjectStore>,
    /// Where the probe may write.
    pub prefix: String,
    /// How the store wants conditions, once it has shown that it keeps them.
    pub probed: Mutex<Option<TagForm>>,
    pub counts: Counts,
    hedge: Arc<Hedge>,
    /// Of what is mapped.
    pub losses: Arc<Losses>,
    /// `None` once it is dropped.
    runtime: Option<Runtime>,
}

impl Client {
    pub fn new(
        what: String,
        Service { store, once, signer }: Service,
        prefix: String,
        options: ObjectOptions,
    ) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("object-store")
            .enable_all()
            .build()
            .map_err(|source| Error::io(&what, source))?;
        let hedge = Arc::new(Hedge::new(options.hedge_percent));
        Ok(Client {
            what,
            options,
            store,
            signer,
            once,
            prefix,
            probed: Mutex::default(),
            counts: Counts::default(),
            hedge,
            losses: Losses::new(),
            runtime: Some(runtime),
        })
    }

    pub fn requests(&self) -> Requests {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Requests {
            reads: count(&self.counts.reads) + count(&self.hedge.count),
            hedges: count(&self.hedge.count),
            writes: count(&self.counts.writes),
            lists: count(&self.counts.lists),
            deletes: count(&self.counts.deletes),
        }
    }

    pub fn run<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.as_ref().expect("there until it is dropped").handle().block_on(work)
    }

    /// Does something in a thread of its own.
    pub fn in_background(&self, work: impl FnOnce() + Send + 'static) {
        self.runtime.as_ref().expect("there until it is dropped").spawn_blocking(work);
    }

    pub fn path(&self, key: &str) -> Result<Path> {
        Path::parse(key).map_err(|_| Error::InvalidName { what: key.to_owned() })
    }

    /// Names the object and the store in what went wrong.
    pub fn failed(&self, key: &str) -> impl Fn(StoreError) -> Error + '_ {
        let what = format!("{}/{key}", self.what);
        move |error| sorted(what.clone(), error)
    }

    /// The whole object; `None` when there is none.
    pub fn get(&self, key: &str) -> Result<Option<Tagged>> {
        let path = self.path(key)?;
        let at_disk = |source| Error::io("a file for what is read from a bucket", source);
        loop {
            count(&self.counts.reads);
            let first = GetRange::Bounded(0..self.options.part_bytes);
            let options = GetOptions { range: Some(first), ..GetOptions::default() };
            let got = self.patiently(async || {
                let got = self.hedge.get(&self.store, &path, options.clone()).await?;
                let (size, tag) = (got.meta.size, tag_of(&got.meta));
                Ok(got.bytes().await.map(|bytes| (size, tag, bytes)))
            });
            let (size, tag, bytes) = match got {
                Err(StoreError::NotFound { .. }) => return Ok(None),
                // An empty object has no first byte, and each service says so in its own words. And words
                // may end too soon.
                Err(error) => match self.head(key) {
                    Ok(None) => return Ok(None),
                    Ok(Some(Listed { size: 0, tag, .. })) => {
                        return Ok(Some(Tagged { bytes: Bytes::new(), tag }));
                    }
                    _ => return Err(self.failed(key)(error)),
                },
                Ok(got) => got,
            };
            if bytes.len() as u64 == size {
                return Ok(Some(Tagged { bytes, tag }));
            }
            // The rest of the same state.
            match self.spill(&path, bytes, size, tag.0.e_tag.clone()) {
                Ok(bytes) => return Ok(Some(Tagged { bytes: bytes.map_err(at_disk)?, tag })),
                Err(StoreError::Precondition { .. } | StoreError::NotFound { .. }) => continue,
                Err(error) => return Err(self.failed(key)(error)),
            }
        }
    }

    /// A large object that was begun: in a file without a name, which is mapped.
    fn spill(
        &self,
        path: &Path,
        first: Bytes,
        size: u64,
        state: Option<String>,
    ) -> Result<io::Result<Bytes>, StoreError> {
        let written = |file: &File, bytes: &[u8], at| file.write_all_at(bytes, at);
        let file = match tempfile::tempfile() {
            Ok(file) => file,
            Err(error) => return Ok(Err(error)),
        };
        let (mut at, mut bytes) = (0, first);
        loop {
            if let Err(error) = written(&file, &bytes, at) {
                return Ok(Err(error));
            }
            at += bytes.len() as u64;
            if at >= size || bytes.is_empty() {
                return Ok(maps::map(&file, &self.losses));
            }
            let end = size.min(at + self.bytes_at_once());
            bytes = self.ranges(path, at..end, state.clone())?;
        }
    }

    /// Bytes that are asked for together when much is read: in requests beside each other.
    pub fn bytes_at_once(&self) -> u64 {
        2 * self.options.part_bytes
    }

    /// As [`Client::get`]; `None` when it is in the state that was read before.
    pub fn get_changed(&self, key: &str, known: &Tag) -> Result<Option<Option<Tagged>>> {
        let path = self.path(key)?;
        count(&self.counts.reads);
        let if_none_match = known.0.e_tag.clone();
        let options = GetOptions { if_none_match, ..GetOptions::default() };
        let got = self.patiently(async || {
            let got = self.hedge.get(&self.store, &path, options.clone()).await?;
            if got.meta.size > self.options.part_bytes {
                return Ok(Ok(None));
            }
            let tag = tag_of(&got.meta);
            Ok(got.bytes().await.map(|bytes| Some((tag, bytes))))
        });
        match got {
            Err(StoreError::NotModified { .. }) => Ok(None),
            Err(StoreError::NotFound { .. }) => Ok(Some(None)),
            Err(StoreError::Generic { .. }) => self.get(key).map(Some),
            Err(error) => Err(self.failed(key)(error)),
            Ok(Some((tag, bytes))) => Ok(Some(Some(Tagged { bytes, tag }))),
            // In parts.
            Ok(None) => self.get(key).map(Some),
        }
    }

    /// Reads, and reads again when the answer ends too soon. What the service answers with a status
    /// is tried again below.
    fn patiently<T>(
        &self,
        read: impl AsyncFn() -> Result<Result<T, StoreError>, StoreError>,
    ) -> Result<T, StoreError> {
        let until = Instant::now() + self.options.retry_timeout;
        let mut left = self.options.retries;
        loop {
            match self.run(read())? {
                Err(error @ StoreError::Generic { .. }) if left > 0 && Instant::now() < until => {
                    tracing::debug!(%error, "read again");
                    left -= 1;
                    count(&self.counts.reads);
                    self.pause();
                }
                settled => return settled,
            }
        }
    }

    /// Gives the bytes in a range that lies within the object to `sink`, in order. After a lost
    /// connection it goes on where it was.
    pub fn read_to(&self, key: &str, range: Range<u64>, sink: Sink<'_>) -> Result<()> {
        let path = self.path(key)?;
        let mut at = range.start;
        let mut left = self.options.retries;
        while at < range.end {
            count(&self.counts.reads);
            let part = GetRange::Bounded(at..range.end);
            let options = GetOptions { range: Some(part), ..GetOptions::default() };
            let done = self.run(async {
                let got = self.hedge.get(&self.store, &path, options).await?;
                let mut stream = got.into_stream();
                while let Some(bytes) = stream.next().await {
                    let bytes = bytes?;
                    if let Err(error) = sink(at, &bytes) {
                        return Ok(Err(error));
                    }
                    at += bytes.len() as u64;
                }
                Ok::<_, StoreError>(Ok(()))
            });
            match done {
                Ok(Ok(())) if at >= range.end => {}
                Ok(Ok(())) => {
                    let what = format!("{}/{key}", self.what);
                    return Err(Error::corrupt(what, "it became shorter"));
                }
                Ok(Err(error)) => return Err(Error::io(key, error)),
                Err(StoreError::Generic { .. }) if left > 0 => {
                    left -= 1;
                    self.pause();
                }
                Err(error) => return Err(self.failed(key)(error)),
            }
        }
        Ok(())
    }

    fn ranges(
        &self,
        path: &Path,
        range: Range<u64>,
        if_match: Option<String>,
    ) -> Result<Bytes, StoreError> {
        let part = self.options.part_bytes.max(1);
        let one = |range: Range<u64>| {
            count(&self.counts.reads);
            let (store, path, if_match) = (self.store.clone(), path.clone(), if_match.clone());
            let hedge = self.hedge.clone();
            let mut left = self.options.retries;
            async move {
                let range = Some(GetRange::Bounded(range));
                let options = GetOptions { range, if_match, ..GetOptions::default() };
                loop {
                    match hedge.get(&store, &path, options.clone()).await?.bytes().await {
                        // As in `patiently`, beside others.
                        Err(StoreError::Generic { .. }) if left > 0 => {
                            left -= 1;
                            tokio::time::sleep(pause()).await;
                        }
                        settled => return settled,
                    }
                }
            }
        };
        if range.end - range.start <= part {
            return self.run(one(range));
        }
        let mut all = BytesMut::with_capacity((range.end - range.start) as usize);
        self.run(async {
            let mut begun = std::collections::VecDeque::new();
            let mut next = range.start;
            loop {
                while begun.len() < self.options.parallel_requests.max(1) && next < range.end {
                    let end = range.end.min(next + part);
                    begun.push_back(tokio::spawn(one(next..end)));
                    next = end;
                }
                let Some(first) = begun.pop_front() else { return Ok(all.freeze()) };
                all.extend_from_slice(&first.await??);
            }
        })
    }

    /// What is known of an object without reading it.
    pub fn head(&self, key: &str) -> Result<Option<Listed>> {
        count(&self.counts.reads);
        let path = self.path(key)?;
        match self.run(self.store.head(&path)) {
            Ok(meta) => Ok(Some(listed(meta))),
            Err(StoreError::NotFound { .. }) => Ok(None),
            Err(error) => Err(self.failed(key)(error)),
        }
    }

    /// Writes an object, whatever is there; which state that is.
    pub fn put(&self, key: &str, bytes: Bytes) -> Result<Tag> {
        count(&self.counts.writes);
        let path = self.path(key)?;
        let put = self.run(self.store.put(&path, PutPayload::from(bytes)));
        put.map(|put| Tag(put.into())).map_err(self.failed(key))
    }

    /// An address that gives the object to anybody, for so long; `None` when the service signs none.
    pub fn address(&self, key: &str, lifetime: Duration) -> Result<Option<String>> {
        let Some(signer) = &self.signer else { return Ok(None) };
        let path = self.path(key)?;
        let signed = self.run(signer.signed_url(Method::GET, &path, lifetime));
        signed.map(|url| Some(url.into())).map_err(self.failed(key))
    }

    /// Waits a while before something is tried again.
    pub fn pause(&self) {
        std::thread::sleep(pause());
    }

    /// Writes a large object in parts; `next` gives the bytes at a place. Which state that is.
    pub fn put_parts(
        &self,
        key: &str,
        size: u64,
        next: impl Fn(Range<u64>) -> Result<Bytes>,
    ) -> Result<Tag> {
        let path = self.path(key)?;
        let failed = self.failed(key);
        let part = self.options.part_bytes.max(5 << 20);
        // To begin and to end it.
        count(&self.counts.writes);
        count(&self.counts.writes);
        let upload = self.run(self.store.put_multipart(&path)).map_err(&failed)?;
        let mut upload = WriteMultipart::new_with_chunk_size(upload, part as usize);
        let mut at = 0;
        while at < size {
            let end = size.min(at + part);
            let bytes = match next(at..end) {
                Ok(bytes) => bytes,
                Err(error) => {
                    let _ = self.run(upload.abort());
                    return Err(error);
                }
            };
            let most = self.options.parallel_requests.max(1);
            let room = self.run(async {
                let room = upload.wait_for_capacity(most).await;
                if room.is_ok() {
                    count(&self.counts.writes);
                    upload.put(bytes);
                }
                room
            });
            if let Err(error) = room {
                let _ = self.run(upload.abort());
                return Err(failed(error));
            }
            at = end;
        }
        self.run(upload.finish()).map(|put| Tag(put.into())).map_err(failed)
    }

    /// Removes an object; one that is not there is no error.
    pub fn delete(&self, key: &str) -> Result<()> {
        count(&self.counts.deletes);
        let path = self.path(key)?;
        match self.run(self.store.delete(&path)) {
            Ok(()) | Err(StoreError::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.failed(key)(error)),
        }
    }

    /// The objects in a directory (without `/` at its end), and the directories in it.
    pub fn list(&self, directory: &str) -> Result<(Vec<Listed>, Vec<String>)> {
        count(&self.counts.lists);
        let path = (!directory.is_empty()).then(|| self.path(directory)).transpose()?;
        let list = async || Ok(self.store.list_with_delimiter(path.as_ref()).await);
        let found = self.patiently(list);
        let found = found.map_err(self.failed(directory))?;
        let directories = found.common_prefixes.into_iter().map(String::from);
        Ok((found.objects.into_iter().map(listed).collect(), directories.collect()))
    }

    /// The objects below a directory, and in the directories in it.
    pub fn list_below(&self, directory: &str) -> Result<Vec<Listed>> {
        count(&self.counts.lists);
        let path = self.path(directory)?;
        self.patiently(async || {
            let mut found = self.store.list(Some(&path));
            let mut all = Vec::new();
            while let Some(meta) = found.next().await {
                match meta {
                    Ok(meta) => all.push(listed(meta)),
                    Err(error) => return Ok(Err(error)),
                }
            }
            Ok(Ok(all))
        })
        .map_err(self.failed(directory))
    }
}

/// How long to wait before something is tried again: no two servers the same while.
fn pause() -> Duration {
    Duration::from_millis(20 + crate::store::random() % 200)
}

impl Drop for Client {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

fn sorted(what: String, error: StoreError) -> Error {
    let words = error.to_string();
    let source = |kind| io::Error::new(kind, words.clone());
    match error {
        StoreError::NotFound { .. } => Error::NotFound { what },
        StoreError::PermissionDenied { .. } | StoreError::Unauthenticated { .. } => {
            Error::Refused { detail: format!("{what}: {words}"), what }
        }
        StoreError::NotSupported { .. }
        | StoreError::NotImplemented { .. }
        | StoreError::UnknownConfigurationKey { .. } => {
            Error::Unsupported { detail: format!("{what}: {words}"), what }
        }
        StoreError::InvalidPath { .. } => Error::InvalidName { what },
        _ => Error::Unavailable { what, source: source(io::ErrorKind::ConnectionReset) },
    }
}
