//! Everything that can go wrong while configuration is read, in git's words.

use std::io;
use std::path::{Path, PathBuf};

use bstr::BString;

/// A configuration that cannot be read or does not say what its key needs.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The text breaks the grammar.
    #[error("bad config line {line} in file {}", file.display())]
    Syntax {
        /// The file that holds the text.
        file: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// The file exists and cannot be read.
    #[error("unable to access '{}': {source}", file.display())]
    Io {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is longer than [`Limits::file_bytes_max`](crate::Limits::file_bytes_max).
    #[error("config file '{}' is longer than {bytes_max} bytes", file.display())]
    TooLong {
        /// The file.
        file: PathBuf,
        /// The limit, in bytes.
        bytes_max: u64,
    },
    /// Files include each other deeper than [`Limits::include_depth_max`](crate::Limits::include_depth_max).
    #[error(
        "exceeded maximum include depth ({depth_max}) while including\n\t{}\nfrom\n\t{}\n\
         This might be due to circular includes.", file.display(), from.display()
    )]
    IncludeDepth {
        /// The limit.
        depth_max: usize,
        /// The file that would be one too deep.
        file: PathBuf,
        /// The file that includes it.
        from: PathBuf,
    },
    /// More files are included than [`Limits::includes_max`](crate::Limits::includes_max).
    #[error("more than {includes_max} files included, the last one from {}", from.display())]
    TooManyIncludes {
        /// The limit.
        includes_max: usize,
        /// The file that includes one too many.
        from: PathBuf,
    },
    /// `~user/` of an unknown user, or `~/` without a home.
    #[error("failed to expand user dir in: '{path}'")]
    ExpandPath {
        /// The path as it is written.
        path: BString,
    },
    /// A relative include path where no file is there to be relative to.
    #[error("relative config includes must come from files")]
    RelativeInclude,
    /// A key has no value where one is needed.
    #[error("missing value for '{key}'{}", at(file, *line))]
    MissingValue {
        /// The key, in canonical form.
        key: BString,
        /// The file the key stands in, if any.
        file: Option<PathBuf>,
        /// The line in it.
        line: usize,
    },
    /// A value is neither a boolean word nor a number.
    #[error("bad boolean config value '{value}' for '{key}'{}", at(file, *line))]
    BadBool {
        /// The key, in canonical form.
        key: BString,
        /// The value as it is written.
        value: BString,
        /// The file the key stands in, if any.
        file: Option<PathBuf>,
        /// The line in it.
        line: usize,
    },
    /// A value is not a number git understands.
    #[error("bad numeric config value '{value}' for '{key}'{}: {fault}", at(file, *line))]
    BadNumber {
        /// The key, in canonical form.
        key: BString,
        /// The value as it is written.
        value: BString,
        /// The file the key stands in, if any.
        file: Option<PathBuf>,
        /// The line in it.
        line: usize,
        /// What is wrong with the number.
        fault: NumberFault,
    },
    /// A key given by the environment or by code is not `section.name` or `section.sub.name`.
    #[error("invalid key: {key}")]
    BadKey {
        /// The key as it is written.
        key: BString,
    },
    /// An environment variable that carries configuration does not.
    #[error("{problem} {variable}")]
    Environment {
        /// What is wrong with it.
        problem: &'static str,
        /// The variable's name.
        variable: String,
    },
}

/// Why a text is not a number to git.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NumberFault {
    /// No digits, or something other than `k`, `m` or `g` behind them.
    #[error("invalid unit")]
    InvalidUnit,
    /// More than the setting's type holds.
    #[error("out of range")]
    OutOfRange,
}

fn at(file: &Option<PathBuf>, line: usize) -> String {
    match file {
        Some(file) => format!(" in file {} at line {line}", Path::display(file)),
        None => String::new(),
    }
}
