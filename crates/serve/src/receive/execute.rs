//! The order of a push after its pack has been read: checks, hooks, publication, refs.

use std::ffi::OsString;

use bstr::BString;
use repository::Objects;
use repository::incoming::Incoming;
use wire::PushRequest;

use crate::Error;
use crate::hooks::Call;

use super::aliases;
use super::certificate::Certificate;
use super::checks;
use super::commands::{Command, Told, hook_input, refuse_rest};
use super::conflicts;
use super::connected::Connectivity;
use super::context::{Context, Now};
use super::messages::Messages;
use super::proc_receive::{self, Negotiated};
use super::protect::{Guard, Protecting};
use super::transaction::{self, Batch, Failed, Together};
use super::unpack::{self, UnpackStatus, Unpacked};

/// Another command of an atomic push was refused.
const ATOMIC_FAILURE: &str = "atomic push failure";

/// A push whose pack has been read.
pub(super) struct Push<'a> {
    pub context: &'a Context<'a>,
    pub request: &'a PushRequest,
    pub certificate: Option<Certificate>,
    /// What the host says of it, and whether it is signed well.
    pub guard: Option<(&'a dyn Guard, &'a dyn Fn() -> Result<(), String>)>,
    pub skip_connectivity_check: bool,
}

impl Push<'_> {
    /// Carries the commands out, as far as everybody agrees. Each command ends up refused or
    /// done; on an error nothing has been done. Returns what the report says of the pack.
    pub fn execute(
        &self,
        commands: &mut [Command],
        unpacked: Unpacked,
        messages: &mut Messages<'_>,
    ) -> Result<UnpackStatus, Error> {
        let incoming = match unpacked {
            Unpacked::Refused(reason) => return Ok(unpacker_error(commands, reason)),
            Unpacked::Quarantined(incoming) => Some(incoming),
            Unpacked::Nothing => None,
        };
        if let Some(incoming) = incoming.as_ref().filter(|_| !self.skip_connectivity_check) {
            let keepalive_seconds = self.context.settings.hook_limits.keepalive_seconds;
            let connectivity = Connectivity::new(self.context.repo, incoming, keepalive_seconds)?;
            let whole = connectivity.check(commands, messages)?;
            if !whole && self.context.settings.fsck.is_some() {
                // Who checks objects checks that what they name is there, too.
                return Ok(unpacker_error(commands, unpack::REFUSED.into()));
            }
        }
        self.refuse_hidden(commands);
        let objects = match &incoming {
            Some(incoming) => incoming.objects()?,
            None => self.context.repo.objects()?,
        };
        self.refuse_protected(commands, &objects, messages)?;
        let patterns = &self.context.settings.proc_receive_refs;
        let wants_proc_receive = proc_receive::schedule(patterns, commands);

        if self.pre_receive(commands, incoming.as_ref(), messages) {
            refuse_rest(commands, "pre-receive hook declined");
            return Ok(Ok(()));
        }
        self.examine(commands, objects, messages)?;
        if commands.iter().all(|command| command.error.is_some()) {
            return Ok(Ok(()));
        }
        if messages.is_broken() {
            // Nobody would learn that the refs moved; nothing is visible yet.
            let gone = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
            return Err(Error::Output(gone));
        }
        if let Some(incoming) = incoming
            && let Err(error) = incoming.publish()
        {
            messages.error(error.to_string());
            refuse_rest(commands, "unable to migrate objects to permanent storage");
            return Ok(Ok(()));
        }
        self.move_refs(commands, wants_proc_receive, messages);
        Ok(Ok(()))
    }

    /// Refuses what can be refused while nothing is visible yet. git looks only after it has
    /// published the objects; a push that is refused whole then leaves them behind.
    fn examine(
        &self,
        commands: &mut [Command],
        objects: Objects,
        messages: &mut Messages<'_>,
    ) -> Result<(), Error> {
        let snapshot = self.context.repo.refs().snapshot()?;
        aliases::check(&*snapshot, self.context.namespace, commands, messages)?;
        let now = Now::new(self.context, &*snapshot, objects)?;
        for at in due(commands, |_| true) {
            let command = &mut commands[at];
            if let Err(refusal) = checks::examine(self.context, &now, command, messages)? {
                command.refuse(refusal);
                if self.request.atomic {
                    break;
                }
            }
        }
        let atomic = self.request.atomic;
        if atomic && commands.iter().any(|command| command.error.is_some()) {
            refuse_rest(commands, ATOMIC_FAILURE);
        }
        conflicts::check(&*snapshot, self.context.namespace, commands, atomic, messages)
    }

    /// From here on the objects are there: what fails now is a refusal, not the end of the push.
    fn move_refs(
        &self,
        commands: &mut [Command],
        wants_proc_receive: bool,
        messages: &mut Messages<'_>,
    ) {
        if wants_proc_receive {
            self.proc_receive(commands, messages);
        }
        if self.request.atomic {
            self.atomic(commands, messages);
        } else {
            // Deletions first, so that they make room; then everything else.
            self.each_for_itself(commands, Command::deletes, messages);
            self.each_for_itself(commands, |command| !command.deletes(), messages);
        }
    }

    fn refuse_hidden(&self, commands: &mut [Command]) {
        let hidden = &self.context.settings.hidden_refs;
        for command in commands.iter_mut().filter(|command| command.error.is_none()) {
            let stored = self.context.namespace.stored(&command.name);
            if hidden.hides(Some(command.name.as_ref()), stored.as_ref()) {
                let act = if command.deletes() { "deleting" } else { "updating" };
                command.refuse(format!("deny {act} a hidden ref"));
            }
        }
    }

    fn refuse_protected(
        &self,
        commands: &mut [Command],
        objects: &Objects,
        messages: &mut Messages<'_>,
    ) -> Result<(), Error> {
        let Some((guard, signed)) = self.guard else { return Ok(()) };
        let snapshot = self.context.repo.refs().snapshot()?;
        let Context { namespace, settings, .. } = self.context;
        Protecting { guard, objects, snapshot: &*snapshot, namespace, settings, signed }
            .check(commands, messages)
    }

    /// True when the hook refuses the push.
    fn pre_receive(
        &self,
        commands: &[Command],
        incoming: Option<&Incoming>,
        messages: &mut Messages<'_>,
    ) -> bool {
        let mut env = self.variables();
        env.extend(incoming.into_iter().flat_map(|incoming| self.quarantine_variables(incoming)));
        let stdin = Some(hook_input(commands, Told::All));
        let call = Call { event: "pre-receive", env, stdin, ..Call::default() };
        self.context.run_hook(&call, messages).refuses()
    }

    /// Runs what follows a push that has been reported.
    pub fn after(&self, commands: &[Command], messages: &mut Messages<'_>) {
        let stdin = hook_input(commands, Told::Done);
        if !stdin.is_empty() {
            let env = self.variables();
            let call = Call { event: "post-receive", env, stdin: Some(stdin), ..Call::default() };
            self.context.run_hook(&call, messages);
        }
        let done = |command: &&Command| command.error.is_none() && !command.did_not_exist;
        let args: Vec<OsString> = commands.iter().filter(done).map(name_argument).collect();
        if !args.is_empty() {
            let call = Call { event: "post-update", args, ..Call::default() };
            self.context.run_hook(&call, messages);
        }
    }

    /// What `pre-receive` and `post-receive` know of the push besides its commands.
    fn variables(&self) -> Vec<(OsString, OsString)> {
        let options: &[BString] = &self.request.push_options;
        let mut env: Vec<(OsString, OsString)> = options
            .iter()
            .enumerate()
            .map(|(at, option)| (format!("GIT_PUSH_OPTION_{at}").into(), os(option)))
            .collect();
        env.push(("GIT_PUSH_OPTION_COUNT".into(), options.len().to_string().into()));
        env.extend(self.certificate.iter().flat_map(Certificate::variables));
        env
    }

    /// Lets `pre-receive` see the objects nobody else sees (git-receive-pack(1), "Quarantine
    /// Environment").
    fn quarantine_variables(&self, incoming: &Incoming) -> Vec<(OsString, OsString)> {
        let places = incoming.quarantine_dir().zip(self.context.repo.local());
        let Some((quarantine, local)) = places else { return Vec::new() };
        let alternates = self.context.hooks.map(|hooks| {
            hooks.joined("GIT_ALTERNATE_OBJECT_DIRECTORIES", local.objects_dir.as_os_str())
        });
        let quarantine = quarantine.as_os_str().to_owned();
        let mut env = vec![
            ("GIT_OBJECT_DIRECTORY".into(), quarantine.clone()),
            ("GIT_QUARANTINE_PATH".into(), quarantine),
        ];
        env.extend(alternates.map(|value| ("GIT_ALTERNATE_OBJECT_DIRECTORIES".into(), value)));
        env
    }

    fn proc_receive(&self, commands: &mut [Command], messages: &mut Messages<'_>) {
        let atomic = self.request.atomic;
        let push_options = self.request.uses_push_options.then_some(&*self.request.push_options);
        let well = match self.context.hooks {
            Some(hooks) => {
                proc_receive::run(hooks, commands, Negotiated { atomic, push_options }, messages)
            }
            None => {
                messages.error("cannot find hook 'proc-receive'");
                false
            }
        };
        if well {
            return;
        }
        for command in commands.iter_mut().filter(|command| command.error.is_none()) {
            let state = command.proc_receive;
            if !state.returned && (state.scheduled || atomic) {
                command.refuse("fail to run proc-receive hook");
            }
        }
    }

    /// All commands in one transaction, or none.
    fn atomic(&self, commands: &mut [Command], messages: &mut Messages<'_>) {
        let due = due(commands, |_| true);
        if commands.iter().any(|command| command.error.is_some()) {
            // Refused before its turn came: the others go down with it.
            due.iter().for_each(|at| commands[*at].refuse(ATOMIC_FAILURE));
            return;
        }
        if due.is_empty() {
            return;
        }
        match self.transact(commands, &due, Together::Yes, messages) {
            Ok(Ok(())) => {}
            Ok(Err(Failed(reason))) => refuse_rest(commands, &reason),
            Err(error) => {
                messages.error(error.to_string());
                refuse_rest(commands, "atomic transaction failed");
            }
        }
    }

    /// One transaction in which each command may fail alone.
    fn each_for_itself(
        &self,
        commands: &mut [Command],
        of_this_kind: impl Fn(&Command) -> bool,
        messages: &mut Messages<'_>,
    ) {
        let due = due(commands, of_this_kind);
        if due.is_empty() {
            return;
        }
        let reason = match self.transact(commands, &due, Together::No, messages) {
            Ok(Ok(())) => return,
            Ok(Err(Failed(reason))) => reason,
            Err(error) => {
                messages.error(error.to_string());
                "failed to update refs".to_owned()
            }
        };
        for at in due {
            if commands[at].error.is_none() {
                commands[at].refuse(&reason);
            }
        }
    }

    /// Checks the commands at `due`, then moves their refs.
    fn transact(
        &self,
        commands: &mut [Command],
        due: &[usize],
        together: Together,
        messages: &mut Messages<'_>,
    ) -> Result<Result<(), Failed>, Error> {
        let snapshot = self.context.repo.refs().snapshot()?;
        let now = Now::new(self.context, &*snapshot, self.context.repo.objects()?)?;
        let mut batch = Batch::default();
        for &at in due {
            let command = &mut commands[at];
            let admitted = checks::admit(self.context, &now, at, command, &mut batch, messages)?;
            if let Err(refusal) = admitted {
                command.refuse(refusal);
                if together == Together::Yes {
                    return Ok(Err(Failed(ATOMIC_FAILURE.into())));
                }
            }
        }
        transaction::commit(self.context, &now, batch, together, commands, messages)
    }
}

/// Nothing of the pack is taken.
fn unpacker_error(commands: &mut [Command], reason: String) -> UnpackStatus {
    commands.iter_mut().for_each(|command| command.refuse("unpacker error"));
    Err(reason)
}

/// The commands that this server, and no hook, is still to carry out.
fn due(commands: &[Command], of_this_kind: impl Fn(&Command) -> bool) -> Vec<usize> {
    let ours = |command: &Command| command.is_pending() && !command.proc_receive.scheduled;
    (0..commands.len()).filter(|at| ours(&commands[*at]) && of_this_kind(&commands[*at])).collect()
}

fn name_argument(command: &Command) -> OsString {
    os(&command.name)
}

fn os(bytes: &[u8]) -> OsString {
    use std::os::unix::ffi::OsStringExt as _;
    OsString::from_vec(bytes.to_vec())
}
