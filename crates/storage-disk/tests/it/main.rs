//! Repositories on disk against stock git: what git writes we read, what we write git reads,
//! also at the same time and after a crash between any two writes.

mod blobs;
mod concurrent;
mod conforms;
mod crash;
mod discover;
mod init;
mod read;
mod support;
mod table_refs;
mod transaction;
mod watch;
