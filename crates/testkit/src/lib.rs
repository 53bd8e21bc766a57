//! Test parts: stock git as the oracle, repositories made to order, sessions
//! as readable text, and child servers that never outlive their test.
//!
//! A dev-dependency only. Everything here panics with a full account instead of
//! returning an error: a test has nothing better to do with one. It knows no
//! Packhorse crate above the storage seams, so that every crate may use it.

mod bad_road;
mod ceph;
mod crashes;
mod event_source;
mod git;
mod installed;
mod line_process;
mod patience;
mod pebble;
mod postgres;
mod random;
mod receiver;
mod scenario;
mod server;
mod sshd;
mod temp_dir;
mod transcript;
mod watch_source;

pub use bad_road::BadRoad;
pub use ceph::Ceph;
pub use crashes::for_every_crash;
pub use event_source::{EventSource, SentEvent, long_answer, long_answer_of};
pub use git::{GitOutput, RealGit};
pub use installed::installed_programs;
pub use line_process::LineProcess;
pub use patience::{HUNG, wait_until};
pub use pebble::{Pebble, PebblePorts, free_port};
pub use postgres::Postgres;
pub use random::Random;
pub use receiver::{Received, Receiver};
pub use scenario::{Change, FastImport, Mark, Scenario};
pub use server::ServerProcess;
pub use sshd::Sshd;
pub use storage::faulty;
pub use temp_dir::TempDir;
pub use transcript::{Transcript, check, render};
pub use watch_source::{WatchSource, watch_request};
