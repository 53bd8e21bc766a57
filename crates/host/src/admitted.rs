//! A request that was let in: the one thing that reaches a repository.

use std::io::{BufRead, Write};
use std::sync::Arc;

use bstr::BString;
use repository::Repository;
use serve::receive::{Outcome, Pusher, ReceivePack, ReceiveSettings};
use serve::upload::UploadPack;
use serve::{Error, Exchange, HiddenRefs, Namespace};
use wire::{Protocol, Service, Sink};

use crate::dumb;
use crate::dumb_file::DumbFile;
use crate::settings::Settings;
use crate::turns::Turns;
use crate::upkeep::Keeper;
use crate::watch::{Hub, View, WatchedRefs};
use crate::{Found, Location, Place, Refusal, Request, Task};

/// Proof that a request may run. Only [`crate::Host::admit`] makes one.
pub struct Admitted {
    repository: Repository,
    name: String,
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
    pub hub: Arc<Hub>,
}

impl Admitted {
    pub(crate) fn new(
        found: Found,
        request: Request,
        settings: Settings,
        place: Place,
        rooms: Rooms,
    ) -> Self {
        let Found { repository, exported_name: name, location } = found;
        Admitted { repository, name, location, request, settings, _place: place, rooms }
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
        let Task::Smart { service, exchange, protocol } = self.request.task else {
            return Err(Error::Refused("this request asks for a file".into()));
        };
        let result = match service {
            Service::UploadPack => self.upload_pack(exchange, protocol, input, output),
            Service::ReceivePack => self.receive_pack(exchange, protocol, input, output),
        };
        if let (Ok(outcome), Some(location)) = (&result, &self.location)
            && !outcome.updated.is_empty()
        {
            self.rooms.keeper.note(location);
        }
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
        result
    }

    fn upload_pack(
        &self,
        exchange: Exchange,
        protocol: Protocol,
        input: &mut dyn BufRead,
        output: &mut dyn Sink,
    ) -> Result<Outcome, Error> {
        UploadPack {
            repository: &self.repository,
            protocol,
            exchange,
            limits: &self.settings.limits,
            namespace: self.namespace()?,
            server: &self.settings.server,
            gate: &self.rooms.turns.gate(&self.request.caller),
            budget: &self.settings.fetch_budget,
            now: self.settings.now,
        }
        .run(input, output)?;
        (self.settings.memory_freed)();
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
        settings.hook_limits.hook_timeout_ms = self.settings.hook_timeout_ms;
        let session = ReceivePack {
            repo: &self.repository,
            protocol,
            exchange,
            limits: &self.settings.limits,
            server: &self.settings.server,
            namespace: self.namespace()?,
            settings,
            environment: &self.settings.hook_environment,
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
        let name = self.request.caller.name.clone().unwrap_or_else(|| "anonymous".into());
        Pusher {
            name: variable("GIT_COMMITTER_NAME").unwrap_or_else(|| name.clone().into()),
            email: variable("GIT_COMMITTER_EMAIL")
                .unwrap_or_else(|| format!("{name}@packhorse.invalid").into()),
        }
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
        let hidden = HiddenRefs::from_config(self.repository.config(), "uploadpack");
        let refs = self.repository.refs();
        let subscription = self.rooms.hub.subscribe((location, &self.name), refs, *since)?;
        let view = View { hidden, namespace, prefixes: prefixes.clone() };
        Ok(WatchedRefs::new(subscription, view))
    }

    /// Opens the file a dumb client asked for.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] for files that are not there or not for clients.
    pub fn file(&self) -> Result<DumbFile, Refusal> {
        let not_found = || Refusal::NotFound { name: self.name.clone() };
        let Task::File { path } = &self.request.task else { return Err(not_found()) };
        match dumb::open(&self.repository, path, self.settings.download_address) {
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
