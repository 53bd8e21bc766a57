//! A bucket in memory with bad habits.

use std::fmt;
use std::ops::Range;
use std::sync::Mutex;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use testkit::Random;

/// What is wrong with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// It says yes to every condition, and overwrites.
    Overwrites,
    /// One write in so many fails, half of them after it was done.
    LosesAnswers(usize),
}

#[derive(Debug)]
pub struct Odd {
    inner: InMemory,
    habit: Habit,
    random: Mutex<Random>,
}

impl Odd {
    pub fn new(habit: Habit, seed: u64) -> Self {
        Odd { inner: InMemory::new(), habit, random: Mutex::new(Random::new(seed)) }
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
