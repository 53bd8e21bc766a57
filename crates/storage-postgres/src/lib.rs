//! Repositories in a PostgreSQL database, which any number of servers may use at once.
//!
//! Refs are rows that change in one transaction, under the database's own locks; blobs are
//! chunks in rows (see `schema.rs` for the tables). A server keeps nothing that matters: what it has
//! staged or reserved belongs to a row of its own, and is given to others when that has not been
//! renewed for a while (`node.rs`).
//!
//! No state is kept in a session of the database, and no statement is prepared beyond the one call, so that
//! a pooler may hand every transaction to another connection.

mod blobs;
mod connections;
mod errors;
mod node;
mod prepare;
mod refs;
mod schema;
mod stage;
mod store;
mod tls;
mod watch;

pub use store::{OpenOptions, PgStore};
