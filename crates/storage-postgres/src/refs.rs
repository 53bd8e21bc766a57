//! Refs as rows, for reading.

use std::ops::ControlFlow;
use std::sync::Arc;

use bstr::{BStr, ByteSlice as _};
use object::{HashKind, IdView, ObjectId, RefName};
use postgres::types::Type;
use postgres::{Client, Row};
use storage::{
    CommitError, Error, Peeled, PeeledView, Prepared, Ref, RefSnapshot, RefStore, RefTransaction,
    RefView, Result, Target, TargetView,
};

use crate::errors::failed;
use crate::prepare;
use crate::store::{RepositoryNumber, Shared};

/// Rows read at a time. A listing of more holds a connection until its end.
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
}

struct PgSnapshot(PgRefs);

/// What columns `id`, `symbolic` and `peeled` say, from column `first` on.
pub(crate) fn value(
    row: &Row,
    first: usize,
    name: &BStr,
    hash: HashKind,
) -> Result<(Target, Peeled)> {
    let damaged = || Error::corrupt(name, "its row in the database is damaged");
    let id = |bytes: &[u8]| ObjectId::from_bytes(bytes, hash).ok_or_else(damaged);
    let column = |at| row.get::<_, Option<&[u8]>>(first + at);
    if let Some(target) = column(1) {
        let target = RefName::new(target).map_err(|_| damaged())?;
        return Ok((Target::Symbolic(target), Peeled::Unknown));
    }
    let target = id(column(0).ok_or_else(damaged)?)?;
    let peeled = match column(2) {
        None => Peeled::Unknown,
        Some([]) => Peeled::NotATag,
        Some(bytes) => Peeled::To(id(bytes)?),
    };
    Ok((Target::Id(target), peeled))
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

    fn visit(
        &self,
        rows: &[Row],
        visit: &mut dyn FnMut(RefView<'_>) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        for row in rows {
            let name = row.get::<_, &[u8]>(0).as_bstr();
            let (target, peeled) = match value(row, 1, name, self.0.hash) {
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
            visit(RefView { name, target, peeled: PeeledView::from(&peeled) })?;
        }
        ControlFlow::Continue(())
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
        let end = behind(start);
        let connections = &self.0.shared.connections;
        let rows = connections.with(|client| self.page(client, (start, false), end.as_deref()))?;
        let is_last = |rows: &[Row]| (rows.len() as i64) < PAGE_ROWS;
        if is_last(&rows) {
            let _ = self.visit(&rows, visit);
            return Ok(());
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
            if self.visit(&rows, visit).is_break() || is_last(&rows) {
                return connection.commit();
            }
            if let Some(last) = rows.last() {
                (from, is_behind) = (last.get::<_, &[u8]>(0).to_vec(), true);
            }
        }
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
