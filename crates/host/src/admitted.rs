//! A request that was let in: the one thing that reaches a repository.

use std::io::{BufRead, Write};
use std::sync::Arc;

use access::Level;
use bstr::{BString, ByteSlice as _};
use repository::Repository;
use serve::archive::UploadArchive;
use serve::hooks::HookEnvironment;
use serve::receive::{Outcome, Pusher, ReceivePack, ReceiveSettings, RefUpdate};
use serve::upload::UploadPack;
use serve::{Error, Exchange, Namespace};
use wire::v2::WatchRequest;
use wire::{PacketWriter, Protocol, Service, Sink};

use crate::audit::{Entry, Moved, Refused};
use crate::dumb;
use crate::dumb_file::DumbFile;
use crate::porter::{Porter, PushGuard};
use crate::settings::Settings;
use crate::turns::Turns;
use crate::upkeep::Keeper;
use crate::watch::{Hub, StillMay, View, WatchedRefs};
use crate::{Found, Location, NoCursor, Place, Refusal, Request, Task};

/// How long a nonce of ours is good over HTTP, where nothing ties it to a connection: the time somebody
/// needs to unlock his key.
const NONCE_SLOP_SECONDS: u64 = 600;

/// Proof that a request may run. Only [`crate::Host::admit`] makes one.
pub struct Admitted {
    repository: Repository,
    name: String,
    /// Its name in rules.
    known_as: String,
    /// Some pushes to it have to be signed.
    needs_signature: bool,
    /// Where maintenance finds it.
    location: Option<Location>,
    request: Request,
    settings: Settings,
    _place: Place,
    rooms: Rooms,
}

/// What all requests of a host share.
pub(crate) struct Rooms {
    pub keeper: Arc<Keeper>,
    pub turns: Arc<Turns>,
    pub archive_turns: Arc<Turns>,
    pub hub: Arc<Hub>,
    pub porter: Arc<Porter>,
}

impl Admitted {
    pub(crate) fn new(
        found: Found,
        (known_as, needs_signature): (String, bool),
        request: Request,
        settings: Settings,
        place: Place,
        rooms: Rooms,
    ) -> Self {
        let Found { repository, exported_name: name, location } = found;
        Admitted {
            repository,
            name,
            known_as,
            needs_signature,
            location,
            request,
            settings,
            _place: place,
            rooms,
        }
    }

    /// The request that was let in.
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Runs a smart request to its end.
    ///
    /// # Errors
    /// Whatever kept the exchange from its end. If anything was flushed to `output`, the client
    /// has been told there, as far as the connection allowed; if not, it is to be told in the
    /// transport's own way, with [`Error::words_for_peer`].
    pub fn run(self, input: &mut dyn BufRead, output: &mut dyn Sink) -> Result<Outcome, Error> {
        self.answer(false, input, output).map(|(outcome, _)| outcome)
    }

    /// [`Admitted::run`] for a front that can go on telling the client what happens, which is offered to it
    /// then. What comes back is what it is to be told; nothing of that is in `output`.
    ///
    /// # Errors
    /// As there.
    pub fn converse(
        mut self,
        input: &mut dyn BufRead,
        output: &mut dyn Sink,
    ) -> Result<Option<WatchedRefs>, Error> {
        let can_watch = self.location.is_some() && self.settings.watch.subscribers_max > 0;
        let (_, asked) = self.answer(can_watch, input, output)?;
        let Some(WatchRequest { since, prefixes }) = asked else { return Ok(None) };
        let watched = since
            .map(|since| since.to_str_lossy().parse())
            .transpose()
            .map_err(|error: NoCursor| error.to_string())
            .and_then(|since| {
                self.request.task = Task::Watch { since, prefixes };
                self.watch().map_err(|refusal| refusal.words_for_peer())
            });
        watched.map(Some).map_err(|words| {
            let mut writer = PacketWriter::new(output);
            match writer.err(&words).and_then(|()| writer.flush()) {
                Ok(()) => Error::Told(Box::new(Error::Refused(words))),
                Err(error) => Error::Output(error),
            }
        })
    }

    /// Runs a smart request to its end; with it, what the client wants to be told of then.
    fn answer(
        &self,
        watch: bool,
        input: &mut dyn BufRead,
        output: &mut dyn Sink,
    ) -> Result<(Outcome, Option<WatchRequest>), Error> {
        let Task::Smart { service, exchange, protocol } = self.request.task else {
            return Err(Error::Refused("this request asks for a file".into()));
        };
        let mut asked = None;
        let result = match service {
            Service::UploadPack => {
                let answered = self.upload_pack((exchange, protocol), watch, input, output);
                answered.map(|request| {
                    asked = request;
                    Outcome::default()
                })
            }
            Service::ReceivePack => self.receive_pack(exchange, protocol, input, output),
            Service::UploadArchive => self.upload_archive(input, output),
        };
        if let (Ok(outcome), Some(location)) = (&result, &self.location)
            && !outcome.updated.is_empty()
        {
            self.rooms.keeper.note(location);
        }
        self.note(service, exchange, &result);
        match &result {
            Ok(outcome) => tracing::debug!(
                repository = self.name,
                service = service.name(),
                ?exchange,
                updated = outcome.updated.len(),
                "answered"
            ),
            Err(error) if peer_is_to_blame(error) => tracing::info!(
                repository = self.name,
                service = service.name(),
                ?exchange,
                %error,
                "ended early"
            ),
            Err(error) => tracing::warn!(
                repository = self.name,
                service = service.name(),
                ?exchange,
                %error,
                "failed"
            ),
        }
        result.map(|outcome| (outcome, asked))
    }

    /// Into the audit log.
    fn note(&self, service: Service, exchange: Exchange, result: &Result<Outcome, Error>) {
        let reads = service != Service::ReceivePack;
        let Some(audit) = self.rooms.porter.audit() else { return };
        if exchange == Exchange::Advertise || (reads && !audit.notes_reads()) {
            return;
        }
        let (action, _) = self.request.task.kind();
        let mut entry = Entry {
            repository: Some(&self.known_as),
            action,
            result: "ok",
            ..Entry::of(&self.request.caller, self.request.road)
        };
        match result {
            Ok(outcome) => {
                entry.refs = outcome.updated.iter().map(moved).collect();
                let refused = outcome.refused.iter();
                let refused = refused.map(|(name, why)| (name.to_string(), why.clone()));
                entry.refused = refused.map(|(name, why)| Refused { name, why }).collect();
            }
            Err(error) => (entry.result, entry.why) = ("failed", Some(error.to_string())),
        }
        self.rooms.porter.note(|| entry);
    }

    fn upload_pack(
        &self,
        (exchange, protocol): (Exchange, Protocol),
        watch: bool,
        input: &mut dyn BufRead,
        output: &mut dyn Sink,
    ) -> Result<Option<WatchRequest>, Error> {
        let asked = UploadPack {
            repository: &self.repository,
            protocol,
            exchange,
            limits: &self.settings.limits,
            namespace: self.namespace()?,
            server: &self.settings.server,
            gate: &self.rooms.turns.gate(&self.request.caller),
            budget: &self.settings.fetch_budget,
            now: self.settings.now,
            watch,
        }
        .run(input, output)?;
        (self.settings.memory_freed)();
        Ok(asked)
    }

    fn upload_archive(
        &self,
        input: &mut dyn BufRead,
        output: &mut dyn Sink,
    ) -> Result<Outcome, Error> {
        UploadArchive {
            repository: &self.repository,
            limits: &self.settings.limits,
            namespace: self.namespace()?,
            gate: &self.rooms.archive_turns.gate(&self.request.caller),
            variable: &*self.settings.variable,
            now_seconds: (self.settings.now_seconds)(),
        }
        .run(input, output)?;
        Ok(Outcome::default())
    }

    fn receive_pack(
        &self,
        exchange: Exchange,
        protocol: Protocol,
        input: &mut dyn BufRead,
        output: &mut dyn Sink,
    ) -> Result<Outcome, Error> {
        let config = self.repository.config();
        let mut settings = ReceiveSettings::from_config(config)?;
        settings.unpack_limit = settings.unpack_limit.or(self.settings.unpack_limit);
        settings.hook_limits.hook_timeout_ms = self.settings.hook_timeout_ms;
        let seed = &self.settings.cert_nonce_seed;
        if self.needs_signature && settings.cert_nonce_seed.is_none() && !seed.is_empty() {
            settings.cert_nonce_seed = Some(seed.clone());
            settings.cert_nonce_slop_seconds =
                settings.cert_nonce_slop_seconds.max(NONCE_SLOP_SECONDS);
        }
        let guard = PushGuard {
            porter: &self.rooms.porter,
            caller: &self.request.caller,
            name: &self.known_as,
            road: self.request.road,
            listener: self.settings.listener.as_deref(),
        };
        let environment = self.hook_environment();
        let session = ReceivePack {
            repo: &self.repository,
            protocol,
            exchange,
            limits: &self.settings.limits,
            server: &self.settings.server,
            namespace: self.namespace()?,
            settings,
            environment: &environment,
            guard: Some(&guard),
            pusher: self.pusher(),
            repository_name: BString::from(self.name.as_str()),
            now_seconds: (self.settings.now_seconds)(),
            skip_connectivity_check: self.settings.skip_connectivity_check,
            reject_thin: self.settings.reject_thin,
        };
        let mut console = std::io::stderr();
        let console: Option<&mut dyn Write> = self.settings.console.then_some(&mut console);
        session.run(input, output, console)
    }

    fn namespace(&self) -> Result<Namespace, Error> {
        use std::os::unix::ffi::OsStrExt as _;
        let name = (self.settings.variable)("GIT_NAMESPACE").unwrap_or_default();
        Namespace::new(name.as_bytes()).map_err(Error::Refused)
    }

    /// Who stands in the reflog: what the environment says, as git's programs do; else the
    /// caller's name.
    fn pusher(&self) -> Pusher {
        use std::os::unix::ffi::OsStringExt as _;
        let variable =
            |name: &str| (self.settings.variable)(name).map(|value| value.into_vec().into());
        let identity = self.request.caller.identity.as_ref();
        let name = identity.map_or("anonymous", |identity| identity.user.as_str());
        let email = identity.and_then(|identity| identity.email.clone());
        let email = email.unwrap_or_else(|| format!("{name}@packhorse.invalid"));
        Pusher {
            name: variable("GIT_COMMITTER_NAME").unwrap_or_else(|| name.into()),
            email: variable("GIT_COMMITTER_EMAIL").unwrap_or_else(|| email.into()),
        }
    }

    /// What hooks start from, and who it is that they are run for (as git-http-backend(1) says it).
    fn hook_environment(&self) -> HookEnvironment {
        let mut environment = self.settings.hook_environment.clone();
        if let Some(identity) = &self.request.caller.identity {
            environment.set("REMOTE_USER", &identity.user);
        }
        if let Some(address) = self.request.caller.address {
            environment.set("REMOTE_ADDR", address.to_string());
        }
        environment
    }

    /// Begins to watch what the request asks for.
    ///
    /// # Errors
    /// [`Refusal::Crowded`], [`Refusal::Unavailable`].
    pub fn watch(self) -> Result<WatchedRefs, Refusal> {
        let not_found = || Refusal::NotFound { name: self.name.clone() };
        let Task::Watch { since, prefixes } = &self.request.task else { return Err(not_found()) };
        let location = self.location.as_ref().ok_or_else(not_found)?;
        let namespace = self.namespace().map_err(|error| Refusal::Unavailable {
            name: self.name.clone(),
            reason: error.to_string(),
        })?;
        let view = View::of(&self.repository, namespace, prefixes.clone());
        let refs = self.repository.refs();
        let subscription = self.rooms.hub.subscribe((location, &self.name), refs, *since)?;
        let (porter, caller) = (self.rooms.porter.clone(), self.request.caller.clone());
        let (has_accounts, known_as) = (porter.has_accounts(), self.known_as);
        let still_may = move || {
            porter.decide(&caller, &known_as).is_ok_and(|decision| decision.level >= Level::Read)
        };
        let still_may = has_accounts.then(|| Box::new(still_may) as StillMay);
        Ok(WatchedRefs::new(subscription, view, still_may))
    }

    /// The name of the repository, as it was asked for; of one that was named by a path, where it was found.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The most bytes of a fetch's request, as the repository has it (`http.maxRequestBuffer`).
    ///
    /// # Errors
    /// [`Refusal::Forbidden`], in git's words, for what is no number.
    pub fn request_bytes_max(&self) -> Result<Option<u64>, Refusal> {
        let said = self.repository.config().unsigned("http.maxRequestBuffer");
        said.map_err(|error| Refusal::Forbidden { words: error.to_string() })
    }

    /// By what git-annex knows the repository (`annex.uuid`), if it has been told.
    pub fn annex_uuid(&self) -> Option<&str> {
        dumb::annex_uuid(&self.repository)
    }

    /// Opens the file a dumb client asked for.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for files that are not there or not for clients.
    pub fn file(&self) -> Result<DumbFile, Refusal> {
        let not_found = || Refusal::NotFound { name: self.name.clone() };
        let Task::File { path } = &self.request.task else { return Err(not_found()) };
        let namespace = self.namespace().map_err(|error| Refusal::Unavailable {
            name: self.name.clone(),
            reason: error.to_string(),
        })?;
        let lifetime = self.settings.download_address;
        match dumb::open(&self.repository, path, &namespace, lifetime) {
            Ok(Some(file)) => Ok(file),
            Ok(None) => Err(not_found()),
            Err(error) => {
                tracing::warn!(repository = self.name, path, %error, "failed");
                let (name, reason) = (self.name.clone(), error.to_string());
                Err(Refusal::Unavailable { name, reason })
            }
        }
    }
}

fn moved(update: &RefUpdate) -> Moved {
    let RefUpdate { name, old, new } = update;
    Moved { name: name.to_string(), old: old.to_string(), new: new.to_string() }
}

/// Whether an operator has nothing to mend: the client broke off or asked for too much.
fn peer_is_to_blame(error: &Error) -> bool {
    match error {
        Error::Wire(_) | Error::Refused(_) | Error::Output(_) => true,
        Error::Repository(error) => matches!(
            error,
            repository::Error::Io(_)
                | repository::Error::Cancelled
                | repository::Error::Refused(_)
                | repository::Error::Limit { .. }
        ),
        Error::Told(error) => peer_is_to_blame(error),
        _ => false,
    }
}
