//! Group commit: writers that come while one durable commit is under way share the next one.
//!
//! Whoever finds nobody at work leads: it takes all that waits into one transaction, commits it,
//! and tells everybody how it went. A commit costs as much for many writers as for one.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use redb::{Database, Durability, WriteTransaction};
use storage::Result;

use crate::errors::sorted;

/// What one writer does to the rows. It must not fail but for the file's own failures, since
/// others share its transaction.
pub(crate) type Work = Box<dyn FnOnce(&WriteTransaction) -> Result<(), redb::Error> + Send>;

/// The one road by which rows change durably.
pub(crate) struct GroupCommit {
    /// What to call the file in errors.
    what: String,
    database: Arc<Database>,
    /// The most writers that share a commit.
    writers_max: usize,
    queue: Mutex<Queue>,
    finished: Condvar,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<(Work, Arc<Outcome>)>,
    led: bool,
}

/// How it went, once that is known.
type Outcome = Mutex<Option<Result<(), Arc<redb::Error>>>>;

impl GroupCommit {
    pub fn new(what: String, database: Arc<Database>, writers_max: usize) -> Self {
        let (queue, finished) = Default::default();
        GroupCommit { what, database, writers_max: writers_max.max(1), queue, finished }
    }

    /// Does the work and makes it durable, together with that of others.
    pub fn run(&self, work: Work) -> Result<()> {
        let outcome = Arc::<Outcome>::default();
        let mut queue = lock(&self.queue);
        queue.waiting.push((work, outcome.clone()));
        loop {
            if let Some(result) = lock(&outcome).take() {
                return result.map_err(|error| sorted(&self.what, &error));
            }
            if queue.led {
                queue = self.finished.wait(queue).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            queue.led = true;
            let count = queue.waiting.len().min(self.writers_max);
            let shared: Vec<_> = queue.waiting.drain(..count).collect();
            drop(queue);
            let (works, outcomes): (Vec<_>, Vec<_>) = shared.into_iter().unzip();
            let result = self.commit(works).map_err(Arc::new);
            for outcome in outcomes {
                *lock(&outcome) = Some(result.clone());
            }
            queue = lock(&self.queue);
            queue.led = false;
            self.finished.notify_all();
        }
    }

    fn commit(&self, works: Vec<Work>) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        works.into_iter().try_for_each(|work| work(&transaction))?;
        Ok(transaction.commit()?)
    }

    /// Does work that may be undone by a crash, alone. Whatever is committed durably later makes
    /// this durable too.
    pub fn run_soon(&self, work: Work) -> Result<()> {
        self.commit_soon(work).map_err(|error| sorted(&self.what, &error))
    }

    fn commit_soon(&self, work: Work) -> Result<(), redb::Error> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::None)?;
        work(&transaction)?;
        Ok(transaction.commit()?)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
