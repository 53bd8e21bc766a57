//! The only door: who asks for which repository to do what, and whether that may happen.
//!
//! Floor 5. A front-end turns transport facts into a [`Request`]; [`Host::admit`] finds the
//! repository and decides; only an [`Admitted`] can do work, and nothing else makes one.
//! Front-ends see this crate and `wire`, never a repository.

mod admitted;
mod catalogue;
mod creation;
mod dumb;
mod dumb_file;
mod empty;
mod location;
mod name;
mod refusal;
mod request;
mod search;
mod settings;
mod turns;
mod upkeep;
mod watch;

pub use admitted::Admitted;
pub use catalogue::Catalogue;
pub use dumb_file::{DumbFile, Freshness};
pub use location::Location;
pub use name::{NameError, RepositoryName};
pub use refusal::Refusal;
pub use repository::MemoryPool;
pub use request::{Caller, Request, Road, Task};
pub use search::Listed;
pub use serve::hooks::HookEnvironment;
pub use serve::receive::Outcome;
pub use serve::upload::FetchBudget;
pub use serve::{Error as ServeError, Exchange, ServerInfo};
pub use settings::{PushAccess, Settings, Variable};
pub use storage_disk::{OwnerContext, expand_user};
pub use turns::TurnSettings;
pub use upkeep::{UpkeepRequest, UpkeepSettings};
pub use watch::{Cursor, NoCursor, ShownMove, Told, WatchSettings, WatchedRefs};

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use admitted::Rooms;
use bstr::BString;
use catalogue::Found;
use turns::Turns;
use upkeep::Keeper;
use watch::Hub;

/// A server's repositories and rules. Shared by all front-ends of a process.
pub struct Host {
    catalogue: Arc<Catalogue>,
    settings: Settings,
    running: Arc<AtomicUsize>,
    sessions: AtomicU64,
    keeper: Arc<Keeper>,
    turns: Arc<Turns>,
    hub: Arc<Hub>,
}

impl Host {
    /// A host over a catalogue of repositories.
    pub fn new(catalogue: Catalogue, settings: Settings) -> Self {
        let keeper = Arc::new(Keeper::new(settings.upkeep.clone()));
        let turns = Arc::new(Turns::new(
            settings.turns.clone(),
            settings.engine.memory.clone(),
            settings.memory_freed,
        ));
        let catalogue = Arc::new(catalogue);
        let hub = Arc::new(Hub::new(settings.watch.clone()));
        Host {
            catalogue,
            settings,
            running: Arc::default(),
            sessions: AtomicU64::default(),
            keeper,
            turns,
            hub,
        }
    }

    /// From now on, repositories are maintained some time after a push, if the settings say so;
    /// until the host is dropped.
    pub fn start_upkeep(&self) {
        self.keeper.start(self.catalogue.clone(), self.running.clone());
    }

    /// The repositories served.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// The rules in force.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The repositories served now, at most `most` of them, and whether there are more.
    ///
    /// # Errors
    /// [`Refusal::Busy`]: looking for them is work like any request.
    pub fn list(&self, most: usize) -> Result<(Vec<Listed>, bool), Refusal> {
        let _place = self.place()?;
        Ok(self.catalogue.list(most))
    }

    /// Tells everybody who watches that it is over: the server is about to end.
    pub fn end_watching(&self) {
        self.hub.end();
    }

    /// Requests that are being answered.
    pub fn running(&self) -> usize {
        self.running.load(Ordering::Relaxed)
    }

    /// Decides about a request. What comes back may run it, once.
    ///
    /// # Errors
    /// A [`Refusal`]; a repository the caller may not know about is refused in the same words
    /// as one that does not exist.
    pub fn admit(&self, request: Request) -> Result<Admitted, Refusal> {
        let place = self.place()?;
        if request.task.writes() {
            self.settings.push_access.check(&request.caller)?;
        }
        let found = match self.catalogue.find(&request.repository) {
            Err(Refusal::NotFound { .. }) if self.may_create(&request) => self.create(&request)?,
            found => found?,
        };
        request.check_allowed_by(found.repository.config())?;
        let (mut settings, keeper) = (self.settings.clone(), self.keeper.clone());
        settings.server.session_id = self.session_id();
        let turns = self.turns.clone();
        let rooms = Rooms { keeper, turns, hub: self.hub.clone() };
        Ok(Admitted::new(found, request, settings, place, rooms))
    }

    /// Unique on this machine, and built as git's session ids are: time, process, and the
    /// session's number in it, in hexadecimal.
    fn session_id(&self) -> BString {
        let number = self.sessions.fetch_add(1, Ordering::Relaxed);
        let seconds = (self.settings.now_seconds)();
        format!("packhorse-{seconds:x}-P{:08x}-{number:x}", std::process::id()).into()
    }

    fn may_create(&self, request: &Request) -> bool {
        self.settings.create_on_push && request.task.writes()
    }

    /// The repository of a push to a new name. As long as nothing is sent, nothing is made: a
    /// client that only asks what could be pushed gets the answer of an empty repository.
    fn create(&self, request: &Request) -> Result<Found, Refusal> {
        let Task::Smart { exchange: Exchange::Advertise, .. } = request.task else {
            return self.catalogue.create(&request.repository);
        };
        self.catalogue.check_creatable(&request.repository)?;
        empty::repository(&self.settings)
            .map(|repository| Found {
                repository,
                exported_name: request.repository.to_string(),
                location: None,
            })
            .map_err(|error| Refusal::Unavailable {
                name: request.repository.to_string(),
                reason: error.to_string(),
            })
    }

    /// A place among the running requests.
    fn place(&self) -> Result<Place, Refusal> {
        let before = self.running.fetch_add(1, Ordering::Relaxed);
        let place = Place { running: self.running.clone() };
        match before < self.settings.requests_max {
            true => Ok(place),
            false => Err(Refusal::Busy { requests_max: self.settings.requests_max }),
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.keeper.stop();
    }
}

/// Counts one running request until it is dropped.
struct Place {
    running: Arc<AtomicUsize>,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.running.fetch_sub(1, Ordering::Relaxed);
    }
}
