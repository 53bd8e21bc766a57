//! Connections to the database: so many at most, used in turn.

use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use postgres::{Client, Config, NoTls};
use storage::{Error, Result};

use crate::errors::{failed, is_ended};

/// All connections of one store.
pub(crate) struct Connections {
    /// What to call the database in errors: its address, without a password.
    pub what: String,
    config: Config,
    most: usize,
    wait: Duration,
    /// The database ends a transaction that is left alone for this long.
    idle_wait: Duration,
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Default)]
struct State {
    idle: Vec<Client>,
    /// Connections that are idle or in use.
    open: usize,
}

/// A connection in use; it goes back when dropped, and its transaction, if one is open, has not
/// happened.
pub(crate) struct Connection<'a> {
    pool: &'a Connections,
    client: Option<Client>,
    in_transaction: bool,
}

impl Connections {
    pub fn new(
        config: Config,
        what: String,
        most: usize,
        (wait, idle_wait): (Duration, Duration),
    ) -> Self {
        let (state, returned) = Default::default();
        Connections { what, config, most: most.max(1), wait, idle_wait, state, returned }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `work` with a connection. A connection that turns out to have been lost while it was
    /// idle is replaced and the work done again: it must be a single statement that reads, or
    /// that may be done twice.
    pub fn with<T>(
        &self,
        mut work: impl FnMut(&mut Client) -> Result<T, postgres::Error>,
    ) -> Result<T> {
        loop {
            let (mut connection, is_new) = self.take()?;
            match work(&mut connection) {
                Err(error) if !is_new && (connection.is_closed() || is_ended(&error)) => {
                    tracing::debug!("{}: a connection was lost: {error}", self.what);
                }
                other => return other.map_err(failed(&self.what)),
            }
        }
    }

    /// Begins a transaction that waits so long for locks of others.
    pub fn begin(&self, lock_wait: Duration) -> Result<Connection<'_>> {
        // Zero would mean for ever.
        let ms = |wait: Duration| wait.as_millis().clamp(1, i32::MAX as u128);
        let begin = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = {};
             SET LOCAL idle_in_transaction_session_timeout = {}",
            ms(lock_wait),
            ms(self.idle_wait)
        );
        loop {
            let (mut connection, is_new) = self.take()?;
            match connection.batch_execute(&begin) {
                Ok(()) => {
                    connection.in_transaction = true;
                    return Ok(connection);
                }
                Err(error) if !is_new && (connection.is_closed() || is_ended(&error)) => {}
                Err(error) => return Err(failed(&self.what)(error)),
            }
        }
    }

    /// A connection, and whether it was made now.
    fn take(&self) -> Result<(Connection<'_>, bool)> {
        let until = Instant::now().checked_add(self.wait);
        let mut state = self.lock();
        loop {
            if let Some(client) = state.idle.pop() {
                return Ok((self.used(client), false));
            }
            if state.open < self.most {
                state.open += 1;
                drop(state);
                return match self.config.connect(NoTls) {
                    Ok(client) => Ok((self.used(client), true)),
                    Err(error) => {
                        self.lock().open -= 1;
                        self.returned.notify_one();
                        Err(failed(&self.what)(error))
                    }
                };
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                let words = format!("all {} connections are in use", self.most);
                let source = io::Error::new(io::ErrorKind::TimedOut, words);
                return Err(Error::Unavailable { what: self.what.clone(), source });
            }
            let left = left.unwrap_or(self.wait);
            let waited = self.returned.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn used(&self, client: Client) -> Connection<'_> {
        Connection { pool: self, client: Some(client), in_transaction: false }
    }
}

impl Connection<'_> {
    /// Commits the transaction.
    ///
    /// # Errors
    /// When the connection is lost meanwhile, nobody knows whether it happened; the words say so.
    pub fn commit(mut self) -> Result<()> {
        let committed = self.batch_execute("COMMIT");
        self.in_transaction = false;
        committed.map_err(|error| match self.is_closed() || is_ended(&error) {
            true => {
                let words = format!("lost while committing, so this may have happened: {error}");
                let source = io::Error::new(io::ErrorKind::ConnectionReset, words);
                Error::Unavailable { what: self.pool.what.clone(), source }
            }
            false => failed(&self.pool.what)(error),
        })
    }
}

impl Deref for Connection<'_> {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.client.as_ref().expect("there until dropped")
    }
}

impl DerefMut for Connection<'_> {
    fn deref_mut(&mut self) -> &mut Client {
        self.client.as_mut().expect("there until dropped")
    }
}

impl Drop for Connection<'_> {
    fn drop(&mut self) {
        let Some(mut client) = self.client.take() else { return };
        let is_sound = !client.is_closed()
            && (!self.in_transaction || client.batch_execute("ROLLBACK").is_ok());
        let mut state = self.pool.lock();
        match is_sound {
            true => state.idle.push(client),
            false => {
                state.open -= 1;
                drop(state);
                drop(client);
            }
        }
        self.pool.returned.notify_one();
    }
}
