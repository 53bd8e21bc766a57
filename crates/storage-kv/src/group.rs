//! Group commit: writers that come while one durable commit is under way share the next one.
//!
//! A commit costs as much for many writers as for one.

use std::sync::Arc;

use redb::{Database, Durability, WriteTransaction};
use storage::{Result, Rounds};

use crate::errors::sorted;

/// What one writer does to the rows. It must not fail but for the file's own failures, since
/// others share its transaction.
pub(crate) type Work = Box<dyn FnOnce(&WriteTransaction) -> Result<(), redb::Error> + Send>;

/// The one road by which rows change durably.
pub(crate) struct GroupCommit {
    /// What to call the file in errors.
    what: String,
    database: Arc<Database>,
    rounds: Rounds<Work, Result<(), Arc<redb::Error>>>,
}

impl GroupCommit {
    pub fn new(what: String, database: Arc<Database>, writers_max: usize) -> Self {
        GroupCommit { what, database, rounds: Rounds::new(writers_max) }
    }

    /// Does the work and makes it durable, together with that of others.
    pub fn run(&self, work: Work) -> Result<()> {
        let done = self.rounds.run(work, &|works| {
            let count = works.len();
            vec![self.commit(works).map_err(Arc::new); count]
        });
        done.map_err(|error| sorted(&self.what, &error))
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
