//! A bucket in memory with bad habits.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use testkit::Random;
use tokio::sync::Notify;

/// What is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// It says yes to every condition, and overwrites.
    Overwrites,
    /// One write in so many fails, half of them after it was done.
    LosesAnswers(usize),
    /// Each read of so many is not answered for long, unless somebody asks for the same thing again.
    Dozes(usize),
}

/// Longer than anybody waits.
const DOZE: Duration = Duration::from_secs(20);

#[derive(Debug)]
pub struct Odd {
    inner: InMemory,
    habit: Habit,
    random: Mutex<Random>,
    /// What nobody has asked for again yet.
    dozing: Mutex<BTreeMap<Path, Arc<Notify>>>,
    reads: AtomicUsize,
}

impl Odd {
    pub fn new(habit: Habit, seed: u64) -> Self {
        Odd {
            inner: InMemory::new(),
            habit,
            random: Mutex::new(Random::new(seed)),
            dozing: Mutex::default(),
            reads: AtomicUsize::default(),
        }
    }
}

impl fmt::Display for Odd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.habit)
    }
}

fn lost() -> Error {
    Error::Generic { store: "odd", source: "the connection was lost".into() }
}

#[async_trait::async_trait]
impl ObjectStore for Odd {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        mut options: PutOptions,
    ) -> Result<PutResult> {
        let (mut before, mut after) = (false, false);
        match self.habit {
            Habit::Overwrites => options.mode = PutMode::Overwrite,
            Habit::Dozes(_) => {}
            Habit::LosesAnswers(one_in) => {
                let mut random = self.random.lock().expect("no panic");
                // What is found out at the start is not the point here.
                if !location.as_ref().contains("packhorse-probe") && random.one_in(one_in) {
                    before = random.one_in(2);
                    after = !before;
                }
            }
        }
        if before {
            return Err(lost());
        }
        let put = self.inner.put_opts(location, payload, options).await;
        if after { Err(lost()) } else { put }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if let Habit::Dozes(each) = self.habit {
            let number = self.reads.fetch_add(1, Ordering::Relaxed) + 1;
            let woken = self.dozing.lock().expect("no panic").remove(location);
            match woken {
                Some(other) => other.notify_one(),
                None if number.is_multiple_of(each) => {
                    let asked = Arc::<Notify>::default();
                    let dozing = (location.clone(), asked.clone());
                    self.dozing.lock().expect("no panic").extend([dozing]);
                    let _ = tokio::time::timeout(DOZE, asked.notified()).await;
                }
                None => {}
            }
        }
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
