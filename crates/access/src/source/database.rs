//! Records in a small database: many programs may change them, and none waits long.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use redb::{ReadableDatabase as _, TableDefinition};

use super::{Change, Source, SourceError, changed, with_patience};
use crate::Records;

/// From `users/NAME`, `rules/NUMBER` and so on to the record as TOML.
const RECORDS: TableDefinition<'_, &str, &str> = TableDefinition::new("access");

pub(super) struct Database {
    path: PathBuf,
}

/// One record as it is kept: a table of one value, whatever the value is.
#[derive(serde::Serialize, serde::Deserialize)]
struct Kept<T> {
    record: T,
}

impl Database {
    pub fn new(path: &Path) -> Self {
        Database { path: path.to_owned() }
    }

    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn form(&self, error: impl std::fmt::Display) -> SourceError {
        SourceError::Form(self.name(), error.to_string())
    }

    /// Who has it open to write keeps all others out, and the other way round; both are quick.
    fn opened<T>(
        &self,
        open: impl Fn(&Path) -> Result<T, redb::DatabaseError>,
    ) -> Result<T, SourceError> {
        let opened = with_patience(|| match open(&self.path) {
            Err(redb::DatabaseError::DatabaseAlreadyOpen) => None,
            other => Some(other),
        });
        match opened {
            Some(Ok(opened)) => Ok(opened),
            Some(Err(redb::DatabaseError::Storage(redb::StorageError::Io(error)))) => {
                Err(SourceError::Io(self.name(), error))
            }
            Some(Err(error)) => Err(self.form(error)),
            None => Err(SourceError::Busy(self.name(), "it is open elsewhere".into())),
        }
    }

    fn records_of(&self, kept: &BTreeMap<String, String>) -> Result<Records, SourceError> {
        fn read<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, toml::de::Error> {
            toml::from_str::<Kept<T>>(text).map(|kept| kept.record)
        }
        let mut records = Records::default();
        for (key, text) in kept {
            let (kind, name) = key.split_once('/').unwrap_or((key, ""));
            let form = |error| self.form(format!("{key}: {error}"));
            let name = name.to_owned();
            match kind {
                "users" => drop(records.users.insert(name, read(text).map_err(form)?)),
                "groups" => drop(records.groups.insert(name, read(text).map_err(form)?)),
                "tokens" => drop(records.tokens.insert(name, read(text).map_err(form)?)),
                "rules" => records.rules.push(read(text).map_err(form)?),
                "protect" => records.protect.push(read(text).map_err(form)?),
                _ => return Err(self.form(format!("{key}: a later version wrote this"))),
            }
        }
        Ok(records)
    }
}

fn kept_of(records: &Records) -> Result<BTreeMap<String, String>, toml::ser::Error> {
    fn text<T: serde::Serialize>(record: &T) -> Result<String, toml::ser::Error> {
        toml::to_string(&Kept { record })
    }
    let mut kept = BTreeMap::new();
    for (name, record) in &records.users {
        kept.insert(format!("users/{name}"), text(record)?);
    }
    for (name, record) in &records.groups {
        kept.insert(format!("groups/{name}"), text(record)?);
    }
    for (name, record) in &records.tokens {
        kept.insert(format!("tokens/{name}"), text(record)?);
    }
    // In order, as far as one gets.
    for (at, record) in records.rules.iter().enumerate() {
        kept.insert(format!("rules/{at:08}"), text(record)?);
    }
    for (at, record) in records.protect.iter().enumerate() {
        kept.insert(format!("protect/{at:08}"), text(record)?);
    }
    Ok(kept)
}

fn read_all(
    table: &impl redb::ReadableTable<&'static str, &'static str>,
) -> Result<BTreeMap<String, String>, redb::StorageError> {
    let mut kept = BTreeMap::new();
    for entry in table.iter()? {
        let (key, text) = entry?;
        kept.insert(key.value().to_owned(), text.value().to_owned());
    }
    Ok(kept)
}

impl Source for Database {
    fn load(&self) -> Result<Records, SourceError> {
        let database = self.opened(|path| redb::Builder::new().open_read_only(path))?;
        let kept = (|| -> Result<_, redb::Error> {
            let transaction = database.begin_read()?;
            match transaction.open_table(RECORDS) {
                Ok(table) => Ok(read_all(&table)?),
                Err(redb::TableError::TableDoesNotExist(_)) => Ok(BTreeMap::new()),
                Err(error) => Err(error.into()),
            }
        })();
        self.records_of(&kept.map_err(|error| self.form(error))?)
    }

    fn change(&self, change: Box<Change<'_>>) -> Result<(), SourceError> {
        let database = self.opened(|path| redb::Builder::new().create(path))?;
        let transaction = database.begin_write().map_err(|error| self.form(error))?;
        {
            let mut table = transaction.open_table(RECORDS).map_err(|error| self.form(error))?;
            let before = read_all(&table).map_err(|error| self.form(error))?;
            let records = changed(self.records_of(&before)?, change, &self.path)?;
            let after = kept_of(&records).map_err(|error| self.form(error))?;
            for key in before.keys().filter(|key| !after.contains_key(*key)) {
                table.remove(key.as_str()).map_err(|error| self.form(error))?;
            }
            for (key, text) in after.iter().filter(|(key, text)| before.get(*key) != Some(text)) {
                table.insert(key.as_str(), text.as_str()).map_err(|error| self.form(error))?;
            }
        }
        transaction.commit().map_err(|error| self.form(error))
    }

    fn path(&self) -> &Path {
        &self.path
    }
}
