//! The only door: who asks for which repository to do what, and whether that may happen.
//!
//! Floor 5. A front-end turns transport facts into a [`Request`]; [`Host::admit`] finds the
//! repository and decides; only an [`Admitted`] can do work, and nothing else makes one.
//! Front-ends see this crate and `wire`, never a repository.

mod admitted;
mod attempts;
mod audit;
mod catalogue;
mod creation;
mod dumb;
mod dumb_file;
mod empty;
mod line_file;
mod listener;
mod location;
mod name;
mod path_rules;
mod porter;
mod refusal;
mod request;
mod search;
mod settings;
mod turns;
mod upkeep;
mod watch;

pub use access::{Authority, AuthorityError, Credential, Decision, Identity, Level, Proof};
pub use admitted::Admitted;
pub use attempts::AttemptSettings;
pub use audit::Audit;
pub use catalogue::Catalogue;
pub use dumb_file::{DumbFile, Freshness};
pub use line_file::LineFile;
pub use listener::{Listener, Pushed};
pub use location::Location;
pub use name::{NameError, RepositoryName};
pub use object::ObjectId;
pub use path_rules::{PathRules, is_aliased};
pub use refusal::Refusal;
pub use repository::MemoryPool;
pub use request::{Caller, Request, Road, Switch, Task};
pub use search::Listed;
pub use serve::hooks::HookEnvironment;
pub use serve::receive::{Outcome, RefUpdate};
pub use serve::upload::FetchBudget;
pub use serve::{Error as ServeError, Exchange, ServerInfo};
pub use settings::{PushAccess, Settings, Variable};
pub use storage_disk::{OwnerContext, expand_user};
pub use turns::TurnSettings;
pub use upkeep::{UpkeepRequest, UpkeepSettings};
pub use watch::WatchedRefs;
pub use watch::{Cursor, EventForm, EventStream, NoCursor, ShownMove, Told, WatchSettings};

use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use admitted::Rooms;
use attempts::Attempts;
use audit::Entry;
use bstr::BString;
use catalogue::Found;
use porter::Porter;
use serve::Namespace;
use turns::{Turns, Work};
use upkeep::Keeper;
use watch::{Hub, View};

/// A server's repositories and rules. Shared by all front-ends of a process.
pub struct Host {
    catalogue: Arc<Catalogue>,
    rules: RwLock<Arc<Rules>>,
    running: Arc<AtomicUsize>,
    sessions: AtomicU64,
    keeper: Arc<Keeper>,
    turns: Arc<Turns>,
    archive_turns: Arc<Turns>,
    hub: Arc<Hub>,
    attempts: Arc<Attempts>,
}

/// What holds for the requests that come now.
struct Rules {
    settings: Settings,
    porter: Arc<Porter>,
}

impl Host {
    /// A host over a catalogue of repositories.
    pub fn new(catalogue: Catalogue, settings: Settings) -> Self {
        let keeper = Arc::new(Keeper::new(settings.upkeep.clone()));
        let turns = |work| {
            let memory = settings.engine.memory.clone();
            Arc::new(Turns::new(work, settings.turns.clone(), memory, settings.memory_freed))
        };
        let (turns, archive_turns) = (turns(Work::Fetches), turns(Work::Archives));
        let catalogue = Arc::new(catalogue);
        let hub = Arc::new(Hub::new(settings.watch.clone()));
        let attempts = Arc::new(Attempts::new(settings.attempts.clone()));
        let porter = Arc::new(Porter::new(&settings, attempts.clone()));
        Host {
            catalogue,
            rules: RwLock::new(Arc::new(Rules { settings, porter })),
            running: Arc::default(),
            sessions: AtomicU64::default(),
            keeper,
            turns,
            archive_turns,
            hub,
            attempts,
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

    /// What the server says of itself to people.
    pub fn agent(&self) -> BString {
        self.rules().settings.server.agent.clone()
    }

    /// From now on, requests are let in by these settings; those that run go on as they were let in.
    /// Of what was made at the start (memory, turns, maintenance, watching, failed logins), the settings stay.
    pub fn reload(&self, settings: Settings) {
        let porter = Arc::new(Porter::new(&settings, self.attempts.clone()));
        let rules = Arc::new(Rules { settings, porter });
        *self.rules.write().unwrap_or_else(PoisonError::into_inner) = rules;
    }

    fn rules(&self) -> Arc<Rules> {
        self.rules.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn porter(&self) -> Arc<Porter> {
        self.rules().porter.clone()
    }

    /// The repositories a caller may read, at most `most` of them, and whether there may be more.
    ///
    /// # Errors
    /// [`Refusal::Busy`]: looking for them is work like any request. As [`Host::admit`].
    pub fn list(&self, caller: &Caller, most: usize) -> Result<(Vec<Listed>, bool), Refusal> {
        let _place = self.place()?;
        if !self.has_accounts() {
            return Ok(self.catalogue.list(most));
        }
        let (all, mut more) = self.catalogue.list(most.max(LOOKED_THROUGH_MAX));
        let mut listed = Vec::new();
        for one in all {
            let name = one.name.strip_suffix(".git").unwrap_or(&one.name);
            if self.porter().decide(caller, name)?.level < Level::Read {
                continue;
            }
            if listed.len() == most {
                more = true;
                break;
            }
            listed.push(one);
        }
        Ok((listed, more))
    }

    /// Whether callers can show who they are.
    pub fn has_accounts(&self) -> bool {
        self.porter().has_accounts()
    }

    /// Who shows this, at this address; nobody where there are no accounts.
    ///
    /// # Errors
    /// [`Refusal::Unauthenticated`] for what proves nothing, [`Refusal::TooManyAttempts`] when that
    /// came too often from there, [`Refusal::NoAccounts`].
    pub fn identify(
        &self,
        proof: &Proof<'_>,
        address: IpAddr,
        road: Road,
    ) -> Result<Option<Identity>, Refusal> {
        let caller = Caller { identity: None, address: Some(address) };
        self.porter().identify(proof, &caller, road)
    }

    /// Whose this is, without counting it as a failure when it is nobody's: for clients that show
    /// several things until one is known.
    ///
    /// # Errors
    /// [`Refusal::NoAccounts`].
    pub fn knows(&self, proof: &Proof<'_>) -> Result<Option<Identity>, Refusal> {
        self.porter().knows(proof)
    }

    /// Whether what a caller has shown still proves who he is.
    pub fn still_knows(&self, caller: &Caller) -> bool {
        !matches!(self.porter().decide(caller, ""), Err(Refusal::Unauthenticated { .. }))
    }

    /// Notes that somebody has logged in, on a road where that happens once.
    pub fn logged_in(&self, caller: &Caller, road: Road) {
        self.porter().note(|| Entry { action: "login", result: "ok", ..Entry::of(caller, road) });
    }

    /// Counts a connection until what comes back is dropped; `None` when there are too many from
    /// this address.
    pub fn connect(&self, address: IpAddr) -> Option<Connected> {
        let address = self.attempts.connect(address)?;
        Some(Connected { attempts: self.attempts.clone(), address })
    }

    /// Notes that somebody at this address left without having logged in, on a road where everybody
    /// has to.
    pub fn login_failed(&self, why: &str, address: IpAddr, road: Road) {
        let caller = Caller { identity: None, address: Some(address) };
        let refusal = self.porter().failed(why, &caller, road);
        tracing::info!(%address, why, %refusal, "nobody logged in");
    }

    /// Whether so many logins from this address failed that nothing from there is listened to for
    /// now. To ask is an attempt: whoever goes on stays out.
    pub fn is_barred(&self, address: IpAddr) -> bool {
        self.attempts.is_barred(address)
    }

    /// Tells everybody who watches that it is over: the server is about to end.
    pub fn end_watching(&self) {
        self.hub.end();
    }

    /// The name in rules of a repository that was listed so.
    pub fn known_as(&self, listed: &str) -> String {
        let Ok(name) = RepositoryName::new(listed.as_bytes()) else { return listed.to_owned() };
        self.catalogue.known_as(&name, self.catalogue.locate(&name).as_ref())
    }

    /// Watches a repository for the server itself: all that somebody who may fetch can see. Looks at its
    /// refs first, which may take a while.
    ///
    /// # Errors
    /// [`Refusal::NotFound`], [`Refusal::Crowded`], [`Refusal::Unavailable`].
    pub fn watch(
        &self,
        name: &RepositoryName,
        since: Option<Cursor>,
    ) -> Result<WatchedRefs, Refusal> {
        let location = self.catalogue.locate(name);
        let Found { repository, exported_name, location } = self.catalogue.find(name, location)?;
        let not_found = || Refusal::NotFound { name: exported_name.clone() };
        let location = location.ok_or_else(not_found)?;
        let view = View::of(&repository, Namespace::default(), Vec::new());
        let subscription =
            self.hub.subscribe((&location, &exported_name), repository.refs(), since)?;
        Ok(WatchedRefs::new(subscription, view, None))
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
        let admitted = self.decide(&request);
        let was_asked = |refusal: &Refusal| {
            // Git asks without its credentials first; to be asked for them is no event.
            matches!(refusal, Refusal::Unauthenticated { .. }) && request.caller.identity.is_none()
        };
        if let Err(refusal) = &admitted
            && !was_asked(refusal)
        {
            let (action, _) = request.task.kind();
            let name = self.catalogue.known_as(&request.repository, None);
            self.porter().note(|| Entry {
                repository: Some(&name),
                action,
                result: "refused",
                why: Some(refusal.to_string()),
                ..Entry::of(&request.caller, request.road)
            });
        }
        let (found, known_as, place) = admitted?;
        let (mut settings, keeper) = (self.rules().settings.clone(), self.keeper.clone());
        settings.server.session_id = self.session_id();
        let (turns, archive_turns) = (self.turns.clone(), self.archive_turns.clone());
        let (hub, porter) = (self.hub.clone(), self.porter());
        let rooms = Rooms { keeper, turns, archive_turns, hub, porter };
        Ok(Admitted::new(found, known_as, request, settings, place, rooms))
    }

    /// The repository of a request that may run, and its name in rules.
    fn decide(&self, request: &Request) -> Result<(Found, (String, bool), Place), Refusal> {
        let place = self.place()?;
        let location = self.catalogue.locate(&request.repository);
        let known_as = self.catalogue.known_as(&request.repository, location.as_ref());
        let (_, need) = request.task.kind();
        let decision = self.porter().decide(&request.caller, &known_as)?;
        self.porter().check(&decision, need, &request.caller, &known_as)?;
        let found = match self.catalogue.find(&request.repository, location) {
            Err(Refusal::NotFound { .. })
                if request.task.writes() && decision.level >= Level::Create =>
            {
                self.create(request)?
            }
            found => found?,
        };
        request.check_allowed_by(found.repository.config())?;
        let needs_signature = decision.protections.iter().any(|protection| protection.signed);
        Ok((found, (known_as, needs_signature), place))
    }

    /// Unique on this machine, and built as git's session ids are: time, process, and the
    /// session's number in it, in hexadecimal.
    fn session_id(&self) -> BString {
        let number = self.sessions.fetch_add(1, Ordering::Relaxed);
        let seconds = (self.rules().settings.now_seconds)();
        format!("packhorse-{seconds:x}-P{:08x}-{number:x}", std::process::id()).into()
    }

    /// The repository of a push to a new name. As long as nothing is sent, nothing is made: a
    /// client that only asks what could be pushed gets the answer of an empty repository.
    fn create(&self, request: &Request) -> Result<Found, Refusal> {
        let Task::Smart { exchange: Exchange::Advertise, .. } = request.task else {
            return self.catalogue.create(&request.repository);
        };
        self.catalogue.check_creatable(&request.repository)?;
        empty::repository(&self.rules().settings)
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
        let requests_max = self.rules().settings.requests_max;
        match before < requests_max {
            true => Ok(place),
            false => Err(Refusal::Busy { requests_max }),
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.keeper.stop();
    }
}

/// Repositories that are looked through for those somebody may read.
const LOOKED_THROUGH_MAX: usize = 10_000;

/// A connection that counts.
pub struct Connected {
    attempts: Arc<Attempts>,
    address: IpAddr,
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.attempts.disconnect(self.address);
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
