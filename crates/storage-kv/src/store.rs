//! The file, and the repositories in it.

use std::collections::BTreeSet;
use std::ops::Bound;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use redb::{
    Database, ReadTransaction, ReadableDatabase as _, ReadableTable as _, WriteTransaction,
};
use storage::{
    Bells, Error, HeldRefs, Moved, NewRepository, Parts, Peeled, RepositoryStore, Result, Stored,
    Target, check_repository_name,
};

use crate::chunks;
use crate::errors::failed;
use crate::group::GroupCommit;
use crate::opened::{Opened, Retired};
use crate::tables::{
    BLOBS, BlobRow, CHUNKS, LAYOUT, LAYOUT_PRESENT, META, NEXT_REPOSITORY, NUMBERS, REFLOGS, REFS,
    REPOSITORIES, RepositoryNumber, SHALLOW, STAGED, decode_repository, encode_ref,
    encode_repository,
};
use crate::{KvBlobs, KvRefs};

/// How long the next attempt waits when another process has the file open.
const OPEN_RETRY: Duration = Duration::from_millis(10);

/// How a file is opened.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// Bytes of memory for pages of the file, read and written.
    pub cache_bytes: usize,
    /// The most writers that share one durable commit.
    pub writers_per_commit_max: usize,
    /// How long a transaction waits for another that holds one of its refs.
    pub lock_wait: Duration,
    /// How long to wait for another process that has the file open.
    pub open_wait: Duration,
}

impl Default for OpenOptions {
    fn default() -> Self {
        OpenOptions {
            cache_bytes: 16 << 20,
            writers_per_commit_max: 1024,
            lock_wait: Duration::from_secs(1),
            open_wait: Duration::ZERO,
        }
    }
}

/// Repositories in one file.
#[derive(Clone)]
pub struct KvStore {
    shared: Arc<Shared>,
}

/// What everything made from one open file shares.
pub(crate) struct Shared {
    /// What to call the file in errors.
    pub what: String,
    pub database: Arc<Database>,
    pub group: GroupCommit,
    pub held: HeldRefs,
    pub lock_wait: Duration,
    /// Names of blobs that some stage will replace.
    reserved: Mutex<BTreeSet<(RepositoryNumber, String)>>,
    opened: Mutex<Opened>,
    /// Who wants to know when refs move.
    pub bells: Bells<RepositoryNumber>,
    next_chunks: AtomicU64,
}

impl Shared {
    pub fn reserved(&self) -> MutexGuard<'_, BTreeSet<(RepositoryNumber, String)>> {
        self.reserved.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn opened(&self) -> MutexGuard<'_, Opened> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn begin_read(&self) -> Result<ReadTransaction> {
        self.database.begin_read().map_err(failed(&self.what))
    }

    /// A number for the chunks of a new blob.
    pub fn next_chunks(&self) -> u64 {
        self.next_chunks.fetch_add(1, Ordering::Relaxed)
    }
}

impl KvStore {
    /// Opens a file, or makes it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when another process has it open, [`Error::Unsupported`] when a newer
    /// program made it, [`Error::Corrupt`] when it is damaged, and what the system says.
    pub fn open(path: &Path, options: &OpenOptions) -> Result<Self> {
        let what = path.display().to_string();
        let database = Arc::new(open_database(path, options).map_err(failed(&what))?);
        let next_chunks = prepare(&database, &what)?;
        let group =
            GroupCommit::new(what.clone(), database.clone(), options.writers_per_commit_max);
        let shared = Shared {
            what,
            database,
            group,
            held: HeldRefs::default(),
            lock_wait: options.lock_wait,
            reserved: Mutex::default(),
            opened: Mutex::default(),
            bells: Bells::default(),
            next_chunks: AtomicU64::new(next_chunks),
        };
        Ok(KvStore { shared: Arc::new(shared) })
    }
}

/// Opens the file, as soon as no other process has it open if that is soon enough.
fn open_database(
    path: &Path,
    options: &OpenOptions,
) -> std::result::Result<Database, redb::DatabaseError> {
    let mut builder = Database::builder();
    builder.set_cache_size(options.cache_bytes);
    let begun = Instant::now();
    loop {
        match builder.create(path) {
            Err(redb::DatabaseError::DatabaseAlreadyOpen)
                if begun.elapsed() < options.open_wait =>
            {
                std::thread::sleep(OPEN_RETRY);
            }
            opened => return opened,
        }
    }
}

impl RepositoryStore for KvStore {
    fn names(&self, after: &str, most: usize) -> Result<Vec<String>> {
        let what = &self.shared.what;
        let transaction = self.shared.begin_read()?;
        let table = transaction.open_table(REPOSITORIES).map_err(failed(what))?;
        let behind = (Bound::Excluded(after.as_bytes()), Bound::Unbounded);
        let mut names = Vec::new();
        for row in table.range::<&[u8]>(behind).map_err(failed(what))?.take(most) {
            let (name, _) = row.map_err(failed(what))?;
            let name = String::from_utf8(name.value().to_vec());
            names.push(name.map_err(|_| Error::corrupt(what, "a repository's name is no text"))?);
        }
        Ok(names)
    }

    fn find(&self, name: &str) -> Result<Option<Stored>> {
        let what = &self.shared.what;
        let transaction = self.shared.begin_read()?;
        let table = transaction.open_table(REPOSITORIES).map_err(failed(what))?;
        let row = table.get(name.as_bytes()).map_err(failed(what))?;
        row.map(|row| decode_repository(name, row.value())).transpose()
    }

    fn own_parts(&self, name: &str, stored: &Stored) -> Result<Parts> {
        let number = RepositoryNumber(stored.number);
        let refs = KvRefs::new(self.shared.clone(), number, stored.hash);
        stored.parts(name, Arc::new(refs), Arc::new(KvBlobs::new(self.shared.clone(), number)))
    }

    fn create(&self, name: &str, new: &NewRepository<'_>) -> Result<bool> {
        check_repository_name(name)?;
        let is_made = Arc::new(AtomicBool::new(false));
        let told = is_made.clone();
        let (name, head) = (name.to_owned(), new.head.clone());
        let (hash, config) = (new.hash, new.config.to_vec());
        self.shared.group.run(Box::new(move |rows| {
            let mut repositories = rows.open_table(REPOSITORIES)?;
            if repositories.get(name.as_bytes())?.is_some() {
                return Ok(());
            }
            let mut meta = rows.open_table(META)?;
            let number = meta.get(NEXT_REPOSITORY)?.map_or(1, |number| number.value());
            meta.insert(NEXT_REPOSITORY, number + 1)?;
            let row = encode_repository(&Stored { number, hash, config });
            repositories.insert(name.as_bytes(), &*row)?;
            let number = RepositoryNumber(number);
            rows.open_table(NUMBERS)?.insert(&number.own_key()[..], name.as_bytes())?;
            let head = encode_ref(&Target::Symbolic(head), &Peeled::Unknown);
            rows.open_table(REFS)?.insert(&*number.key(b"HEAD"), &*head)?;
            is_made.store(true, Ordering::Release);
            Ok(())
        }))?;
        Ok(told.load(Ordering::Acquire))
    }

    fn configure(&self, name: &str, found: &Stored, config: &[u8]) -> Result<bool> {
        let is_set = Arc::new(AtomicBool::new(false));
        let told = is_set.clone();
        let (name, before) = (name.to_owned(), encode_repository(found));
        let after = encode_repository(&Stored { config: config.to_vec(), ..found.clone() });
        self.shared.group.run(Box::new(move |rows| {
            let mut repositories = rows.open_table(REPOSITORIES)?;
            let is_same =
                repositories.get(name.as_bytes())?.is_some_and(|row| row.value() == &*before);
            if is_same {
                repositories.insert(name.as_bytes(), &*after)?;
            }
            is_set.store(is_same, Ordering::Release);
            Ok(())
        }))?;
        Ok(told.load(Ordering::Acquire))
    }

    fn remove(&self, name: &str) -> Result<bool> {
        let removed = Arc::new(OnceLock::new());
        let told = removed.clone();
        let retired = Retired::default();
        let to_drop = retired.clone();
        let name = name.to_owned();
        self.shared.group.run(Box::new(move |rows| {
            let mut repositories = rows.open_table(REPOSITORIES)?;
            let row = repositories.remove(name.as_bytes())?.map(|row| row.value().to_vec());
            let Some(row) = row else { return Ok(()) };
            let stored = decode_repository(&name, &row)
                .map_err(|error| redb::Error::Corrupted(error.to_string()))?;
            let number = RepositoryNumber(stored.number);
            remove_rows(rows, &name, number, &retired)?;
            let _ = removed.set(number);
            Ok(())
        }))?;
        to_drop.drop_unread(&self.shared);
        let removed = told.get();
        if let Some(number) = removed {
            self.shared.bells.ring(number, Moved::Somehow);
        }
        Ok(removed.is_some())
    }
}

/// Removes all that belongs to a repository.
fn remove_rows(
    rows: &WriteTransaction,
    name: &str,
    number: RepositoryNumber,
    retired: &Retired,
) -> Result<(), redb::Error> {
    rows.open_table(NUMBERS)?.remove(&number.own_key()[..])?;
    let (first, end) = (number.own_key(), number.end());
    for table in [REFS, SHALLOW, REFLOGS] {
        rows.open_table(table)?.retain_in::<&[u8], _>(&first[..]..&end[..], |_, _| false)?;
    }
    let mut left = Vec::new();
    for row in rows.open_table(BLOBS)?.range::<&[u8]>(&first[..]..&end[..])? {
        let row = BlobRow::decode(name, row?.1.value())
            .map_err(|error| redb::Error::Corrupted(error.to_string()))?;
        left.push(row.chunks);
    }
    rows.open_table(BLOBS)?.retain_in::<&[u8], _>(&first[..]..&end[..], |_, _| false)?;
    left.into_iter().try_for_each(|chunks| retired.retire(rows, chunks))
}

/// Makes what is missing, drops what a crash left, and gives the next number for chunks.
fn prepare(database: &Database, what: &str) -> Result<u64> {
    let transaction = database.begin_write().map_err(failed(what))?;
    let layout = layout(&transaction).map_err(failed(what))?;
    if layout != LAYOUT_PRESENT {
        let detail =
            format!("{what}: its layout is version {layout}, this program knows {LAYOUT_PRESENT}");
        return Err(Error::Unsupported { what: what.to_owned(), detail });
    }
    let next = clean(&transaction).map_err(failed(what))?;
    transaction.commit().map_err(failed(what))?;
    Ok(next)
}

fn layout(rows: &WriteTransaction) -> Result<u64, redb::Error> {
    let mut meta = rows.open_table(META)?;
    if let Some(layout) = meta.get(LAYOUT)? {
        return Ok(layout.value());
    }
    meta.insert(LAYOUT, LAYOUT_PRESENT)?;
    for table in [REPOSITORIES, NUMBERS, REFS, SHALLOW, REFLOGS, BLOBS, CHUNKS, STAGED] {
        rows.open_table(table)?;
    }
    Ok(LAYOUT_PRESENT)
}

fn clean(rows: &WriteTransaction) -> Result<u64, redb::Error> {
    let mut left = Vec::new();
    for row in rows.open_table(STAGED)?.iter()? {
        let (key, _) = row?;
        left.extend(key.value().try_into().map(u64::from_be_bytes));
    }
    for chunks in left {
        chunks::remove(rows, chunks)?;
    }
    let chunks = rows.open_table(CHUNKS)?;
    let last = chunks.last()?.and_then(|(key, _)| key.value().first_chunk().copied());
    Ok(last.map_or(1, |last| u64::from_be_bytes(last) + 1))
}
