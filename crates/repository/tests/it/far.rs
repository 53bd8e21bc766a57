//! Repositories whose packs cannot be mapped: every read is a journey, so it is counted.

use std::io::Write as _;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use bytes::Bytes;
use object::ObjectId;
use repository::{
    Error, Filter, PackRequest, PackStream, RangeReads, Repository, Settings, Silent, plan,
};
use storage::metered::{Meter, MeteredBlobs};
use storage::{BlobMeta, BlobStore, MemoryBlobs, OpenBlob, Stage};
use testkit::{RealGit, Scenario};

use crate::bare::Bare;
use crate::plan::{STORAGE, ids, pack_for, stored};

/// How long a read waits for another; a machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// Reads so short that small packs take many.
pub fn short_reads() -> RangeReads {
    RangeReads { bytes: 3000, gap_bytes: 200, ahead: 2, cache_bytes: 0 }
}

/// The same repository, its objects in memory and its refs where they are.
pub fn far(bare: &Bare, meter: &Arc<Meter>, range_reads: RangeReads) -> Repository {
    let blobs = MemoryBlobs::new();
    let mut stage = blobs.stage().expect("a stage");
    let root = bare.dir.join("objects");
    for file in bare.files() {
        let name = file.strip_prefix(&root).expect("below it").to_str().expect("UTF-8");
        let mut blob = stage.create(name).expect("a blob");
        blob.write_all(&std::fs::read(&file).expect("readable")).expect("memory");
        blob.finish().expect("memory");
    }
    stage.publish().expect("memory");
    let mut parts = bare.repository.parts().clone();
    parts.blobs = Arc::new(MeteredBlobs::new(Arc::new(blobs), meter.clone()));
    parts.local = None;
    Repository::open(parts, Settings { range_reads, ..Settings::default() })
}

/// Everything a clone of all refs asks for.
fn clone_of_all(git: &RealGit, bare: &Bare) -> PackRequest {
    let tips = git.ok(&bare.dir, &["for-each-ref", "--format=%(objectname)"]);
    let wants = tips.lines().filter_map(|hex| ObjectId::from_hex(hex.as_bytes())).collect();
    PackRequest { wants, ofs_delta: true, ..PackRequest::default() }
}

/// The pack a request gets, and what was read of stored packs to send it: not what was read to
/// decide what goes in.
fn sent(far: &Repository, meter: &Meter, request: &PackRequest) -> (Vec<u8>, Vec<Range<u64>>) {
    let objects = far.objects().expect("a view");
    let plan = plan(&objects, request, &mut Silent).expect("a plan");
    meter.reset();
    let pack = all_of(plan.into_stream()).expect("no damage");
    (pack, meter.reads_of(".pack"))
}

fn all_of(mut stream: PackStream) -> Result<Vec<u8>, Error> {
    let mut pack = Vec::new();
    while let Some(chunk) = stream.next()? {
        pack.extend_from_slice(&chunk);
    }
    Ok(pack)
}

fn total(reads: &[Range<u64>]) -> u64 {
    reads.iter().map(|range| range.end - range.start).sum()
}

#[test]
fn a_pack_is_the_same_wherever_its_parts_come_from() {
    for name in STORAGE {
        let git = RealGit::new();
        let bare = Bare::open(&stored(&git, name, Scenario::realistic(400, 7)));
        let clone = clone_of_all(&git, &bare);
        let fetch = PackRequest {
            wants: ids(&git, &bare.dir, &["main"]),
            haves: ids(&git, &bare.dir, &["main~4"]),
            ..clone.clone()
        };
        let requests = [
            PackRequest { filter: Some(Filter::BlobNone), ..clone.clone() },
            PackRequest { filter: Some(Filter::BlobLimit(100)), ..clone.clone() },
            PackRequest { ofs_delta: false, ..clone.clone() },
            PackRequest { thin: true, ..fetch.clone() },
            clone,
            fetch,
        ];
        let meter = Arc::<Meter>::default();
        for range_reads in [RangeReads::default(), short_reads()] {
            let far = far(&bare, &meter, range_reads);
            for request in &requests {
                let pack = pack_for(&far, request);
                assert!(pack == pack_for(&bare.repository, request), "{name} {request:?}");
            }
        }
    }
}

#[test]
fn a_pack_that_is_sent_whole_is_read_once_in_long_reads() {
    let git = RealGit::new();
    let bare = Bare::open(&stored(&git, "bitmap", Scenario::realistic(400, 7)));
    let clone = clone_of_all(&git, &bare);
    for bytes in [3000, 20_000] {
        let meter = Arc::<Meter>::default();
        let far = far(&bare, &meter, RangeReads { bytes, ..short_reads() });
        let (pack, reads) = sent(&far, &meter, &clone);
        // One read each for the version at its beginning and the checksum at its end.
        let length = pack.len() as u64;
        assert_eq!(reads.len() as u64, 2 + (length - 32).div_ceil(bytes), "{reads:?}");
        assert_eq!(total(&reads), length - 12 + 8, "nothing is read twice");
    }
}

#[test]
fn what_lies_close_together_is_read_together() {
    let git = RealGit::new();
    let bare = Bare::open(&stored(&git, "bitmap", Scenario::realistic(1500, 9)));
    let clone = clone_of_all(&git, &bare);
    let without_blobs = PackRequest { filter: Some(Filter::BlobNone), ..clone.clone() };
    let reads_with = |gap_bytes: u64| {
        let meter = Arc::<Meter>::default();
        let far = far(&bare, &meter, RangeReads { gap_bytes, ..RangeReads::default() });
        sent(&far, &meter, &without_blobs)
    };
    let (pack, close) = reads_with(0);
    assert!(total(&close) <= pack.len() as u64, "nothing is read that is not sent");
    let (_, together) = reads_with(1 << 20);
    assert_eq!(together.len(), 1, "{together:?}");
    assert!(close.len() > 1, "{close:?}");
}

#[test]
fn a_walk_reads_whole_neighbourhoods() {
    let git = RealGit::new();
    let bare = Bare::open(&stored(&git, "one-pack", Scenario::realistic(3000, 3)));
    let length = bare.pack_file("pack").len() as u64;
    let meter = Arc::<Meter>::default();
    let far = far(&bare, &meter, RangeReads::default());
    let request = PackRequest {
        wants: ids(&git, &bare.dir, &["main"]),
        haves: ids(&git, &bare.dir, &["main~100"]),
        ofs_delta: true,
        ..Default::default()
    };
    let pack = pack_for(&far, &request);
    assert!(pack.len() > 1000);
    let reads = meter.reads_of(".pack");
    let few = 2 + length.div_ceil(64 << 10) as usize;
    assert!(reads.len() <= few, "{} reads of {length} bytes", reads.len());
}

#[test]
fn the_next_read_is_under_way_while_one_is_waited_for() {
    let git = RealGit::new();
    let bare = Bare::open(&stored(&git, "bitmap", Scenario::realistic(400, 7)));
    let clone = clone_of_all(&git, &bare);
    let expected = pack_for(&bare.repository, &clone);
    // The first read that the pack is made of does not end before the second has begun.
    let begun = Arc::new((Mutex::new(0), Condvar::new()));
    let delay = {
        let begun = begun.clone();
        move |name: &str, range: &Range<u64>| {
            if !name.ends_with(".pack") || range.end - range.start != 3000 {
                return;
            }
            let (count, changed) = &*begun;
            let mut count = count.lock().expect("no test has failed");
            *count += 1;
            changed.notify_all();
            if range.start == 12 {
                let (count, waited) = changed
                    .wait_timeout_while(count, PATIENCE, |count| *count < 2)
                    .expect("no test has failed");
                drop(count);
                assert!(!waited.timed_out(), "no second read");
            }
        }
    };
    let meter = Arc::new(Meter::with_delay(Box::new(delay)));
    let far = far(&bare, &meter, short_reads());
    assert!(pack_for(&far, &clone) == expected);
}

/// A store that loses all but the beginning of a blob when it is told to.
struct CutBlobs {
    inner: Arc<dyn BlobStore>,
    name: String,
    is_cut: Arc<AtomicBool>,
}

struct CutBlob {
    inner: Arc<dyn OpenBlob>,
    is_cut: Arc<AtomicBool>,
}

impl OpenBlob for CutBlob {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn read(&self, range: Range<u64>) -> storage::Result<Bytes> {
        let end = if self.is_cut.load(Ordering::Relaxed) { 2000 } else { u64::MAX };
        self.inner.read(range.start.min(end)..range.end.min(end))
    }
}

impl BlobStore for CutBlobs {
    fn stat(&self, name: &str) -> storage::Result<Option<BlobMeta>> {
        self.inner.stat(name)
    }

    fn read(&self, name: &str, range: Range<u64>) -> storage::Result<Bytes> {
        self.inner.read(name, range)
    }

    fn open(&self, name: &str) -> storage::Result<Option<Arc<dyn OpenBlob>>> {
        let Some(inner) = self.inner.open(name)? else { return Ok(None) };
        match name == self.name {
            true => Ok(Some(Arc::new(CutBlob { inner, is_cut: self.is_cut.clone() }))),
            false => Ok(Some(inner)),
        }
    }

    fn list(&self, prefix: &str) -> storage::Result<Vec<BlobMeta>> {
        self.inner.list(prefix)
    }

    fn delete(&self, name: &str) -> storage::Result<()> {
        self.inner.delete(name)
    }

    fn stage(&self) -> storage::Result<Box<dyn Stage>> {
        self.inner.stage()
    }
}

#[test]
fn a_pack_that_is_cut_short_in_the_store_is_damage() {
    let git = RealGit::new();
    let bare = Bare::open(&stored(&git, "bitmap", Scenario::realistic(400, 7)));
    let clone = clone_of_all(&git, &bare);
    let meter = Arc::<Meter>::default();
    let far = far(&bare, &meter, short_reads());
    let name = {
        let files = bare.files();
        let pack = files.iter().find(|file| file.extension().is_some_and(|e| e == "pack"));
        let name = pack.expect("a pack").file_name().expect("a name").to_string_lossy();
        format!("pack/{name}")
    };
    let is_cut = Arc::<AtomicBool>::default();
    let mut parts = far.parts().clone();
    parts.blobs = Arc::new(CutBlobs { inner: parts.blobs, name, is_cut: is_cut.clone() });
    let settings = Settings { range_reads: short_reads(), ..Settings::default() };
    let objects = Repository::open(parts, settings).objects().expect("a view");
    let plan = plan(&objects, &clone, &mut Silent).expect("a plan");
    is_cut.store(true, Ordering::Relaxed);
    let error = all_of(plan.into_stream()).expect_err("a part is missing");
    assert!(error.to_string().contains("ends before its time"), "{error}");
}
