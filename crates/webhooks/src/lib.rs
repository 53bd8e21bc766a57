//! Webhooks: what became of refs, told to addresses of HTTP.
//!
//! A push that moved refs is noted in a folder ([`spool`]) before it is acknowledged; changes behind the
//! server's back are heard by watching ([`changes`]). What is noted is sent ([`send`]) signed ([`sign`]), in order
//! for each repository and receiver ([`queue`]), and sent again, ever later, until the receiver has taken it or it is
//! given up. Each attempt is a line in a log ([`log`]). A receiver hears of everything at least once.

mod changes;
mod desk;
mod event;
mod hook;
mod log;
mod notebook;
mod queue;
mod receiver;
mod send;
mod sign;
mod spool;
mod webhooks;

pub use event::{Change, Event, EventKind};
pub use hook::{Hears, Hook, NoHook, Secret, Settings};
pub use log::{Attempt, LOG_FILE, Outcome};
pub use send::ping;
pub use spool::{Kept, SpoolError, failed, pending, retry};
pub use webhooks::Webhooks;
