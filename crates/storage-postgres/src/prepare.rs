//! Changing refs: one transaction of the database from the first lock to the end.
//!
//! Rows that exist are locked in the order of their names. A name that does not exist has no row to
//! lock: whoever creates a ref locks numbers made of its name and, shared with others, of the names it
//! would be inside of. Two that cannot both exist meet at one of these numbers, and the second one sees
//! what the first one did. Locks end with the transaction, also when the connection is lost.

use std::collections::BTreeMap;

use bstr::ByteSlice as _;
use object::{HashKind, ObjectId, RefName};
use postgres::Client;
use postgres::types::Type;
use storage::{
    Change, CommitError, Error, Peeled, Prepared, RefEdit, RefTransaction, Target, check_edits,
    check_ids, prefixes_of,
};

use crate::connections::Connection;
use crate::errors::{failed, is_locked, orphan_of, removed};
use crate::refs::{PgRefs, behind, value};
use crate::store::NAME_BYTES_MAX;
use crate::watch::names_of;

/// A transaction that would take more locks than this locks out all others that create refs in
/// the repository: the database has room for so many only, which all its users share.
const NAME_LOCKS_MAX: usize = 64;

/// Locks are held, and the rows have been changed; nobody sees it yet.
struct PgPrepared<'a> {
    connection: Option<Connection<'a>>,
    refs: &'a PgRefs,
    names: Vec<RefName>,
}

impl Prepared for PgPrepared<'_> {
    fn commit(self: Box<Self>) -> Result<(), CommitError> {
        let Some(connection) = self.connection else { return Ok(()) };
        connection.commit()?;
        self.refs.shared.watchers.announce(self.refs.repository.0, &self.names);
        Ok(())
    }
}

pub(crate) fn prepare(
    refs: &PgRefs,
    tx: RefTransaction,
) -> Result<Box<dyn Prepared + '_>, CommitError> {
    check_edits(&tx.edits)?;
    check_ids(&tx.edits, refs.hash)?;
    if let Some(edit) = tx.edits.iter().find(|edit| edit.name.len() > NAME_BYTES_MAX) {
        let why = format!("has more than {NAME_BYTES_MAX} bytes, too many for a database");
        return Err(Error::corrupt(&edit.name, why).into());
    }
    if tx == RefTransaction::default() {
        return Ok(Box::new(PgPrepared { connection: None, refs, names: Vec::new() }));
    }
    let shared = &refs.shared;
    let mut connection = shared.connections.begin(shared.lock_wait)?;
    let steps = Steps { refs, tx: &tx };
    steps.lock_names(&mut connection)?;
    steps.verify(&mut connection)?;
    steps.write(&mut connection)?;
    let names = tx.edits.iter().map(|edit| edit.name.clone()).collect();
    Ok(Box::new(PgPrepared { connection: Some(connection), refs, names }))
}

fn is_creation(edit: &RefEdit) -> bool {
    edit.expected.target().is_none() && matches!(edit.change, Change::Update(_))
}

/// A number for a name; two names may have the same one and then wait for each other
/// (FNV-1a, 64 bits).
fn lock_number(repository: i64, name: &[u8]) -> i64 {
    let bytes = repository.to_be_bytes();
    let hash = bytes.iter().chain(name).fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash.cast_signed()
}

struct Steps<'a> {
    refs: &'a PgRefs,
    tx: &'a RefTransaction,
}

impl Steps<'_> {
    fn failed(&self) -> impl FnOnce(postgres::Error) -> CommitError {
        move |error| {
            if let Some(edit) = self.tx.edits.first().filter(|_| is_locked(&error)) {
                let lock = "another transaction".to_owned();
                return CommitError::Locked { name: edit.name.clone(), lock };
            }
            match orphan_of(&error).is_some() {
                true => removed().into(),
                false => failed(&self.refs.shared.connections.what)(error).into(),
            }
        }
    }

    fn creations(&self) -> impl Iterator<Item = &RefName> {
        self.tx.edits.iter().filter(|edit| is_creation(edit)).map(|edit| &edit.name)
    }

    /// Keeps out who would create the same names, or names above or below them.
    fn lock_names(&self, client: &mut Client) -> Result<(), CommitError> {
        let repository = self.refs.repository.0;
        // In one order for all, and nothing twice: true stands for a lock of one's own.
        let mut locks = BTreeMap::new();
        for name in self.creations() {
            locks.insert(lock_number(repository, name.as_bytes()), true);
            for prefix in prefixes_of(name.as_bstr()) {
                locks.entry(lock_number(repository, prefix)).or_insert(false);
            }
            if locks.len() > NAME_LOCKS_MAX {
                break;
            }
        }
        if locks.is_empty() {
            return Ok(());
        }
        // The one for the repository comes first.
        let are_many = locks.len() > NAME_LOCKS_MAX;
        let (mut numbers, mut is_own) = (vec![lock_number(repository, b"")], vec![are_many]);
        if !are_many {
            numbers.extend(locks.keys());
            is_own.extend(locks.values());
        }
        client
            .query_typed(
                "SELECT CASE
                     WHEN is_own THEN pg_advisory_xact_lock(number)::text
                     ELSE pg_advisory_xact_lock_shared(number)::text
                 END FROM unnest($1::bigint[], $2::boolean[]) AS locks (number, is_own)",
                &[(&numbers, Type::INT8_ARRAY), (&is_own, Type::BOOL_ARRAY)],
            )
            .map(drop)
            .map_err(self.failed())
    }

    /// Locks the rows that are there, and compares them with what the caller believes.
    fn verify(&self, client: &mut Client) -> Result<(), CommitError> {
        let names: Vec<&[u8]> = self.tx.edits.iter().map(|edit| edit.name.as_bytes()).collect();
        if names.is_empty() {
            return Ok(());
        }
        let rows = client
            .query_typed(
                "SELECT name, id, symbolic, peeled FROM packhorse.ref
                     WHERE repository = $1 AND name = ANY($2) ORDER BY name FOR UPDATE",
                &[(&self.refs.repository.0, Type::INT8), (&names, Type::BYTEA_ARRAY)],
            )
            .map_err(self.failed())?;
        let mut found = BTreeMap::new();
        for row in &rows {
            let name = row.get::<_, &[u8]>(0).as_bstr();
            found.insert(name, value(row, 1, name, self.refs.hash)?.0);
        }
        for edit in &self.tx.edits {
            let found = found.get(edit.name.as_bstr());
            let expected = edit.expected.target();
            if found != expected {
                let (name, expected) = (edit.name.clone(), expected.cloned());
                return Err(CommitError::Lost { name, expected, found: found.cloned() });
            }
        }
        self.verify_available(client)
    }

    /// A new name may not be another one's directory, nor inside it.
    fn verify_available(&self, client: &mut Client) -> Result<(), CommitError> {
        let names: Vec<&[u8]> = self.creations().map(|name| name.as_bytes()).collect();
        if names.is_empty() {
            return Ok(());
        }
        let (mut above, mut above_of) = (Vec::new(), Vec::new());
        let (mut first, mut end) = (Vec::new(), Vec::new());
        for (at, name) in (0_i32..).zip(&names) {
            for prefix in prefixes_of(name.as_bstr()) {
                above.push(prefix.as_bytes());
                above_of.push(at);
            }
            let inside = [name, &b"/"[..]].concat();
            end.push(behind(&inside).expect("it ends with a slash"));
            first.push(inside);
        }
        let in_the_way = client
            .query_typed_opt(
                "(SELECT above.at, above.name FROM unnest($2::bytea[], $3::integer[]) AS above (name, at)
                     JOIN packhorse.ref ON repository = $1 AND ref.name = above.name LIMIT 1)
                 UNION ALL
                 (SELECT (inside.at - 1)::integer, below.name
                     FROM unnest($4::bytea[], $5::bytea[]) WITH ORDINALITY AS inside (first, behind, at),
                     LATERAL (
                         SELECT name FROM packhorse.ref
                             WHERE repository = $1 AND name >= first AND name < behind
                             ORDER BY name LIMIT 1
                     ) AS below LIMIT 1)
                 LIMIT 1",
                &[
                    (&self.refs.repository.0, Type::INT8),
                    (&above, Type::BYTEA_ARRAY),
                    (&above_of, Type::INT4_ARRAY),
                    (&first, Type::BYTEA_ARRAY),
                    (&end, Type::BYTEA_ARRAY),
                ],
            )
            .map_err(self.failed())?;
        let Some(row) = in_the_way else { return Ok(()) };
        let at = usize::try_from(row.get::<_, i32>(0)).unwrap_or_default();
        let name = self.creations().nth(at).expect("one of those asked for").clone();
        let with = row.get::<_, &[u8]>(1).as_bstr().to_owned();
        Err(CommitError::NameConflict { name, with })
    }

    /// Changes the rows, in one statement.
    fn write(&self, client: &mut Client) -> Result<(), CommitError> {
        let rows = Rows::of(self.tx, self.refs.hash);
        client
            .query_typed(
                "WITH updated AS (
                     INSERT INTO packhorse.ref (repository, name, id, symbolic, peeled)
                         SELECT $1, * FROM unnest($2::bytea[], $3::bytea[], $4::bytea[], $5::bytea[])
                         ON CONFLICT (repository, name) DO UPDATE SET
                             id = excluded.id, symbolic = excluded.symbolic, peeled = excluded.peeled
                 ), deleted AS (
                     DELETE FROM packhorse.ref WHERE repository = $1 AND name = ANY($6)
                 ), forgotten AS (
                     DELETE FROM packhorse.reflog WHERE repository = $1 AND ref = ANY($6)
                 ), logged AS (
                     INSERT INTO packhorse.reflog (repository, ref, line)
                         SELECT $1, * FROM unnest($7::bytea[], $8::bytea[])
                 ), shallow AS (
                     INSERT INTO packhorse.shallow (repository, id)
                         SELECT $1, id FROM unnest($9::bytea[]) AS new (id)
                         ON CONFLICT DO NOTHING
                 ), told AS (
                     INSERT INTO packhorse.moved (repository, names) VALUES ($1, $11)
                 )
                 DELETE FROM packhorse.shallow WHERE repository = $1 AND id = ANY($10)",
                &[
                    (&self.refs.repository.0, Type::INT8),
                    (&rows.names, Type::BYTEA_ARRAY),
                    (&rows.ids, Type::BYTEA_ARRAY),
                    (&rows.symbolic, Type::BYTEA_ARRAY),
                    (&rows.peeled, Type::BYTEA_ARRAY),
                    (&rows.deleted, Type::BYTEA_ARRAY),
                    (&rows.logged, Type::BYTEA_ARRAY),
                    (&rows.lines, Type::BYTEA_ARRAY),
                    (&rows.shallow_add, Type::BYTEA_ARRAY),
                    (&rows.shallow_remove, Type::BYTEA_ARRAY),
                    (&names_of(&self.tx.edits), Type::BYTEA),
                ],
            )
            .map(drop)
            .map_err(self.failed())
    }
}

/// The columns of all the rows that change.
#[derive(Default)]
struct Rows<'a> {
    names: Vec<&'a [u8]>,
    ids: Vec<Option<&'a [u8]>>,
    symbolic: Vec<Option<&'a [u8]>>,
    peeled: Vec<Option<&'a [u8]>>,
    deleted: Vec<&'a [u8]>,
    logged: Vec<&'a [u8]>,
    lines: Vec<Vec<u8>>,
    shallow_add: Vec<&'a [u8]>,
    shallow_remove: Vec<&'a [u8]>,
}

impl<'a> Rows<'a> {
    fn of(tx: &'a RefTransaction, hash: HashKind) -> Self {
        let mut rows = Rows::default();
        for edit in &tx.edits {
            let Change::Update(new) = &edit.change else {
                // What must not be there is not locked, and stays what somebody else makes of it.
                if edit.expected.target().is_some() {
                    rows.deleted.push(edit.name.as_bytes());
                }
                continue;
            };
            rows.names.push(edit.name.as_bytes());
            let (id, symbolic) = match new {
                Target::Id(id) => (Some(id.as_bytes()), None),
                Target::Symbolic(name) => (None, Some(name.as_bytes())),
            };
            rows.ids.push(id);
            rows.symbolic.push(symbolic);
            rows.peeled.push(match &edit.peeled {
                Peeled::Unknown => None,
                Peeled::NotATag => Some(&[]),
                Peeled::To(id) => Some(id.as_bytes()),
            });
            if let Some(line) = &edit.reflog {
                rows.logged.push(edit.name.as_bytes());
                rows.lines.push(line.text((edit.expected.target(), new), hash));
            }
        }
        rows.shallow_add = tx.shallow_add.iter().map(ObjectId::as_bytes).collect();
        rows.shallow_remove = tx.shallow_remove.iter().map(ObjectId::as_bytes).collect();
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_are_numbered_alike_everywhere() {
        // FNV-1a of eight zero bytes: servers of different builds share a database.
        assert_eq!(lock_number(0, b"").cast_unsigned(), 0xa8c7_f832_281a_39c5);
        assert_ne!(lock_number(1, b"refs/heads/a"), lock_number(2, b"refs/heads/a"));
    }
}
