//! The settings in force: an ordered list, and typed access where the last value wins.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bstr::{BStr, BString, ByteSlice as _};

use crate::entry::{KeyParts, canonical_name};
use crate::{ConfigError, Entry, Scope, SyntaxError, grammar, number, path};

/// Settings in the order they were read; a later one overrides an earlier one of the same name.
///
/// Keys are asked for as `section.key` or `section.subsection.key`; section and key in any case,
/// the subsection exactly as it is written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    pub(crate) entries: Vec<Entry>,
    /// What `~/` in a value stands for.
    pub(crate) home: Option<PathBuf>,
}

/// A value that may be a boolean word or something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BoolOrString<'a> {
    /// `true`, `false` and their like, a number, an empty value or a key without `=`.
    Bool(bool),
    /// Anything else.
    String(&'a BStr),
}

impl Config {
    /// No settings.
    pub fn empty() -> Self {
        Config::default()
    }

    /// Reads configuration text; includes are not followed. `origin` is named in errors.
    ///
    /// # Errors
    /// [`ConfigError::Syntax`] at the first line that breaks the grammar.
    pub fn parse(text: &[u8], scope: Scope, origin: &Path) -> Result<Config, ConfigError> {
        let file: Arc<Path> = origin.into();
        let mut config = Config::empty();
        grammar::scan::<SyntaxError>(text, &mut |raw| {
            config.entries.push(Entry::new(
                raw.name,
                raw.value,
                scope,
                Some(file.clone()),
                raw.line,
            ));
            Ok(())
        })
        .map_err(|error| ConfigError::Syntax { file: origin.to_owned(), line: error.line })?;
        Ok(config)
    }

    /// Puts other settings behind these, so that they win.
    pub fn append(&mut self, other: Config) {
        self.entries.extend(other.entries);
        self.home = other.home.or(self.home.take());
    }

    /// Puts one setting behind these, so that it wins.
    ///
    /// # Errors
    /// [`ConfigError::BadKey`] unless the key is `section.key` or `section.subsection.key`.
    pub fn set(&mut self, key: &str, value: &[u8], scope: Scope) -> Result<(), ConfigError> {
        let name = canonical_name(key.as_bytes())?;
        let value = Some(value.as_bstr());
        self.entries.push(Entry::new(name.as_bstr(), value, scope, None, 0));
        Ok(())
    }

    /// Every setting, in order.
    pub fn entries(&self) -> impl DoubleEndedIterator<Item = &Entry> + Clone {
        self.entries.iter()
    }

    /// Every setting of one name, in order.
    pub fn all<'c, 'k>(
        &'c self,
        key: &'k str,
    ) -> impl DoubleEndedIterator<Item = &'c Entry> + use<'c, 'k> {
        let parts = KeyParts::new(key.as_bytes());
        self.entries.iter().filter(move |entry| entry.matches(&parts))
    }

    /// The setting of this name that is in force.
    pub fn last(&self, key: &str) -> Option<&Entry> {
        self.all(key).next_back()
    }

    /// The last value; `None` also for a key without `=` ([`Config::string_required`] complains
    /// about that).
    pub fn string(&self, key: &str) -> Option<&BStr> {
        self.last(key)?.value()
    }

    /// The last value.
    ///
    /// # Errors
    /// [`ConfigError::MissingValue`] for a key without `=`, as where git wants a string.
    pub fn string_required(&self, key: &str) -> Result<Option<&BStr>, ConfigError> {
        self.last(key).map(|entry| entry.value().ok_or_else(|| missing_value(entry))).transpose()
    }

    /// All values in order, keys without `=` left out.
    pub fn strings(&self, key: &str) -> Vec<&BStr> {
        self.all(key).filter_map(Entry::value).collect()
    }

    /// All values in order with where they were read, keys without `=` left out.
    pub fn strings_scoped<'c, 'k>(
        &'c self,
        key: &'k str,
    ) -> impl DoubleEndedIterator<Item = (&'c BStr, Scope)> + use<'c, 'k> {
        self.all(key).filter_map(|entry| Some((entry.value()?, entry.scope())))
    }

    /// The last value as a boolean.
    ///
    /// # Errors
    /// [`ConfigError::BadBool`] when it is neither a boolean word nor a number.
    pub fn bool(&self, key: &str) -> Result<Option<bool>, ConfigError> {
        let Some(entry) = self.last(key) else { return Ok(None) };
        match number::parse_bool(entry.value().map(AsRef::as_ref)) {
            Some(value) => Ok(Some(value)),
            None => Err(ConfigError::BadBool {
                key: entry.name().to_owned(),
                value: value_text(entry),
                file: entry.file().map(Path::to_owned),
                line: entry.line(),
            }),
        }
    }

    /// The last value as a signed number of 64 bits.
    ///
    /// # Errors
    /// [`ConfigError::BadNumber`].
    pub fn int(&self, key: &str) -> Result<Option<i64>, ConfigError> {
        self.number(key, |text| number::parse_signed(text, i64::MAX))
    }

    /// The last value as an unsigned number of 64 bits.
    ///
    /// # Errors
    /// [`ConfigError::BadNumber`].
    pub fn unsigned(&self, key: &str) -> Result<Option<u64>, ConfigError> {
        self.number(key, |text| number::parse_unsigned(text, u64::MAX))
    }

    fn number<T>(
        &self,
        key: &str,
        parse: impl FnOnce(&[u8]) -> Result<T, crate::NumberFault>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(entry) = self.last(key) else { return Ok(None) };
        let text = entry.value().unwrap_or_default();
        parse(text).map(Some).map_err(|fault| ConfigError::BadNumber {
            key: entry.name().to_owned(),
            value: value_text(entry),
            file: entry.file().map(Path::to_owned),
            line: entry.line(),
            fault,
        })
    }

    /// The last value as a boolean where it is one, else as it is written
    /// (`receive.denyCurrentBranch`: `true`, `warn`, `updateInstead`).
    pub fn bool_or_string(&self, key: &str) -> Option<BoolOrString<'_>> {
        let value = self.last(key)?.value();
        Some(match (number::parse_bool(value.map(AsRef::as_ref)), value) {
            (Some(value), _) => BoolOrString::Bool(value),
            (None, value) => BoolOrString::String(value.unwrap_or_default()),
        })
    }

    /// The last value as a path: `~/` and `~user/` are expanded, and `:(optional)` makes a path
    /// to nothing count as unset.
    ///
    /// # Errors
    /// [`ConfigError::MissingValue`] or [`ConfigError::ExpandPath`].
    pub fn path(&self, key: &str) -> Result<Option<PathBuf>, ConfigError> {
        let Some(value) = self.string_required(key)? else { return Ok(None) };
        let (optional, value) = match value.strip_prefix(b":(optional)") {
            Some(value) => (true, value.as_bstr()),
            None => (false, value),
        };
        let path = path::expand(value, self.home.as_deref())?;
        Ok((!optional || path.exists()).then_some(path))
    }

    /// The subsections of a section, each once, in order of first appearance.
    pub fn subsections(&self, section: &str) -> Vec<BString> {
        let mut seen = Vec::new();
        for entry in self.in_section(section) {
            if let Some(subsection) = entry.subsection()
                && !seen.iter().any(|name: &BString| name == subsection)
            {
                seen.push(subsection.to_owned());
            }
        }
        seen
    }

    /// Keys (in lower case) and values of one section or subsection, in order.
    pub fn section_entries<'c, 'k>(
        &'c self,
        section: &'k str,
        subsection: Option<&'k BStr>,
    ) -> impl DoubleEndedIterator<Item = (&'c str, Option<&'c BStr>)> + use<'c, 'k> {
        self.in_section(section)
            .filter(move |entry| entry.subsection() == subsection)
            .map(|entry| (entry.key(), entry.value()))
    }

    fn in_section<'c, 'k>(
        &'c self,
        section: &'k str,
    ) -> impl DoubleEndedIterator<Item = &'c Entry> + use<'c, 'k> {
        let named = move |entry: &&Entry| entry.section().eq_ignore_ascii_case(section.as_bytes());
        self.entries.iter().filter(named)
    }
}

fn missing_value(entry: &Entry) -> ConfigError {
    ConfigError::MissingValue {
        key: entry.name().to_owned(),
        file: entry.file().map(Path::to_owned),
        line: entry.line(),
    }
}

fn value_text(entry: &Entry) -> BString {
    entry.value().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::parse(text.as_bytes(), Scope::Local, Path::new("f")).expect("valid")
    }

    #[test]
    fn the_last_value_wins_and_keys_have_no_case() {
        let mut c = config("[a \"Sub\"]\nKey = 1\nkey = 2\n[A]\nb\n");
        assert_eq!(c.string("A.Sub.KEY").expect("set"), "2");
        assert_eq!(c.strings("a.Sub.key"), ["1", "2"]);
        assert_eq!(c.string("a.sub.key"), None);
        assert_eq!(c.bool("a.b").expect("boolean"), Some(true));
        assert!(c.string_required("a.b").is_err());
        c.set("a.Sub.key", b"3", Scope::Command).expect("valid key");
        assert_eq!(c.int("a.Sub.key").expect("number"), Some(3));
        assert_eq!(c.subsections("a"), ["Sub"]);
        assert_eq!(c.section_entries("a", None).collect::<Vec<_>>(), [("b", None)]);
    }

    #[test]
    fn errors_name_file_and_line() {
        let c = config("[a]\nb = maybe\nn = 1t\n");
        assert_eq!(
            c.bool("a.b").expect_err("no boolean").to_string(),
            "bad boolean config value 'maybe' for 'a.b' in file f at line 2"
        );
        assert_eq!(
            c.int("a.n").expect_err("no number").to_string(),
            "bad numeric config value '1t' for 'a.n' in file f at line 3: invalid unit"
        );
        let error =
            Config::parse(b"[a]\n=", Scope::Local, Path::new("/r/config")).expect_err("bad");
        assert_eq!(error.to_string(), "bad config line 2 in file /r/config");
    }

    #[test]
    fn odd_names_are_harmless() {
        let c = config("key = 1\n[ \"x\"]\na = 2\n[.y]\nb = 3\n");
        assert_eq!(c.string(".x.a").expect("set"), "2");
        assert_eq!(c.string(".y.b").expect("set"), "3");
        for key in ["", ".", "..", "key", "a."] {
            assert_eq!(c.string(key), None, "{key:?}");
        }
    }
}
