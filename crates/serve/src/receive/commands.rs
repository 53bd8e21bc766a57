//! The commands of one push, and what has become of each so far.

use bstr::{BStr, BString, ByteSlice as _};
use object::ObjectId;
use wire::{PushCommand, ReportOptions};

/// One ref the client wants changed.
#[derive(Debug, Clone)]
pub(super) struct Command {
    /// What the client saw; null to create.
    pub old: ObjectId,
    /// What the client wants; null to delete.
    pub new: ObjectId,
    /// The name inside the namespace, as the client sent it.
    pub name: BString,
    /// Why it is refused, in the words of the report.
    pub error: Option<String>,
    /// It is carried out by another command, or not at all.
    pub skip_update: bool,
    /// A deletion of something that was not there.
    pub did_not_exist: bool,
    /// It has been checked against the settings; refusals that follow come from elsewhere.
    pub examined: bool,
    /// Its share in the proc-receive hook.
    pub proc_receive: ProcReceive,
    /// What proc-receive did instead of what was asked.
    pub reports: Vec<ReportOptions>,
    /// Commits the client has no parents of, that this command would bring in.
    pub shallow_roots: Vec<ObjectId>,
}

/// Where a command stands with the proc-receive hook.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ProcReceive {
    /// The hook carries the command out, not this server.
    pub scheduled: bool,
    /// The hook has said what became of it.
    pub returned: bool,
}

impl Command {
    pub fn new(command: PushCommand) -> Self {
        Command {
            old: command.old,
            new: command.new,
            name: command.name,
            error: None,
            skip_update: false,
            did_not_exist: false,
            examined: false,
            proc_receive: ProcReceive::default(),
            reports: Vec::new(),
            shallow_roots: Vec::new(),
        }
    }

    pub fn deletes(&self) -> bool {
        self.new.is_null()
    }

    pub fn refuse(&mut self, reason: impl Into<String>) {
        self.error = Some(reason.into());
    }

    /// Whether this server is still to carry it out.
    pub fn is_pending(&self) -> bool {
        self.error.is_none() && !self.skip_update
    }
}

/// Refuses every command that nothing else has refused.
pub(super) fn refuse_rest(commands: &mut [Command], reason: &str) {
    for command in commands.iter_mut().filter(|command| command.error.is_none()) {
        command.refuse(reason);
    }
}

/// Which commands a receive hook is told about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Told {
    /// All of them (`pre-receive`).
    All,
    /// Those that changed something (`post-receive`).
    Done,
}

/// The standard input of `pre-receive` and `post-receive`; empty when there is nothing to tell.
pub(super) fn hook_input(commands: &[Command], told: Told) -> Vec<u8> {
    let mut text = Vec::new();
    for command in commands {
        if told == Told::Done && (command.error.is_some() || command.did_not_exist) {
            continue;
        }
        if command.reports.is_empty() {
            input_line(&mut text, &command.old, &command.new, command.name.as_ref());
        }
        for report in &command.reports {
            let name = report.refname.as_ref().unwrap_or(&command.name);
            let old = report.old_oid.unwrap_or(command.old);
            let new = report.new_oid.unwrap_or(command.new);
            input_line(&mut text, &old, &new, name.as_bstr());
        }
    }
    text
}

fn input_line(text: &mut Vec<u8>, old: &ObjectId, new: &ObjectId, name: &BStr) {
    text.extend_from_slice(format!("{old} {new} ").as_bytes());
    text.extend_from_slice(name);
    text.push(b'\n');
}

/// An id shortened for a message to a person; exact uniqueness is not worth a search here.
pub(super) fn abbreviated(id: &ObjectId) -> String {
    const DIGITS: usize = 7;
    let mut hex = id.to_hex();
    hex.truncate(DIGITS);
    hex
}

#[cfg(test)]
pub(super) mod tests {
    use object::HashKind;

    use super::*;

    /// A command whose ids repeat one byte; 0 makes the null id.
    pub fn command(name: &str, old: u8, new: u8) -> Command {
        let id = |byte| ObjectId::from_bytes(&[byte; 20], HashKind::Sha1).expect("20 bytes");
        Command::new(PushCommand { old: id(old), new: id(new), name: name.into() })
    }

    #[test]
    fn post_receive_hears_of_what_happened() {
        let mut commands = [command("refs/heads/a", 0, 1), command("refs/for/b", 0, 2)];
        commands[0].refuse("hook declined");
        let refname = Some(BString::from("refs/pull/1"));
        commands[1].reports = vec![
            ReportOptions { refname, ..ReportOptions::default() },
            ReportOptions { forced_update: true, ..ReportOptions::default() },
        ];
        let text = hook_input(&commands, Told::Done);
        let (old, new) = (commands[1].old, commands[1].new);
        let expected = format!("{old} {new} refs/pull/1\n{old} {new} refs/for/b\n");
        assert_eq!(text.as_bstr(), expected.as_bytes().as_bstr());
        assert_eq!(hook_input(&commands, Told::All).lines().count(), 3);
    }
}
