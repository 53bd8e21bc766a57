//! Refs in a stack of reftables, wherever the tables are kept: what a stack says, what a
//! transaction needs of it, and the table that a transaction becomes. Locks, files and lists are
//! whose who keeps the tables.

mod read;
mod write;

pub use read::RefTables;
pub use write::{NewTable, check_transaction};
