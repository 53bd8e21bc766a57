//! Refs as rows, for reading.

use std::ops::ControlFlow;
use std::sync::Arc;

use bstr::{BStr, ByteSlice as _};
use object::{HashKind, IdView, ObjectId, RefName};
use postgres::types::Type;
use postgres::{Client, Row};
use storage::{
    CommitError, Error, Peeled, PeeledView, Prepared, Ref, RefSnapshot, RefStore, RefTransaction,
    RefView, Result, Target, TargetView, Wake, Watching,
};

use crate::errors::failed;
use crate::prepare;
use crate::store::{RepositoryNumber, Shared};

/// Rows read at a time.
const PAGE_ROWS: i64 = 10_000;

/// The refs of one repository in a database.
#[derive(Clone)]
pub(crate) struct PgRefs {
    pub shared: Arc<Shared>,
    pub repository: RepositoryNumber,
    pub hash: HashKind,
}

impl PgRefs {
    pub fn new(shared: Arc<Shared>, repository: RepositoryNumber, hash: HashKind) -> Self {
        PgRefs { shared, repository, hash }
    }
}

impl RefStore for PgRefs {
    /// Every call on it sees the rows of one moment of its own: a snapshot may live as long as a fetch
    /// takes, and no connection is held for it.
    fn snapshot(&self) -> Result<Arc<dyn RefSnapshot>> {
        Ok(Arc::new(PgSnapshot(self.clone())))
    }

    fn prepare<'a>(&'a self, tx: RefTransaction) -> Result<Box<dyn Prepared + 'a>, CommitError> {
        prepare::prepare(self, tx)
    }

    fn watch(&self, wake: Wake) -> Result<Watching> {
        self.shared.watchers.watch(self.repository, wake)
    }
}

struct PgSnapshot(PgRefs);

/// What columns `id`, `symbolic` and `peeled` say, from column `first` on.
pub(crate) fn value(
    row: &Row,
    first: usize,
    name: &BStr,
    hash: HashKind,
) -> Result<(Target, Peeled)> {
    value_of([0, 1, 2].map(|at| row.get::<_, Option<&[u8]>>(first + at)), name, hash)
}

fn value_of(columns: [Option<&[u8]>; 3], name: &BStr, hash: HashKind) -> Result<(Target, Peeled)> {
    let [id_column, symbolic, peeled] = columns;
    let damaged = || Error::corrupt(name, "its row in the database is damaged");
    let id = |bytes: &[u8]| ObjectId::from_bytes(bytes, hash).ok_or_else(damaged);
    if let Some(target) = symbolic {
        let target = RefName::new(target).map_err(|_| damaged())?;
        return Ok((Target::Symbolic(target), Peeled::Unknown));
    }
    let target = id(id_column.ok_or_else(damaged)?)?;
    let peeled = match peeled {
        None => Peeled::Unknown,
        Some([]) => Peeled::NotATag,
        Some(bytes) => Peeled::To(id(bytes)?),
    };
    Ok((Target::Id(target), peeled))
}

/// Rows of refs, one behind the other: each column with its length before it.
#[derive(Default)]
struct Listing(Vec<u8>);

/// The length of a column that is not there.
const NO_COLUMN: u32 = u32::MAX;

impl Listing {
    fn add(&mut self, rows: &[Row]) {
        for row in rows {
            for at in 0..4 {
                let column = row.get::<_, Option<&[u8]>>(at);
                let len = column.map_or(NO_COLUMN, |column| column.len() as u32);
                self.0.extend_from_slice(&len.to_ne_bytes());
                self.0.extend_from_slice(column.unwrap_or_default());
            }
        }
    }

    /// Name, id, symbolic and peeled of each row.
    fn rows(&self) -> impl Iterator<Item = [Option<&[u8]>; 4]> {
        let mut rest = &self.0[..];
        std::iter::from_fn(move || {
            let mut columns = [None; 4];
            for column in &mut columns {
                let (len, behind) = rest.split_first_chunk::<4>()?;
                rest = behind;
                let len = u32::from_ne_bytes(*len);
                if len != NO_COLUMN {
                    let (bytes, behind) = rest.split_at_checked(len as usize)?;
                    (*column, rest) = (Some(bytes), behind);
                }
            }
            Some(columns)
        })
    }
}

/// The first name behind all that start with `prefix`; `None` when there is no such name.
pub(crate) fn behind(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != u8::MAX)?;
    let mut behind = prefix[..=last].to_vec();
    behind[last] += 1;
    Some(behind)
}

impl PgSnapshot {
    /// Rows of names from `start` on, or behind it.
    fn page(
        &self,
        client: &mut Client,
        (start, is_behind): (&[u8], bool),
        end: Option<&[u8]>,
    ) -> Result<Vec<Row>, postgres::Error> {
        client.query_typed(
            "SELECT name, id, symbolic, peeled FROM packhorse.ref
                 WHERE repository = $1 AND name >= $2 AND (name > $2 OR NOT $3)
                     AND ($4::bytea IS NULL OR name < $4)
                 ORDER BY name LIMIT $5",
            &[
                (&self.0.repository.0, Type::INT8),
                (&start, Type::BYTEA),
                (&is_behind, Type::BOOL),
                (&end, Type::BYTEA),
                (&PAGE_ROWS, Type::INT8),
            ],
        )
    }

    /// All rows below a prefix, as they are at one moment. Nothing of the database is held
    /// afterwards: whoever visits them may write to a slow client, or ask for more.
    fn list(&self, start: &[u8]) -> Result<Listing> {
        let end = behind(start);
        let connections = &self.0.shared.connections;
        let mut listing = Listing::default();
        let rows = connections.with(|client| self.page(client, (start, false), end.as_deref()))?;
        let is_last = |rows: &[Row]| (rows.len() as i64) < PAGE_ROWS;
        if is_last(&rows) {
            listing.add(&rows);
            return Ok(listing);
        }
        drop(rows);
        // More than a page: from the beginning, with all pages of one moment.
        let mut connection = connections.begin(self.0.shared.lock_wait)?;
        let frozen = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY";
        connection.batch_execute(frozen).map_err(failed(&connections.what))?;
        let (mut from, mut is_behind) = (start.to_vec(), false);
        loop {
            let rows = self.page(&mut connection, (&from, is_behind), end.as_deref());
            let rows = rows.map_err(failed(&connections.what))?;
            listing.add(&rows);
            match rows.last().filter(|_| !is_last(&rows)) {
                Some(last) => (from, is_behind) = (last.get::<_, &[u8]>(0).to_vec(), true),
                None => {
                    connection.commit()?;
                    return Ok(listing);
                }
            }
        }
    }
}

impl RefSnapshot for PgSnapshot {
    fn get(&self, name: &BStr) -> Result<Option<Ref>> {
        // A name no ref can have has no row.
        let Ok(checked) = RefName::new(name.as_bytes()) else { return Ok(None) };
        let row = self.0.shared.connections.with(|client| {
            client.query_typed_opt(
                "SELECT id, symbolic, peeled FROM packhorse.ref WHERE repository = $1 AND name = $2",
                &[(&self.0.repository.0, Type::INT8), (&name.as_bytes(), Type::BYTEA)],
            )
        })?;
        let Some(row) = row else { return Ok(None) };
        let (target, peeled) = value(&row, 0, name, self.0.hash)?;
        Ok(Some(Ref { name: checked, target, peeled }))
    }

    fn scan(
        &self,
        prefix: &BStr,
        visit: &mut dyn FnMut(RefView<'_>) -> ControlFlow<()>,
    ) -> Result<()> {
        const REFS_DIRECTORY: &[u8] = b"refs/";
        let start: &[u8] = match prefix.starts_with(REFS_DIRECTORY) {
            true => prefix,
            false if REFS_DIRECTORY.starts_with(prefix) => REFS_DIRECTORY,
            false => return Ok(()),
        };
        let listing = self.list(start)?;
        for [name, columns @ ..] in listing.rows() {
            let name = name.unwrap_or_default().as_bstr();
            let (target, peeled) = match value_of(columns, name, self.0.hash) {
                Ok(found) => found,
                Err(error) => {
                    tracing::warn!(%error, "ignoring a broken ref");
                    continue;
                }
            };
            let target = match &target {
                Target::Id(id) => TargetView::Id(IdView::Id(id)),
                Target::Symbolic(to) => TargetView::Symbolic(to.as_bstr()),
            };
            if visit(RefView { name, target, peeled: PeeledView::from(&peeled) }).is_break() {
                break;
            }
        }
        Ok(())
    }

    fn shallow(&self) -> Result<Vec<ObjectId>> {
        let connections = &self.0.shared.connections;
        let rows = connections.with(|client| {
            client.query_typed(
                "SELECT id FROM packhorse.shallow WHERE repository = $1",
                &[(&self.0.repository.0, Type::INT8)],
            )
        })?;
        let damaged = || Error::corrupt(&connections.what, "a shallow commit is no id");
        let ids = rows.iter().map(|row| ObjectId::from_bytes(row.get(0), self.0.hash));
        ids.map(|id| id.ok_or_else(damaged)).collect()
    }

    fn scan_kept(&self, visit: &mut dyn FnMut(ObjectId)) -> Result<()> {
        let rows = self.0.shared.connections.with(|client| {
            // Old and new id of each line.
            client.query_typed(
                "SELECT DISTINCT split_part(encode(line, 'escape'), ' ', part)
                     FROM packhorse.reflog, generate_series(1, 2) AS part
                     WHERE repository = $1",
                &[(&self.0.repository.0, Type::INT8)],
            )
        })?;
        for row in &rows {
            let id = ObjectId::from_hex_of(row.get::<_, &str>(0).as_bytes(), self.0.hash);
            if let Some(id) = id.filter(|id| !id.is_null()) {
                visit(id);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_next_name() {
        assert_eq!(behind(b"refs/heads/"), Some(b"refs/heads0".to_vec()));
        assert_eq!(behind(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(behind(b"\xff"), None);
        assert_eq!(behind(b""), None);
    }
}
