//! Files and the files they include ("Includes" and "Conditional includes" in git-config).

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bstr::{BStr, BString};

use crate::wildmatch::{self, Case};
use crate::{Config, ConfigError, Entry, Scope, SyntaxError, grammar, path};

/// What include directives are resolved and judged by.
#[derive(Debug, Clone, Default)]
pub struct IncludeContext {
    /// The repository's git directory, for `gitdir:` conditions; without it they are false.
    pub git_dir: Option<PathBuf>,
    /// The branch `HEAD` points at, without `refs/heads/`, for `onbranch:` conditions; without
    /// it they are false.
    pub branch: Option<BString>,
    /// What `~/` stands for.
    pub home: Option<PathBuf>,
    /// How much may be read.
    pub limits: Limits,
}

/// Bounds on what one load reads.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How deep files may include each other; git's own bound is 10.
    pub include_depth_max: usize,
    /// How many files may be included altogether.
    pub includes_max: usize,
    /// How long one file may be, in bytes.
    pub file_bytes_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { include_depth_max: 10, includes_max: 10_000, file_bytes_max: 64 << 20 }
    }
}

impl Config {
    /// Reads a file and what it includes. A missing file is an empty one.
    ///
    /// # Errors
    /// When a file cannot be read, breaks the grammar, or exceeds a limit.
    pub fn load_file(
        file: &Path,
        scope: Scope,
        context: &IncludeContext,
    ) -> Result<Config, ConfigError> {
        let mut loader = Loader::new(scope, context);
        loader.read(file)?;
        Ok(loader.finish())
    }
}

/// One load: files are read depth first, an included file's settings land right behind the
/// directive.
pub(crate) struct Loader<'a> {
    scope: Scope,
    context: &'a IncludeContext,
    entries: Vec<Entry>,
    depth: usize,
    includes: usize,
}

impl<'a> Loader<'a> {
    pub(crate) fn new(scope: Scope, context: &'a IncludeContext) -> Self {
        Loader { scope, context, entries: Vec::new(), depth: 0, includes: 0 }
    }

    pub(crate) fn finish(self) -> Config {
        Config { entries: self.entries, home: self.context.home.clone() }
    }

    fn read(&mut self, file: &Path) -> Result<(), ConfigError> {
        let Some(text) = read_file(file, self.context.limits.file_bytes_max)? else {
            return Ok(());
        };
        let origin: Arc<Path> = file.into();
        grammar::scan::<Failure>(&text, &mut |raw| {
            let entry = Entry::new(raw.name, raw.value, self.scope, Some(origin.clone()), raw.line);
            self.add(entry).map_err(Failure::Config)
        })
        .map_err(|failure| match failure {
            Failure::Syntax(error) => {
                ConfigError::Syntax { file: file.to_owned(), line: error.line }
            }
            Failure::Config(error) => error,
        })
    }

    /// Takes one setting, and follows it when it is an include directive.
    pub(crate) fn add(&mut self, entry: Entry) -> Result<(), ConfigError> {
        let included = self.is_include(&entry)?.then(|| entry.clone());
        self.entries.push(entry);
        match included {
            Some(directive) => self.include(&directive),
            None => Ok(()),
        }
    }

    fn is_include(&self, entry: &Entry) -> Result<bool, ConfigError> {
        if entry.key() != "path" {
            return Ok(false);
        }
        match (entry.section(), entry.subsection()) {
            (section, None) if section == "include" => Ok(true),
            (section, Some(condition)) if section == "includeif" => {
                self.holds(condition, entry.file())
            }
            _ => Ok(false),
        }
    }

    fn include(&mut self, directive: &Entry) -> Result<(), ConfigError> {
        let from = directive.file();
        let value = directive.value().ok_or_else(|| ConfigError::MissingValue {
            key: directive.name().to_owned(),
            file: from.map(Path::to_owned),
            line: directive.line(),
        })?;
        let mut file = path::expand(value, self.context.home.as_deref())?;
        if file.is_relative() {
            file = match from.ok_or(ConfigError::RelativeInclude)?.parent() {
                Some(directory) => directory.join(file),
                None => file,
            };
        }
        if !exists(&file)? {
            return Ok(());
        }
        let limits = &self.context.limits;
        let from = || from.map_or_else(|| "the command line".into(), Path::to_owned);
        if self.depth >= limits.include_depth_max {
            let depth_max = limits.include_depth_max;
            return Err(ConfigError::IncludeDepth { depth_max, file, from: from() });
        }
        if self.includes >= limits.includes_max {
            let includes_max = limits.includes_max;
            return Err(ConfigError::TooManyIncludes { includes_max, from: from() });
        }
        self.depth += 1;
        self.includes += 1;
        let result = self.read(&file);
        self.depth -= 1;
        result
    }

    /// Whether an `includeIf` condition holds; an unknown one does not, nor does `hasconfig:`,
    /// which asks for settings a server has no use for.
    fn holds(&self, condition: &BStr, file: Option<&Path>) -> Result<bool, ConfigError> {
        if let Some(pattern) = condition.strip_prefix(b"gitdir:") {
            self.git_dir_matches(pattern, file, Case::Sensitive)
        } else if let Some(pattern) = condition.strip_prefix(b"gitdir/i:") {
            self.git_dir_matches(pattern, file, Case::Insensitive)
        } else if let Some(pattern) = condition.strip_prefix(b"onbranch:") {
            let pattern = with_contents(pattern.into());
            let branch = self.context.branch.as_ref();
            Ok(branch.is_some_and(|name| wildmatch::matches(&pattern, name, Case::Sensitive)))
        } else {
            Ok(false)
        }
    }

    fn git_dir_matches(
        &self,
        pattern: &[u8],
        file: Option<&Path>,
        case: Case,
    ) -> Result<bool, ConfigError> {
        let Some(git_dir) = &self.context.git_dir else { return Ok(false) };
        let (literal, pattern) = self.git_dir_pattern(pattern, file)?;
        let matches = |text: &[u8]| match text.split_at_checked(literal.len()) {
            Some((start, rest)) => {
                let same = match case {
                    Case::Sensitive => start == literal.as_slice(),
                    Case::Insensitive => start.eq_ignore_ascii_case(&literal),
                };
                same && wildmatch::matches(&pattern, rest, case)
            }
            None => false,
        };
        // The pattern may be written with or without symbolic links resolved.
        Ok(std::fs::canonicalize(git_dir).is_ok_and(|text| matches(path::to_bytes(&text)))
            || std::path::absolute(git_dir).is_ok_and(|text| matches(path::to_bytes(&text))))
    }

    /// A pattern as a literal start and a pattern for the rest.
    fn git_dir_pattern(
        &self,
        pattern: &[u8],
        file: Option<&Path>,
    ) -> Result<(BString, BString), ConfigError> {
        let home = self.context.home.as_ref();
        let real_home = home.map(|home| std::fs::canonicalize(home).unwrap_or(home.clone()));
        let mut pattern: BString = match path::expand(pattern.into(), real_home.as_deref()) {
            Ok(path) => OsString::from(path).into_encoded_bytes().into(),
            Err(_) => pattern.into(),
        };
        let mut literal = BString::default();
        if pattern.starts_with(b"./") {
            let file = file.ok_or(ConfigError::RelativeInclude)?;
            let file = std::fs::canonicalize(file)
                .map_err(|source| ConfigError::Io { file: file.to_owned(), source })?;
            literal.extend_from_slice(path::to_bytes(file.parent().unwrap_or(&file)));
            if !literal.ends_with(b"/") {
                literal.push(b'/');
            }
            pattern.drain(..2);
        } else if !pattern.starts_with(b"/") {
            pattern.splice(..0, *b"**/");
        }
        Ok((literal, with_contents(pattern)))
    }
}

/// What stops a scan: the text, or what an include in it led to.
enum Failure {
    Syntax(SyntaxError),
    Config(ConfigError),
}

impl From<SyntaxError> for Failure {
    fn from(error: SyntaxError) -> Self {
        Failure::Syntax(error)
    }
}

/// A pattern that ends in `/` stands for everything below.
fn with_contents(mut pattern: BString) -> BString {
    if pattern.ends_with(b"/") {
        pattern.extend_from_slice(b"**");
    }
    pattern
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn exists(file: &Path) -> Result<bool, ConfigError> {
    match std::fs::metadata(file) {
        Ok(_) => Ok(true),
        Err(error) if is_missing(&error) => Ok(false),
        Err(source) => Err(ConfigError::Io { file: file.to_owned(), source }),
    }
}

/// The file's bytes; `None` when there is no such file.
fn read_file(file: &Path, bytes_max: u64) -> Result<Option<Vec<u8>>, ConfigError> {
    let io_error = |source| ConfigError::Io { file: file.to_owned(), source };
    let handle = match std::fs::File::open(file) {
        Ok(handle) => handle,
        Err(error) if is_missing(&error) => return Ok(None),
        Err(error) => return Err(io_error(error)),
    };
    let mut text = Vec::new();
    let read = handle.take(bytes_max.saturating_add(1)).read_to_end(&mut text).map_err(io_error)?;
    if read as u64 > bytes_max {
        return Err(ConfigError::TooLong { file: file.to_owned(), bytes_max });
    }
    Ok(Some(text))
}
