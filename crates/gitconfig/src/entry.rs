//! One setting: its name, its value, and where it came from.

use std::path::Path;
use std::sync::Arc;

use bstr::{BStr, BString, ByteSlice as _};

use crate::{ConfigError, grammar};

/// Where a setting was read; later scopes override earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// The machine's file, `/etc/gitconfig`.
    System,
    /// The user's files, `~/.config/git/config` and `~/.gitconfig`.
    Global,
    /// The repository's own `config`.
    Local,
    /// The work tree's `config.worktree`.
    Worktree,
    /// The environment: `git -c`, `GIT_CONFIG_COUNT`, `GIT_CONFIG_PARAMETERS`.
    Command,
}

impl Scope {
    /// The word `git config --show-scope` prints.
    pub const fn name(self) -> &'static str {
        match self {
            Scope::System => "system",
            Scope::Global => "global",
            Scope::Local => "local",
            Scope::Worktree => "worktree",
            Scope::Command => "command",
        }
    }

    /// Whether whoever can write into the repository cannot write here ("protected
    /// configuration" in git-config): only such a scope may name programs to run.
    pub const fn is_protected(self) -> bool {
        matches!(self, Scope::System | Scope::Global | Scope::Command)
    }
}

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    name: BString,
    /// The end of the section in `name`.
    section_end: usize,
    /// The start of the key in `name`.
    key_start: usize,
    value: Option<BString>,
    scope: Scope,
    file: Option<Arc<Path>>,
    line: usize,
}

impl Entry {
    pub(crate) fn new(
        name: &BStr,
        value: Option<&BStr>,
        scope: Scope,
        file: Option<Arc<Path>>,
        line: usize,
    ) -> Self {
        Entry {
            name: name.to_owned(),
            section_end: name.find_byte(b'.').unwrap_or(0),
            key_start: name.rfind_byte(b'.').map_or(0, |dot| dot + 1),
            value: value.map(ToOwned::to_owned),
            scope,
            file,
            line,
        }
    }

    /// The whole name, `section.subsection.key`, section and key in lower case.
    pub fn name(&self) -> &BStr {
        self.name.as_bstr()
    }

    /// The section, in lower case.
    pub fn section(&self) -> &BStr {
        self.name[..self.section_end].as_bstr()
    }

    /// The subsection: everything between the first and the last dot.
    pub fn subsection(&self) -> Option<&BStr> {
        self.name
            .get(self.section_end + 1..self.key_start.checked_sub(1)?)
            .map(|name| name.as_bstr())
    }

    /// The key, in lower case.
    pub fn key(&self) -> &str {
        // Keys are ASCII letters, digits and '-'; only a name cut at a NUL can end differently.
        self.name[self.key_start..].to_str().unwrap_or_default()
    }

    /// The value; `None` for a key without `=`.
    pub fn value(&self) -> Option<&BStr> {
        self.value.as_ref().map(|value| value.as_bstr())
    }

    /// Where the setting was read.
    pub fn scope(&self) -> Scope {
        self.scope
    }

    /// The file the setting stands in; `None` for the environment and for code.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The line in [`Entry::file`], counted from 1; 0 without a file.
    pub fn line(&self) -> usize {
        self.line
    }

    pub(crate) fn matches(&self, key: &KeyParts<'_>) -> bool {
        self.name.len() == key.bytes
            && self.subsection() == key.subsection
            && self.name[self.key_start..].eq_ignore_ascii_case(key.key)
            && self.section().eq_ignore_ascii_case(key.section)
    }
}

/// A name taken apart at its first and last dot, as it was asked for.
pub(crate) struct KeyParts<'a> {
    section: &'a [u8],
    subsection: Option<&'a BStr>,
    key: &'a [u8],
    bytes: usize,
}

impl<'a> KeyParts<'a> {
    pub(crate) fn new(name: &'a [u8]) -> Self {
        let first = name.find_byte(b'.').unwrap_or(0);
        let last = name.rfind_byte(b'.').unwrap_or(0);
        KeyParts {
            section: &name[..first],
            subsection: name.get(first + 1..last).map(|name| name.as_bstr()),
            key: name.get(last + 1..).unwrap_or_default(),
            bytes: name.len(),
        }
    }
}

/// A name in canonical form; one that comes from outside a file has to be whole and clean.
pub(crate) fn canonical_name(name: &[u8]) -> Result<BString, ConfigError> {
    let bad = || ConfigError::BadKey { key: name.into() };
    let first = name.find_byte(b'.').ok_or_else(bad)?;
    let last = name.rfind_byte(b'.').ok_or_else(bad)?;
    let key = &name[last + 1..];
    let clean = last > 0
        && name[..first].iter().all(|&byte| grammar::is_key_byte(byte))
        && key.first().is_some_and(u8::is_ascii_alphabetic)
        && key.iter().all(|&byte| grammar::is_key_byte(byte))
        && !name[first..last].contains(&b'\n');
    if !clean {
        return Err(bad());
    }
    let mut canonical = BString::from(name);
    canonical[..first].make_ascii_lowercase();
    canonical[last..].make_ascii_lowercase();
    Ok(canonical)
}
