//! What was read of a bucket, on this machine's disk.
//!
//! Each blob is one file, which gets what is read of it piece by piece. When all of it is there it
//! is mapped, and costs no more than one of a repository on disk. Files may be removed at any time:
//! what is lost is read again.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use maps::Losses;
use object::{Checksum, HashKind};
use storage::{Error, Result};

use crate::pieces::{Next, Pieces, bytes_of};

/// Files that are open at a time because they are not whole.
const OPEN_MAX: usize = 256;

/// What stands at the end of the name of a whole file.
const WHOLE: &str = ".whole";

/// A cache for blobs that never change.
pub(crate) struct BlobCache {
    /// Where whole files stay when the server ends; `None` when nothing stays.
    directory: Option<PathBuf>,
    bytes_max: u64,
    losses: Arc<Losses>,
    /// Locked as long as the directory is used.
    _lock: Option<File>,
    state: Mutex<State>,
    fetched: Condvar,
}

#[derive(Default)]
struct State {
    blobs: HashMap<String, Entry>,
    /// Bytes of all pieces that are here.
    bytes: u64,
    uses: u64,
    /// How much of what is mapped had been lost when that was looked at last.
    losses: u64,
}

struct Entry {
    size: u64,
    last_use: u64,
    content: Content,
    /// Where it lies when it is whole.
    path: Option<PathBuf>,
}

enum Content {
    Pieces(Pieces),
    Whole(Bytes),
    /// A file that was there when the server began: not looked into yet.
    Unread,
}

impl Entry {
    fn bytes(&self) -> u64 {
        match &self.content {
            Content::Pieces(pieces) => pieces.bytes_here(),
            Content::Whole(_) | Content::Unread => self.size,
        }
    }

    fn is_fetched(&self) -> bool {
        matches!(&self.content, Content::Pieces(pieces) if pieces.are_fetched())
    }
}

/// A blob: its key in the bucket, in a state that never changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cacheable {
    /// Names the blob and its state.
    pub key: String,
    pub size: u64,
}

/// Where what comes from the bucket goes: a place, and bytes for it.
pub(crate) type Sink<'a> = &'a mut dyn FnMut(u64, &[u8]) -> io::Result<()>;

/// Gets a range from the bucket.
pub(crate) type Fetch<'a> = &'a dyn Fn(Range<u64>, Sink<'_>) -> Result<()>;

/// Gets a range into memory.
fn fetched(range: Range<u64>, fetch: Fetch<'_>) -> Result<Bytes> {
    let mut bytes = Vec::with_capacity((range.end - range.start) as usize);
    fetch(range, &mut |_, more| {
        bytes.extend_from_slice(more);
        Ok(())
    })?;
    Ok(bytes.into())
}

/// What to do next for a read.
enum Step {
    /// All that is wanted is here.
    Read(Arc<File>),
    Mapped(Bytes),
    /// Pieces that nobody has, which are ours to get now.
    Fetch(Arc<File>, Range<usize>),
}

impl BlobCache {
    /// A cache of so many bytes. What is in `directory` from before is used again; without one,
    /// files have no name and go with the process.
    ///
    /// # Errors
    /// When the directory cannot be used, or another process uses it.
    pub fn open(directory: Option<&Path>, bytes_max: u64, losses: Arc<Losses>) -> Result<Self> {
        let mut state = State::default();
        let mut lock = None;
        if let Some(directory) = directory {
            let at = |source| Error::io(directory.display(), source);
            fs::create_dir_all(directory).map_err(at)?;
            let file = File::create(directory.join("lock")).map_err(at)?;
            if file.try_lock().is_err() {
                let words = "another server uses it; each needs a directory of its own";
                let source = io::Error::new(io::ErrorKind::ResourceBusy, words);
                return Err(at(source));
            }
            lock = Some(file);
            for entry in fs::read_dir(directory).map_err(at)? {
                let entry = entry.map_err(at)?;
                let name = entry.file_name().to_string_lossy().into_owned();
                let Some((id, size)) = whole_name(&name) else {
                    // A piece of a server that ended.
                    if name.ends_with(".part") {
                        let _ = fs::remove_file(entry.path());
                    }
                    continue;
                };
                if entry.metadata().is_ok_and(|metadata| metadata.len() == size) {
                    let (path, content) = (Some(entry.path()), Content::Unread);
                    state.bytes += size;
                    state.blobs.insert(id, Entry { size, last_use: 0, content, path });
                }
            }
        }
        let cache = BlobCache {
            directory: directory.map(Path::to_owned),
            bytes_max,
            losses,
            _lock: lock,
            state: Mutex::new(state),
            fetched: Condvar::new(),
        };
        cache.evict(&mut cache.lock(), "");
        Ok(cache)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_kept(&self, blob: &Cacheable) -> bool {
        blob.size > 0 && blob.size <= self.bytes_max
    }

    /// The bytes in a range that lies within the blob.
    pub fn read(&self, blob: &Cacheable, range: Range<u64>, fetch: Fetch<'_>) -> Result<Bytes> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        if !self.is_kept(blob) {
            return fetched(range, fetch);
        }
        let id = id_of(&blob.key);
        loop {
            match self.step(&id, blob, &range) {
                Ok(Step::Mapped(map)) => {
                    return Ok(map.slice(range.start as usize..range.end as usize));
                }
                Ok(Step::Read(file)) => {
                    let mut bytes = vec![0; (range.end - range.start) as usize];
                    return match file.read_exact_at(&mut bytes, range.start) {
                        Ok(()) => Ok(bytes.into()),
                        Err(error) => self.without(&id, &error, range, fetch),
                    };
                }
                Ok(Step::Fetch(file, pieces)) => {
                    if let Err(error) = self.fetch(&id, blob, (&file, pieces), fetch)? {
                        return self.without(&id, &error, range, fetch);
                    }
                }
                Err(error) => return self.without(&id, &error, range, fetch),
            }
        }
    }

    /// Windows behind a range that should be fetched now, because whoever reads it reads on. Each is
    /// given once.
    pub fn ahead_of(&self, blob: &Cacheable, range: &Range<u64>) -> Vec<Range<u64>> {
        if range.is_empty() || !self.is_kept(blob) {
            return Vec::new();
        }
        let mut state = self.lock();
        let Some(entry) = state.blobs.get_mut(&id_of(&blob.key)) else { return Vec::new() };
        match &mut entry.content {
            Content::Pieces(pieces) => pieces.ahead_of(range),
            Content::Whole(_) | Content::Unread => Vec::new(),
        }
    }

    /// Fetches what is not here of a range, for somebody who will read it.
    pub fn prefetch(&self, blob: &Cacheable, range: Range<u64>, fetch: Fetch<'_>) -> Result<()> {
        if !self.is_kept(blob) {
            return Ok(());
        }
        let id = id_of(&blob.key);
        while let Ok(Step::Fetch(file, pieces)) = self.step(&id, blob, &range) {
            if let Err(error) = self.fetch(&id, blob, (&file, pieces), fetch)? {
                return Err(Error::io("the cache of what was read from a bucket", error));
            }
        }
        Ok(())
    }

    /// The whole blob, if it is here.
    pub fn mapped(&self, blob: &Cacheable) -> Option<Bytes> {
        // Asked of every pack there is: of one that was never read nothing is begun.
        if !self.lock().blobs.contains_key(&id_of(&blob.key)) {
            return None;
        }
        match self.step(&id_of(&blob.key), blob, &(0..0)) {
            Ok(Step::Mapped(map)) => Some(map),
            _ => None,
        }
    }

    /// Goes on without the cache for once.
    fn without(
        &self,
        id: &str,
        error: &io::Error,
        range: Range<u64>,
        fetch: Fetch<'_>,
    ) -> Result<Bytes> {
        tracing::warn!(%error, "the cache of what was read from a bucket cannot be used");
        self.forget(&mut self.lock(), id);
        fetched(range, fetch)
    }

    fn step(&self, id: &str, blob: &Cacheable, range: &Range<u64>) -> io::Result<Step> {
        let mut state = self.lock();
        self.forget_lost(&mut state);
        loop {
            state.uses += 1;
            let uses = state.uses;
            if !state.blobs.contains_key(id) {
                let entry = self.new_entry(id, blob, uses)?;
                state.blobs.insert(id.to_owned(), entry);
                self.evict(&mut state, id);
            }
            let entry = state.blobs.get_mut(id).expect("just made");
            entry.last_use = uses;
            match &mut entry.content {
                Content::Whole(map) => return Ok(Step::Mapped(map.clone())),
                Content::Unread => match self.reopen(entry.path.as_deref(), entry.size) {
                    Some(map) => entry.content = Content::Whole(map),
                    None => self.forget(&mut state, id),
                },
                Content::Pieces(pieces) => match pieces.next(range) {
                    Next::Read => return Ok(Step::Read(pieces.file.clone())),
                    Next::Fetch(run) => return Ok(Step::Fetch(pieces.file.clone(), run)),
                    Next::Wait => {
                        state = self.fetched.wait(state).unwrap_or_else(PoisonError::into_inner);
                    }
                },
            }
        }
    }

    fn new_entry(&self, id: &str, blob: &Cacheable, last_use: u64) -> io::Result<Entry> {
        let (file, path) = match &self.directory {
            None => (tempfile::tempfile()?, None),
            Some(directory) => {
                let path = directory.join(format!("{id}.part"));
                let mut how = File::options();
                how.read(true).write(true).create(true).truncate(true);
                (how.open(&path)?, Some(path))
            }
        };
        let content = Content::Pieces(Pieces::new(Arc::new(file), blob.size));
        Ok(Entry { size: blob.size, last_use, content, path })
    }

    fn fetch(
        &self,
        id: &str,
        blob: &Cacheable,
        (file, pieces): (&Arc<File>, Range<usize>),
        fetch: Fetch<'_>,
    ) -> Result<io::Result<()>> {
        let range = bytes_of(&pieces, blob.size);
        let mut begun = Begun { cache: self, id, file, pieces, is_here: false };
        let mut at_disk = Ok(());
        let fetched = fetch(range, &mut |at, bytes| {
            let written = file.write_all_at(bytes, at);
            written
                .inspect_err(|error| at_disk = Err(io::Error::new(error.kind(), error.to_string())))
        });
        begun.is_here = fetched.is_ok();
        drop(begun);
        match at_disk {
            Ok(()) => fetched.map(Ok),
            // What the bucket said is no worse for it.
            Err(error) => Ok(Err(error)),
        }
    }

    /// Some pieces are here now, or nobody's again.
    fn settle(&self, id: &str, file: &Arc<File>, pieces: Range<usize>, is_here: bool) {
        let mut state = self.lock();
        let (mut more, mut is_whole) = (0, false);
        if let Some(entry) = state.blobs.get_mut(id)
            && let Content::Pieces(present) = &mut entry.content
            && Arc::ptr_eq(&present.file, file)
        {
            more = present.settle(pieces, is_here);
            is_whole = present.bytes_here() == entry.size;
        }
        state.bytes += more;
        self.fetched.notify_all();
        if is_whole {
            self.complete(&mut state, id, file);
        }
        self.evict(&mut state, id);
    }

    /// Files that were cut while they were mapped have zeros in them: they are read anew.
    fn forget_lost(&self, state: &mut State) {
        let losses = self.losses.count();
        if std::mem::replace(&mut state.losses, losses) == losses {
            return;
        }
        let is_whole = |entry: &Entry| matches!(entry.content, Content::Whole(_));
        let whole = state.blobs.iter().filter(|(_, entry)| is_whole(entry));
        for id in whole.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.forget(state, &id);
        }
    }

    /// Maps a file all of which is there, and gives it the name under which it stays.
    fn complete(&self, state: &mut State, id: &str, file: &File) {
        let Some(entry) = state.blobs.get_mut(id) else { return };
        let map = match maps::map(file, &self.losses) {
            Ok(map) => map,
            Err(error) => {
                tracing::warn!(%error, "a file of the cache cannot be mapped");
                return;
            }
        };
        if let (Some(directory), Some(path)) = (&self.directory, &entry.path) {
            let name = format!("{id}.{}.{}{WHOLE}", entry.size, sum_of(&map));
            let to = directory.join(name);
            if fs::rename(path, &to).is_ok() {
                entry.path = Some(to);
            }
        }
        entry.content = Content::Whole(map);
    }

    /// A file from before, if it is what it was.
    fn reopen(&self, path: Option<&Path>, size: u64) -> Option<Bytes> {
        let path = path?;
        let map = maps::map(&File::open(path).ok()?, &self.losses).ok()?;
        let name = path.file_name()?.to_str()?.strip_suffix(WHOLE)?;
        let sum = name.rsplit('.').next()?;
        (map.len() as u64 == size && sum_of(&map) == sum).then_some(map)
    }

    fn forget(&self, state: &mut State, id: &str) {
        let Some(entry) = state.blobs.remove(id) else { return };
        state.bytes -= entry.bytes();
        if let Some(path) = entry.path
            && let Err(error) = fs::remove_file(&path)
        {
            tracing::debug!(%error, "a file of the cache is gone");
        }
    }

    /// Makes room: what was not used for longest goes. `but` stays.
    fn evict(&self, state: &mut State, but: &str) {
        loop {
            let is_open = |entry: &Entry| matches!(entry.content, Content::Pieces(_));
            let too_many =
                || state.blobs.values().filter(|entry| is_open(entry)).count() > OPEN_MAX;
            let too_much = state.bytes > self.bytes_max;
            if !too_much && (state.blobs.len() <= OPEN_MAX || !too_many()) {
                return;
            }
            let oldest = state
                .blobs
                .iter()
                .filter(|(id, entry)| *id != but && !entry.is_fetched())
                .filter(|(_, entry)| too_much || is_open(entry))
                .min_by_key(|(_, entry)| entry.last_use)
                .map(|(id, _)| id.clone());
            match oldest {
                Some(id) => self.forget(state, &id),
                None => return,
            }
        }
    }

    /// Bytes that are here.
    #[cfg(test)]
    fn bytes(&self) -> u64 {
        self.lock().bytes
    }
}

/// Pieces that somebody fetches: whatever becomes of him, those who wait for them go on.
struct Begun<'a> {
    cache: &'a BlobCache,
    id: &'a str,
    file: &'a Arc<File>,
    pieces: Range<usize>,
    is_here: bool,
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        self.cache.settle(self.id, self.file, self.pieces.clone(), self.is_here);
    }
}

fn id_of(key: &str) -> String {
    let mut sum = Checksum::new(HashKind::Sha256);
    sum.update(key.as_bytes());
    sum.finish().to_string()
}

fn sum_of(bytes: &[u8]) -> String {
    format!("{:08x}", crc32fast::hash(bytes))
}

/// The id and the size in the name of a whole file.
fn whole_name(name: &str) -> Option<(String, u64)> {
    let mut parts = name.strip_suffix(WHOLE)?.split('.');
    let (id, size, _sum) = (parts.next()?, parts.next()?, parts.next()?);
    Some((id.to_owned(), size.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn blob(key: &str, size: u64) -> Cacheable {
        Cacheable { key: key.to_owned(), size }
    }

    fn content(size: u64) -> Bytes {
        (0..size).map(|at| (at * 7 + at / 1000) as u8).collect()
    }

    /// In two parts.
    fn give(bytes: &Bytes, range: Range<u64>, sink: Sink<'_>) -> Result<()> {
        let middle = range.start.midpoint(range.end);
        for part in [range.start..middle, middle..range.end] {
            let bytes = &bytes[part.start as usize..part.end as usize];
            sink(part.start, bytes).map_err(|error| Error::io("x", error))?;
        }
        Ok(())
    }

    fn whole(cache: &BlobCache, blob: &Cacheable, fetch: Fetch<'_>) -> Option<Bytes> {
        cache.prefetch(blob, 0..blob.size, fetch).expect("fetched");
        cache.mapped(blob)
    }

    #[test]
    fn what_was_read_is_not_fetched_again() {
        let cache = BlobCache::open(None, 10 << 20, Losses::new()).expect("opens");
        let (blob, bytes) = (blob("a", 1_000_000), content(1_000_000));
        let fetched = AtomicUsize::new(0);
        let fetch = |range: Range<u64>, sink: Sink<'_>| {
            fetched.fetch_add((range.end - range.start) as usize, Ordering::Relaxed);
            give(&bytes, range, sink)
        };
        for range in [10..20, 5..1000, 786_431..786_433, 700_000..1_000_000] {
            let read = cache.read(&blob, range.clone(), &fetch).expect("fetched");
            assert!(read == bytes[range.start as usize..range.end as usize]);
        }
        assert!(cache.mapped(&blob).is_none());
        let once = fetched.load(Ordering::Relaxed);
        assert_eq!(cache.read(&blob, 12..15, &fetch).expect("here"), bytes[12..15]);
        assert_eq!(fetched.load(Ordering::Relaxed), once);
        assert!(whole(&cache, &blob, &fetch).expect("fits") == bytes);
        assert_eq!(fetched.load(Ordering::Relaxed), bytes.len(), "each byte once");
        assert!(cache.mapped(&blob).expect("whole") == bytes);
    }

    #[test]
    fn who_reads_on_is_served_in_windows() {
        let cache = BlobCache::open(None, 100 << 20, Losses::new()).expect("opens");
        let size = 40 << 20;
        let (blob, bytes) = (blob("a", size), content(size));
        let requests = Mutex::new(Vec::new());
        let fetch = |range: Range<u64>, sink: Sink<'_>| {
            requests.lock().expect("no panic").push(range.clone());
            give(&bytes, range, sink)
        };
        let mut at = 0;
        while at < size {
            let range = at..(at + 2_000_000).min(size);
            for ahead in cache.ahead_of(&blob, &range) {
                cache.prefetch(&blob, ahead, &fetch).expect("fetched");
            }
            assert!(cache.read(&blob, range.clone(), &fetch).expect("here").len() > 1);
            at = range.end;
        }
        let requests = requests.into_inner().expect("no panic");
        assert_eq!(requests.len(), 5, "{requests:?}");
        let sum: u64 = requests.iter().map(|range| range.end - range.start).sum();
        assert_eq!(sum, size);
    }

    /// Somebody looked far behind before: what is read on and on is fetched ahead all the same.
    #[test]
    fn reading_ahead_does_not_depend_on_what_was_read_before() {
        let cache = BlobCache::open(None, 100 << 20, Losses::new()).expect("opens");
        let size = 80 << 20;
        let (blob, bytes) = (blob("a", size), content(size));
        let fetch = |range: Range<u64>, sink: Sink<'_>| give(&bytes, range, sink);
        let window = 8 << 20;
        let read = |range: Range<u64>| {
            let ahead = cache.ahead_of(&blob, &range);
            cache.read(&blob, range, &fetch).expect("fetched");
            ahead
        };
        // Of a blob that nobody has read nothing is known.
        assert_eq!(read(5 * window..5 * window + 10), []);
        assert_eq!(
            read(7 * window..7 * window + 2_000_000),
            [8 * window..9 * window, 9 * window..size]
        );
        let expected = [window..2 * window, 2 * window..3 * window, 3 * window..4 * window];
        assert_eq!(read(0..2_000_000), expected);
        // Each is named once, and what is here is not named.
        assert_eq!(read(2_000_000..4_000_000), []);
        assert_eq!(read(4 * window..5 * window), [5 * window..6 * window, 6 * window..7 * window]);
        assert_eq!(read(window..window + 2_000_000), []);
    }

    #[test]
    fn who_gives_up_holds_nobody_up() {
        let cache = BlobCache::open(None, 10 << 20, Losses::new()).expect("opens");
        let (blob, bytes) = (blob("a", 600_000), content(600_000));
        assert!(cache.mapped(&blob).is_none());
        assert!(cache.lock().blobs.is_empty(), "a question begins nothing");
        let panics = |_: Range<u64>, _: Sink<'_>| -> Result<()> { panic!("in the middle") };
        let read = std::panic::AssertUnwindSafe(|| cache.read(&blob, 0..600_000, &panics));
        std::panic::catch_unwind(read).expect_err("it panics");
        let fetch = |range: Range<u64>, sink: Sink<'_>| give(&bytes, range, sink);
        assert!(cache.read(&blob, 0..600_000, &fetch).expect("fetched") == bytes);
        assert!(cache.mapped(&blob).is_some());
    }

    #[test]
    fn many_readers_fetch_once() {
        let cache = BlobCache::open(None, 10 << 20, Losses::new()).expect("opens");
        let (blob, bytes) = (blob("a", 3_000_000), content(3_000_000));
        let fetched = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for start in 0..8_u64 {
                let (cache, blob, bytes, fetched) = (&cache, &blob, &bytes, &fetched);
                scope.spawn(move || {
                    let fetch = |range: Range<u64>, sink: Sink<'_>| {
                        fetched.fetch_add((range.end - range.start) as usize, Ordering::Relaxed);
                        std::thread::yield_now();
                        give(bytes, range, sink)
                    };
                    let range = start * 100_000..3_000_000;
                    let read = cache.read(blob, range.clone(), &fetch).expect("fetched");
                    assert!(read == bytes[range.start as usize..]);
                });
            }
        });
        assert_eq!(fetched.load(Ordering::Relaxed), bytes.len());
    }

    #[test]
    fn room_is_made_and_what_fails_is_tried_again() {
        let cache = BlobCache::open(None, 1_000_000, Losses::new()).expect("opens");
        let bytes = content(600_000);
        let fetch = |range: Range<u64>, sink: Sink<'_>| give(&bytes, range, sink);
        for key in ["a", "b", "c"] {
            whole(&cache, &blob(key, 600_000), &fetch).expect("fits");
            assert!(cache.bytes() <= 1_000_000);
        }
        assert!(cache.mapped(&blob("c", 600_000)).is_some());
        assert!(cache.mapped(&blob("a", 600_000)).is_none());
        let large = blob("large", 2_000_000);
        assert!(whole(&cache, &large, &fetch).is_none());
        let fails = |_: Range<u64>, _: Sink<'_>| Err(Error::not_found("gone"));
        cache.read(&blob("d", 600_000), 0..9, &fails).expect_err("it fails");
        assert_eq!(cache.read(&blob("d", 600_000), 0..9, &fetch).expect("again"), bytes[..9]);
    }

    #[test]
    fn whole_files_stay_and_may_be_removed() {
        let folder = testkit::TempDir::new();
        let bytes = content(700_000);
        let fetch = |range: Range<u64>, sink: Sink<'_>| give(&bytes, range, sink);
        let fails = |_: Range<u64>, _: Sink<'_>| Err(Error::not_found("gone"));
        let open = || BlobCache::open(Some(folder.path()), 10 << 20, Losses::new()).expect("opens");
        let cache = open();
        let twice = BlobCache::open(Some(folder.path()), 1, Losses::new()).err().expect("in use");
        assert!(matches!(twice, Error::Unavailable { .. }), "{twice}");
        let keys = ["a", "b", "c"].map(|key| blob(key, 700_000));
        for blob in &keys {
            whole(&cache, blob, &fetch).expect("fits");
        }
        cache.read(&blob("d", 700_000), 0..9, &fetch).expect("fetched");
        drop(cache);
        let cache = open();
        assert_eq!(cache.bytes(), 2_100_000);
        assert!(cache.read(&keys[0], 0..700_000, &fails).expect("here") == bytes);
        // One is damaged, one is removed.
        let path = |blob: &Cacheable| {
            let id = id_of(&blob.key);
            let files = fs::read_dir(folder.path()).expect("a directory");
            let mut files = files.map(|file| file.expect("readable").path());
            files.find(|path| path.to_string_lossy().contains(&id)).expect("there")
        };
        fs::write(path(&keys[1]), vec![0; 700_000]).expect("written");
        fs::remove_file(path(&keys[2])).expect("removed");
        for blob in &keys[1..] {
            assert_eq!(cache.read(blob, 5..9, &fetch).expect("again"), bytes[5..9]);
        }
        drop(cache);
        let names = fs::read_dir(folder.path()).expect("a directory");
        let names: Vec<_> = names.map(|file| file.expect("readable").file_name()).collect();
        let whole = names.iter().filter(|name| name.to_string_lossy().ends_with(WHOLE));
        assert_eq!(whole.count(), 1, "{names:?}");
    }
}
