//! The database, and the repositories in it.

use std::sync::Arc;
use std::time::Duration;

use bstr::ByteSlice as _;
use object::HashKind;
use postgres::Config;
use postgres::config::Host;
use postgres::types::Type;
use storage::{
    Error, NewRepository, Parts, RepositoryStore, Result, Stored, check_repository_name,
};

use crate::blobs::PgBlobs;
use crate::connections::Connections;
use crate::errors::failed;
use crate::node::Node;
use crate::refs::PgRefs;
use crate::schema;
use crate::tls::TlsOptions;
use crate::watch::{WatchOptions, Watchers};

/// How a database is used.
#[derive(Clone)]
pub struct OpenOptions {
    /// The password, unless the URL has one.
    pub password: Option<String>,
    /// The most connections at a time.
    pub connections_max: usize,
    /// How long a call waits for one of them, and for the database to take a new one.
    pub connection_wait: Duration,
    /// How long a transaction waits for another that holds one of its rows.
    pub lock_wait: Duration,
    /// What a server has reserved is given to others when it has not been seen for this long. A
    /// server is seen three times in that time.
    pub lease: Duration,
    /// What a server has staged is dropped when it has not been seen for this long.
    pub staged_keep: Duration,
    /// How often whoever watches refs looks without being notified by the database.
    pub watch_poll: Duration,
    /// Whether notifications are waited for, by one more connection: a pooler by transactions passes
    /// none on.
    pub listen: bool,
}

impl Default for OpenOptions {
    fn default() -> Self {
        OpenOptions {
            password: None,
            connections_max: 16,
            connection_wait: Duration::from_secs(10),
            lock_wait: Duration::from_secs(1),
            lease: Duration::from_secs(60),
            staged_keep: Duration::from_secs(60 * 60),
            watch_poll: Duration::from_secs(1),
            listen: true,
        }
    }
}

/// Repositories in one database.
#[derive(Clone)]
pub struct PgStore {
    shared: Arc<Shared>,
}

/// What everything made from one store shares.
pub(crate) struct Shared {
    // Before the connections, by which it takes its leave.
    pub node: Node,
    pub connections: Arc<Connections>,
    pub watchers: Watchers,
    pub lock_wait: Duration,
    pub lease: Duration,
}

/// Silence after which the other end of a connection is asked whether it is there.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// The longest name of a repository or ref, bytes: a row of an index must have room for it.
pub(crate) const NAME_BYTES_MAX: usize = 2000;

/// Tells repositories apart; never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RepositoryNumber(pub i64);

impl PgStore {
    /// Connects to the database of a URL (`postgres://USER@HOST/DATABASE`, as PostgreSQL's own
    /// programs take it), and makes or updates the tables.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when there is no answer, [`Error::Refused`] for wrong credentials,
    /// [`Error::Unsupported`] for a URL that makes no sense or tables of a newer program.
    pub fn open(url: &str, options: &OpenOptions) -> Result<Self> {
        let no_url = |words: String| {
            let detail = format!("this is no URL of a PostgreSQL database: {words}");
            Error::Unsupported { what: "PostgreSQL".to_owned(), detail }
        };
        let (tls, url) = TlsOptions::split_off(url).map_err(no_url)?;
        let mut config: Config =
            url.parse().map_err(|error: postgres::Error| no_url(error.to_string()))?;
        if let (None, Some(password)) = (config.get_password(), &options.password) {
            config.password(password);
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(options.connection_wait);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(options.connection_wait);
        }
        if config.get_application_name().is_none() {
            config.application_name("packhorse");
        }
        let (what, most) = (address(&config), options.connections_max);
        // A database that vanished is found out, and so is this server.
        config.keepalives_idle(KEEPALIVE);
        config.keepalives_interval(KEEPALIVE);
        config.keepalives_retries(3);
        let waits = (options.connection_wait, options.lease);
        let connections = Connections::new((config, tls.connector()?), what, most, waits);
        schema::prepare(&connections)?;
        let connections = Arc::new(connections);
        let node = Node::start(&connections, options.lease, options.staged_keep)?;
        let (lock_wait, lease) = (options.lock_wait, options.lease);
        let watch = WatchOptions { poll: options.watch_poll, listen: options.listen };
        let watchers = Watchers::new(&connections, watch);
        let shared = Shared { connections, node, watchers, lock_wait, lease };
        Ok(PgStore { shared: Arc::new(shared) })
    }
}

/// Where a database is, without a password.
fn address(config: &Config) -> String {
    let hosts = config.get_hosts().iter().enumerate().map(|(at, host)| {
        let ports = config.get_ports();
        let port = ports.get(at).or(ports.first()).copied().unwrap_or(5432);
        match host {
            Host::Tcp(name) => format!("{name}:{port}"),
            #[cfg(unix)]
            Host::Unix(path) => format!("{}:{port}", path.display()),
        }
    });
    let hosts: Vec<_> = hosts.collect();
    let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
    format!("postgres://{}/{database}", hosts.join(","))
}

impl RepositoryStore for PgStore {
    fn names(&self, after: &str, most: usize) -> Result<Vec<String>> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let rows = self.shared.connections.with(|client| {
            client.query_typed(
                "SELECT name FROM packhorse.repository WHERE name > $1 ORDER BY name LIMIT $2",
                &[(&after, Type::TEXT), (&most, Type::INT8)],
            )
        })?;
        Ok(rows.iter().map(|row| row.get(0)).collect())
    }

    fn find(&self, name: &str) -> Result<Option<Stored>> {
        if check_repository_name(name).is_err() {
            return Ok(None);
        }
        let row = self.shared.connections.with(|client| {
            client.query_typed_opt(
                "SELECT number, hash, config FROM packhorse.repository WHERE name = $1",
                &[(&name, Type::TEXT)],
            )
        })?;
        let Some(row) = row else { return Ok(None) };
        let version: i16 = row.get(1);
        let mut kinds = [HashKind::Sha1, HashKind::Sha256].into_iter();
        let hash = kinds.find(|kind| i16::from(kind.format_version()) == version);
        let unknown = || Error::corrupt(name, format!("hash {version} is not known"));
        Ok(Some(Stored {
            number: row.get::<_, i64>(0).cast_unsigned(),
            hash: hash.ok_or_else(unknown)?,
            config: row.get(2),
        }))
    }

    fn own_parts(&self, name: &str, stored: &Stored) -> Result<Parts> {
        let number = RepositoryNumber(stored.number.cast_signed());
        let refs = PgRefs::new(self.shared.clone(), number, stored.hash);
        stored.parts(name, Arc::new(refs), Arc::new(PgBlobs::new(self.shared.clone(), number)))
    }

    fn create(&self, name: &str, new: &NewRepository<'_>) -> Result<bool> {
        check_repository_name(name)?;
        if name.len() > NAME_BYTES_MAX {
            return Err(Error::InvalidName { what: name.chars().take(100).collect() });
        }
        let hash = i16::from(new.hash.format_version());
        let head = new.head.as_bytes();
        let made = self.shared.connections.with(|client| {
            client.query_typed_opt(
                "WITH made AS (
                     INSERT INTO packhorse.repository (name, hash, config) VALUES ($1, $2, $3)
                         ON CONFLICT (name) DO NOTHING RETURNING number
                 )
                 INSERT INTO packhorse.ref (repository, name, symbolic)
                     SELECT number, 'HEAD', $4 FROM made RETURNING repository",
                &[
                    (&name, Type::TEXT),
                    (&hash, Type::INT2),
                    (&new.config, Type::BYTEA),
                    (&head, Type::BYTEA),
                ],
            )
        })?;
        Ok(made.is_some())
    }

    fn configure(&self, name: &str, found: &Stored, config: &[u8]) -> Result<bool> {
        let number = found.number.cast_signed();
        let set = self.shared.connections.with(|client| {
            client.query_typed_opt(
                "UPDATE packhorse.repository SET config = $1
                     WHERE name = $2 AND number = $3 AND config IN ($1, $4) RETURNING number",
                &[
                    (&config, Type::BYTEA),
                    (&name, Type::TEXT),
                    (&number, Type::INT8),
                    (&found.config, Type::BYTEA),
                ],
            )
        })?;
        Ok(set.is_some())
    }

    fn remove(&self, name: &str) -> Result<bool> {
        if check_repository_name(name).is_err() {
            return Ok(false);
        }
        let connections = &self.shared.connections;
        let failed = || failed(&connections.what);
        let mut connection = connections.begin(self.shared.lock_wait)?;
        // Held against new blobs, which refer to the row.
        let row = connection
            .query_typed_opt(
                "SELECT number FROM packhorse.repository WHERE name = $1 FOR UPDATE",
                &[(&name, Type::TEXT)],
            )
            .map_err(failed())?;
        let Some(row) = row else { return Ok(false) };
        let number: i64 = row.get(0);
        for statement in [
            "INSERT INTO packhorse.retired
                 SELECT chunks, clock_timestamp() FROM packhorse.blob WHERE repository = $1",
            "DELETE FROM packhorse.repository WHERE number = $1",
            "INSERT INTO packhorse.moved (repository) VALUES ($1)",
        ] {
            connection.query_typed(statement, &[(&number, Type::INT8)]).map_err(failed())?;
        }
        connection.commit()?;
        self.shared.watchers.announce(number, &[]);
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_database_without_its_password() {
        let config = "postgres://me:secret@db.example:5433/git".parse().expect("a URL");
        assert_eq!(address(&config), "postgres://db.example:5433/git");
        let config = "host=/run/postgresql user=me".parse().expect("words");
        assert_eq!(address(&config), "postgres:///run/postgresql:5432/me");
    }
}
