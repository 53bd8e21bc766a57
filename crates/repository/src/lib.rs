//! One repository over the two storage seams: looking objects up, walking
//! history, deciding what to send and sending it, taking packs in.
//!
//! Floor 3: knows the formats (`pack`) and the seams (`storage`); knows nothing
//! of the wire, of callers or of hooks. Everything here is synchronous: the work
//! is bound by the processor and the memory map, and a request that is let in
//! owns its thread until it is answered.

pub mod connectivity;
mod error;
pub mod filter;
pub mod forks;
pub mod history;
pub mod incoming;
pub mod maintenance;
mod memory;
mod objects;
mod progress;
mod repository;
mod send;
pub mod shallow;
pub mod touched;
pub mod transfer;
pub mod verify;
mod walk;

pub use error::Error;
pub use filter::{Filter, SparsePatterns};
pub use memory::{MemoryPool, MemoryShare};
pub use objects::{Commit, ContentStream, Object, Objects, PREFIX_DIGITS_MIN, Slot};
pub use progress::{Progress, Silent, Stage};
pub use repository::{RangeReads, Repository, Settings};
pub use send::{PackPlan, PackRequest, PackStream, Reuse, plan};
