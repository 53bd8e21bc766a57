//! Connections to the database: so many at most, used in turn.

use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use postgres::{Client, Config};
use storage::{Error, Line, Result, Turn};

use crate::errors::{failed, is_ended};
use crate::tls::Tls;

/// All connections of one store.
pub(crate) struct Connections {
    /// What to call the database in errors: its address, without a password.
    pub what: String,
    config: Config,
    tls: Tls,
    most: usize,
    wait: Duration,
    /// The database ends a transaction that is left alone for this long.
    idle_wait: Duration,
    /// Who waits for one.
    line: Line,
    idle: Mutex<Vec<Client>>,
}

/// A connection in use; it goes back when dropped, and its transaction, if one is open, has not
/// happened.
pub(crate) struct Connection<'a> {
    pool: &'a Connections,
    client: Option<Client>,
    in_transaction: bool,
    /// Given back after the connection.
    _turn: Turn<'a>,
}

impl Connections {
    pub fn new(
        (config, tls): (Config, Tls),
        what: String,
        most: usize,
        (wait, idle_wait): (Duration, Duration),
    ) -> Self {
        let (line, idle) = (Line::new(most), Mutex::default());
        Connections { what, config, tls, most: most.max(1), wait, idle_wait, line, idle }
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Client>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// A connection beside the others, for waiting.
    pub fn alone(&self) -> Result<Client, postgres::Error> {
        self.config.connect(self.tls.clone())
    }

    /// A connection, and whether it was made now.
    fn take(&self) -> Result<(Connection<'_>, bool)> {
        let Some(turn) = self.line.enter(self.wait) else {
            let words = format!("all {} connections are in use", self.most);
            let source = io::Error::new(io::ErrorKind::TimedOut, words);
            return Err(Error::Unavailable { what: self.what.clone(), source });
        };
        let idle = self.idle().pop();
        let is_new = idle.is_none();
        let client = match idle {
            Some(client) => client,
            None => self.config.connect(self.tls.clone()).map_err(failed(&self.what))?,
        };
        let connection =
            Connection { pool: self, client: Some(client), in_transaction: false, _turn: turn };
        Ok((connection, is_new))
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
        if is_sound {
            self.pool.idle().push(client);
        }
    }
}
