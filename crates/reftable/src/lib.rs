//! Git's reftable format (`Documentation/technical/reftable` of git), over byte slices: a
//! [`Table`] is read where it lies, a [`TableWriter`] writes one in order, and [`merged`] makes
//! one view of a stack of them.
//!
//! Floor 1: knows no file and no repository. Opening a table checks its frame and allocates
//! nothing that grows with it; what is wrong inside is an error when it is met, never a panic.

mod block;
mod error;
mod header;
pub mod merged;
mod record;
pub mod stack;
mod table;
mod varint;
mod writer;

pub use error::Error;
pub use record::{LogEntry, LogRecord, LogView, RefRecord, RefValue, RefView, ValueView};
pub use table::{LogCursor, RefCursor, Table};
pub use writer::{TableWriter, WriteOptions, table_of};

/// Results of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
