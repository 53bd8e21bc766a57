//! Git configuration files: parsing, includes, precedence and typed access.
//!
//! Floor 0: knows configuration text, the files and environment variables it comes from, and how
//! git reads values. It knows no setting by name (but `include.path`, `includeIf.*.path` and
//! `extensions.worktreeConfig`, which decide what is read) and no repository.
//!
//! Sources: git's `Documentation/config.adoc` ("Syntax", "Includes", "Conditional includes",
//! "Values") and `Documentation/git-config.adoc` ("FILES", "SCOPES", "ENVIRONMENT").

mod config;
mod entry;
mod environment;
mod error;
mod grammar;
mod include;
mod number;
mod path;
mod standard;
mod wildmatch;
mod write;

pub use config::{BoolOrString, Config};
pub use entry::{Entry, Scope};
pub use error::{ConfigError, NumberFault};
pub use grammar::{RawEntry, SyntaxError, scan};
pub use include::{IncludeContext, Limits};
pub use number::{parse_bool, parse_signed, parse_unsigned};
pub use wildmatch::{wildmatch, wildmatch_any};
pub use write::{NoKey, entry_text};
