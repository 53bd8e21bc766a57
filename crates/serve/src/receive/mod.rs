//! receive-pack: taking pushes (gitprotocol-pack, "Pushing Data To a Server"; git's
//! `builtin/receive-pack.c` is the reference for order and words).
//!
//! One push runs straight down [`ReceivePack::run`]: advertise, read the commands, take the
//! pack into quarantine, check, ask the hooks, publish, move the refs, report, tell the hooks.
//! Until the objects are published, every way out leaves the repository as it was.
//!
//! Knows nothing of transports and callers.

mod advertise;
mod aliases;
mod alternates;
mod certificate;
mod checks;
mod commands;
mod conflicts;
mod connected;
mod context;
mod deploy;
mod execute;
mod explain;
mod messages;
mod nonce;
mod proc_receive;
mod progress;
mod protect;
mod reflog;
mod refs;
mod report;
mod server_info;
mod settings;
mod shallow;
mod signature;
mod transaction;
mod unpack;
mod worktrees;

use std::io::{BufRead, Write};

use bstr::{BStr, BString};
use object::ObjectId;
use repository::Repository;
use wire::{
    Limits, PacketReader, PacketWriter, Protocol, PushRequest, ReceivePackOffer, Service, Sink,
};

use crate::hooks::{HookConfigError, HookEnvironment, Hooks};
use crate::{Error, Exchange, Namespace, ServerInfo};

use self::certificate::Certificate;
use self::commands::Command;
use self::context::Context;
use self::execute::Push;
use self::messages::Messages;
use self::nonce::Nonces;
use self::signature::{Signature, Verifier};
use self::unpack::Unpacked;

pub use self::proc_receive::ProcReceiveRefs;
pub use self::protect::Guard;
pub use self::reflog::Pusher;
pub use self::settings::{DenyAction, ReceiveSettings};

/// The hooks of a push (githooks).
const HOOKS: [&str; 7] = [
    "pre-receive",
    "update",
    "proc-receive",
    "post-receive",
    "post-update",
    "reference-transaction",
    "push-to-checkout",
];

/// Everything one session of receive-pack is run with.
pub struct ReceivePack<'a> {
    /// The repository pushed to.
    pub repo: &'a Repository,
    /// The version the client asked for; 2 is answered with 0, as git does.
    pub protocol: Protocol,
    /// How far the exchange goes.
    pub exchange: Exchange,
    /// How much a request may hold.
    pub limits: &'a Limits,
    /// What the server says of itself.
    pub server: &'a ServerInfo,
    /// The part of the refs this session sees.
    pub namespace: Namespace,
    /// The repository's settings for pushes.
    pub settings: ReceiveSettings,
    /// What hooks start from.
    pub environment: &'a HookEnvironment,
    /// Who pushes, for reflogs.
    pub pusher: Pusher,
    /// What the host has to say about single refs.
    pub guard: Option<&'a dyn Guard>,
    /// The repository as the session named it; goes into the nonces of signed pushes.
    pub repository_name: BString,
    /// Seconds since 1970, now.
    pub now_seconds: u64,
    /// Takes objects without looking whether anything is missing.
    pub skip_connectivity_check: bool,
    /// Refuses packs that lean on objects they do not carry.
    pub reject_thin: bool,
}

/// A ref that was moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefUpdate {
    /// Its name inside the namespace.
    pub name: BString,
    /// What it was; null when it did not exist.
    pub old: ObjectId,
    /// What it is; null when it was deleted.
    pub new: ObjectId,
}

/// What came of a session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Refs that were moved, by this server or by the proc-receive hook.
    pub updated: Vec<RefUpdate>,
    /// Refs that were refused, and why.
    pub refused: Vec<(BString, String)>,
}

impl ReceivePack<'_> {
    /// Serves one session. `console` hears what goes to the pusher when the client has no
    /// side-band; `None` drops it.
    ///
    /// # Errors
    /// When the session ended early; as far as the protocol allows, the client was told. No
    /// object became visible and no ref moved then.
    pub fn run<'s>(
        &self,
        input: &mut dyn BufRead,
        output: &'s mut dyn Sink,
        console: Option<&'s mut (dyn Write + 's)>,
    ) -> Result<Outcome, Error> {
        let nonce = self.nonces().map(|nonces| nonces.at(self.now_seconds));
        let offer = self.offer(nonce.clone());
        if self.exchange != Exchange::Round {
            let protocol = self.protocol.of_service(Service::ReceivePack);
            let hidden = &self.settings.hidden_refs;
            // Only one setting needs a program before the client has asked for anything.
            let asks = self.repo.config().string("core.alternateRefsCommand").is_some();
            let hooks = if asks { self.hooks()? } else { None };
            advertise::advertise(
                self.repo,
                hooks.as_ref(),
                &self.namespace,
                hidden,
                protocol,
                &offer,
                output,
            )?;
        }
        if self.exchange == Exchange::Advertise {
            return Ok(Outcome::default());
        }
        let mut reader = PacketReader::with_line_bytes_max(input, self.limits.line_bytes_max);
        let request = match wire::push::read_push(&mut reader, &offer, self.limits) {
            Ok(Some(request)) => request,
            Ok(None) => return Ok(Outcome::default()),
            Err(error) => {
                let mut writer = PacketWriter::new(output);
                writer.err(error.to_string())?;
                writer.flush()?;
                return Err(error.into());
            }
        };
        let mut messages = Messages::new(output, request.band(), console, request.quiet);
        match self.push(&request, nonce, reader.inner_mut(), &mut messages) {
            Ok(outcome) => {
                // The refs have moved: that the client no longer listens changes nothing.
                let _ = messages.finish();
                Ok(outcome)
            }
            Err(error) => {
                let _ = messages.fail(&error.words_for_peer());
                Err(error)
            }
        }
    }

    fn push(
        &self,
        request: &PushRequest,
        nonce: Option<BString>,
        input: &mut dyn BufRead,
        messages: &mut Messages<'_>,
    ) -> Result<Outcome, Error> {
        for warning in &self.settings.warnings {
            messages.warning(warning);
        }
        let mut hooks = self.hooks()?;
        let mut commands: Vec<Command> =
            request.commands.iter().cloned().map(Command::new).collect();
        if !request.push_options_match_cert() {
            commands::refuse_rest(&mut commands, "inconsistent push options");
        }
        for event in HOOKS {
            if let Some(advice) = hooks.as_ref().and_then(|hooks| hooks.advice(event)) {
                messages.raw(advice.as_bytes());
            }
        }
        let unpacked = self.unpack(request, &mut commands, input, messages)?;
        let _boundary = shallow::show_hooks(self.repo, &commands, hooks.as_mut())?;
        let context = Context {
            repo: self.repo,
            settings: &self.settings,
            namespace: &self.namespace,
            hooks: hooks.as_ref(),
            environment: self.environment,
            committer: reflog::committer(
                self.environment,
                self.repo.config(),
                &self.pusher,
                self.now_seconds,
            ),
        };
        let signed = || self.signed(request, nonce.clone());
        let certificate = self.certificate(request, nonce.clone(), &context)?;
        let push = Push {
            context: &context,
            request,
            certificate,
            guard: self.guard.map(|guard| (guard, &signed as &dyn Fn() -> Result<(), String>)),
            skip_connectivity_check: self.skip_connectivity_check,
        };
        let unpack_status = push.execute(&mut commands, unpacked, messages)?;
        let outcome = outcome(&commands);
        if let Some(guard) = self.guard.filter(|_| !outcome.updated.is_empty())
            && let Err(words) = guard.moved(&outcome.updated)
        {
            messages.warning(words);
        }

        let report = report::report(&commands, unpack_status).encode(request.report())?;
        if let Some(report) = report {
            messages.report(report);
        }
        push.after(&commands, messages);
        if self.settings.update_server_info
            && let Err(error) = server_info::update(self.repo)
        {
            messages.warning(format!("could not update server info: {error}"));
        }
        Ok(outcome)
    }

    /// Reads the pack, unless there is none, and finds out what a shallow client's commands need.
    fn unpack(
        &self,
        request: &PushRequest,
        commands: &mut [Command],
        input: &mut dyn BufRead,
        messages: &mut Messages<'_>,
    ) -> Result<Unpacked, Error> {
        if request.deletes_only() {
            return Ok(Unpacked::Nothing);
        }
        let fix_thin = !self.reject_thin;
        let unpacked = unpack::receive(self.repo, &self.settings, fix_thin, input, messages)?;
        if let Some(incoming) = unpacked.incoming().filter(|_| !request.shallow.is_empty()) {
            shallow::assign_roots(
                &self.repo.objects()?,
                &incoming.objects()?,
                &*self.repo.refs().snapshot()?,
                &request.shallow,
                self.settings.shallow_update,
                commands,
            )?;
        }
        Ok(unpacked)
    }

    fn offer(&self, nonce: Option<BString>) -> ReceivePackOffer {
        let settings = &self.settings;
        ReceivePackOffer {
            object_format: self.repo.hash(),
            agent: self.server.agent.clone(),
            session_id: settings.advertise_session_id.then(|| self.server.session_id.clone()),
            atomic: settings.advertise_atomic,
            ofs_delta: settings.ofs_delta,
            push_cert_nonce: nonce,
            push_options: settings.advertise_push_options,
        }
    }

    fn nonces(&self) -> Option<Nonces<'_>> {
        let seed = self.settings.cert_nonce_seed.as_ref()?;
        let repository = BStr::new(&self.repository_name);
        Some(Nonces { hash: self.repo.hash(), repository, seed: BStr::new(seed) })
    }

    fn hooks(&self) -> Result<Option<Hooks<'_>>, Error> {
        let Some(local) = self.repo.local() else { return Ok(None) };
        let limits = self.settings.hook_limits;
        let config = self.repo.config();
        Hooks::new(&local.git_dir, &local.common_dir, config, self.environment, limits)
            .map(Some)
            .map_err(|error| match error {
                HookConfigError::Config(error) => Error::Config(error),
                other => Error::Refused(other.to_string()),
            })
    }

    /// Keeps the certificate of a signed push for the hooks that can judge it.
    fn certificate(
        &self,
        request: &PushRequest,
        nonce: Option<BString>,
        context: &Context<'_>,
    ) -> Result<Option<Certificate>, Error> {
        let wanted = context.has_hook("pre-receive") || context.has_hook("post-receive");
        let Some(cert) = request.push_cert.as_ref().filter(|_| wanted) else { return Ok(None) };
        let id = certificate::store(self.repo, cert)?;
        let signature = match (context.hooks, self.repo.local()) {
            (Some(hooks), Some(local)) => {
                Verifier { hooks, config: self.repo.config(), local }.verify(cert)
            }
            _ => Signature::default(),
        };
        let stateless = self.exchange == Exchange::Round;
        let slop = self.settings.cert_nonce_slop_seconds;
        let nonces = self.nonces();
        let nonces = nonces.as_ref();
        Ok(Some(Certificate::judge(cert, id, signature, nonces, nonce, stateless, slop)))
    }
}

impl ReceivePack<'_> {
    /// Whether a push is signed by whoever pushes, for this server, lately.
    fn signed(&self, request: &PushRequest, given: Option<BString>) -> Result<(), String> {
        let cert = request.push_cert.as_ref().ok_or("git push --signed does that")?;
        let (nonces, mut given) = self
            .nonces()
            .zip(given)
            .ok_or("this server takes no signed pushes (receive.certNonceSeed)")?;
        let stateless = self.exchange == Exchange::Round;
        let slop = self.settings.cert_nonce_slop_seconds;
        match nonces.check(cert.header("nonce"), &mut given, stateless, slop) {
            nonce::NonceStatus::Ok => {}
            other => return Err(format!("its nonce is {}", other.word())),
        }
        let keys = self.guard.map(Guard::keys).unwrap_or_default();
        keys.check(cert.signature(), cert.payload(), self.now_seconds)
            .map(drop)
            .map_err(|error| error.to_string())
    }
}

fn outcome(commands: &[Command]) -> Outcome {
    let mut outcome = Outcome::default();
    for command in commands {
        if let Some(reason) = &command.error {
            outcome.refused.push((command.name.clone(), reason.clone()));
            continue;
        }
        if command.did_not_exist {
            continue;
        }
        let as_asked = RefUpdate { name: command.name.clone(), old: command.old, new: command.new };
        if command.reports.is_empty() {
            outcome.updated.push(as_asked.clone());
        }
        outcome.updated.extend(command.reports.iter().map(|report| RefUpdate {
            name: report.refname.clone().unwrap_or_else(|| as_asked.name.clone()),
            old: report.old_oid.unwrap_or(as_asked.old),
            new: report.new_oid.unwrap_or(as_asked.new),
        }));
    }
    outcome
}
