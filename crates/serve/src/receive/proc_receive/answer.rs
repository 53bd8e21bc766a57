//! What the hook says became of each command.

use bstr::{BStr, BString, ByteSlice as _};
use object::ObjectId;
use wire::ReportOptions;

use crate::receive::commands::Command;

/// Writes the hook's answer into the commands. Returns words for the pusher about what is
/// wrong with the answer; clears `well` when anything is, or when a command is refused.
pub(super) fn apply(lines: &[BString], commands: &mut [Command], well: &mut bool) -> BString {
    let mut reading = Reading { commands, current: None, report: ReportState::None, well };
    let mut words = BString::default();
    let mut orphan_option_told = false;
    for line in lines {
        match reading.line(line.as_ref()) {
            Ok(()) => {}
            Err(Complaint::OrphanOption) if orphan_option_told => {}
            Err(complaint) => {
                orphan_option_told |= matches!(complaint, Complaint::OrphanOption);
                words.extend_from_slice(&complaint.words());
                words.push(b'\n');
            }
        }
    }
    for command in commands.iter_mut() {
        let state = command.proc_receive;
        if state.scheduled && !state.returned && command.error.is_none() {
            command.refuse("proc-receive failed to report status");
            *well = false;
        }
    }
    words
}

/// What is wrong with one line of the answer.
enum Complaint {
    Incomplete(BString),
    OrphanOption,
    BadStatus { status: BString, name: BString },
    UnknownRef(BString),
    UnexpectedRef(BString),
}

impl Complaint {
    fn words(&self) -> Vec<u8> {
        let mut words = b"proc-receive reported ".to_vec();
        let mut add = |parts: &[&[u8]]| parts.iter().for_each(|part| words.extend_from_slice(part));
        match self {
            Complaint::Incomplete(line) => add(&[b"incomplete status line: '", line, b"'"]),
            Complaint::OrphanOption => {
                add(&[b"'option' without a matching 'ok/ng' directive"]);
            }
            Complaint::BadStatus { status, name } => {
                add(&[b"bad status '", status, b"' on ref '", name, b"'"]);
            }
            Complaint::UnknownRef(name) => add(&[b"status on unknown ref: ", name]),
            Complaint::UnexpectedRef(name) => add(&[b"status on unexpected ref: ", name]),
        }
        words
    }
}

/// Whether options may follow, and where they go.
#[derive(PartialEq, Eq)]
enum ReportState {
    None,
    /// An `ok` was read: the next option starts a report.
    Fresh,
    /// Options go to the command's last report.
    Open,
}

struct Reading<'a> {
    commands: &'a mut [Command],
    current: Option<usize>,
    report: ReportState,
    well: &'a mut bool,
}

impl Reading<'_> {
    fn line(&mut self, line: &BStr) -> Result<(), Complaint> {
        let result = self.directive(line);
        *self.well &= result.is_ok();
        result
    }

    fn directive(&mut self, line: &BStr) -> Result<(), Complaint> {
        let Some((head, rest)) = line.split_once_str(" ") else {
            return Err(Complaint::Incomplete(line.to_owned()));
        };
        if head == b"option" {
            return self.option(rest);
        }
        self.report = ReportState::None;
        let (name, reason) = match rest.split_once_str(" ") {
            Some((name, reason)) => (name, Some(reason)),
            None => (rest, None),
        };
        if head != b"ok" && head != b"ng" {
            return Err(Complaint::BadStatus { status: head.into(), name: name.into() });
        }
        self.current = self.find(name);
        let Some(at) = self.current else { return Err(Complaint::UnknownRef(name.into())) };
        let command = &mut self.commands[at];
        if !command.proc_receive.scheduled {
            return Err(Complaint::UnexpectedRef(name.into()));
        }
        command.proc_receive.returned = true;
        if head == b"ng" {
            command.refuse(reason.unwrap_or(b"failed").to_str_lossy());
            *self.well = false;
        } else {
            self.report = ReportState::Fresh;
        }
        Ok(())
    }

    /// The command of that name, looked for from the last one on, then from the start.
    fn find(&self, name: &[u8]) -> Option<usize> {
        let from = self.current.unwrap_or(0);
        let order = (from..self.commands.len()).chain(0..from);
        order.into_iter().find(|at| self.commands[*at].name == name)
    }

    fn option(&mut self, rest: &[u8]) -> Result<(), Complaint> {
        let at = match (&self.report, self.current) {
            (ReportState::None, _) | (_, None) => return Err(Complaint::OrphanOption),
            (_, Some(at)) => at,
        };
        let command = &mut self.commands[at];
        if self.report == ReportState::Fresh {
            command.reports.push(ReportOptions::default());
            self.report = ReportState::Open;
        }
        let report = command.reports.last_mut().expect("an open report is in the list");
        let (key, value) = match rest.split_once_str(" ") {
            Some((key, value)) => (key, Some(value)),
            None => (rest, None),
        };
        let id = || value.and_then(leading_id);
        match key {
            b"refname" => report.refname = value.map(BString::from),
            b"old-oid" => report.old_oid = id().or(report.old_oid),
            b"new-oid" => report.new_oid = id().or(report.new_oid),
            b"forced-update" => report.forced_update = true,
            // This server carries the command out after all.
            b"fall-through" => command.proc_receive = Default::default(),
            _ => {}
        }
        Ok(())
    }
}

/// The id a value starts with; what follows is ignored, as git does.
fn leading_id(value: &[u8]) -> Option<ObjectId> {
    let digits = value.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
    ObjectId::from_hex(&value[..digits])
}

#[cfg(test)]
mod tests {
    use super::super::super::commands::tests::command;
    use super::*;

    fn answer(lines: &[&str]) -> (Vec<Command>, BString, bool) {
        let mut commands = vec![command("refs/for/a", 0, 1), command("refs/for/b", 0, 2)];
        commands.iter_mut().for_each(|command| command.proc_receive.scheduled = true);
        commands.push(command("refs/heads/c", 0, 3));
        let lines: Vec<BString> = lines.iter().map(|line| BString::from(*line)).collect();
        let mut well = true;
        let words = apply(&lines, &mut commands, &mut well);
        (commands, words, well)
    }

    #[test]
    fn options_make_reports() {
        let id = "1".repeat(40);
        let (commands, words, well) = answer(&[
            "ok refs/for/a",
            "option refname refs/pull/1",
            &format!("option new-oid {id}"),
            "ok refs/for/a",
            "option forced-update",
            "ok refs/for/b",
            "option fall-through",
        ]);
        assert!(well && words.is_empty());
        assert_eq!(commands[0].reports.len(), 2);
        assert_eq!(commands[0].reports[0].refname, Some("refs/pull/1".into()));
        assert_eq!(commands[0].reports[0].new_oid.map(|id| id.to_hex()), Some(id));
        assert!(commands[0].reports[1].forced_update);
        assert!(!commands[1].proc_receive.scheduled);
    }

    #[test]
    fn silence_and_nonsense_are_failures() {
        let (commands, words, well) = answer(&[
            "option refname x",
            "option y",
            "ok",
            "xx refs/for/a",
            "ok refs/heads/c",
            "ng refs/for/a no way",
        ]);
        assert!(!well);
        assert_eq!(
            words,
            "proc-receive reported 'option' without a matching 'ok/ng' directive\n\
             proc-receive reported incomplete status line: 'ok'\n\
             proc-receive reported bad status 'xx' on ref 'refs/for/a'\n\
             proc-receive reported status on unexpected ref: refs/heads/c\n"
        );
        assert_eq!(commands[0].error, Some("no way".into()));
        assert_eq!(commands[1].error, Some("proc-receive failed to report status".into()));
    }
}
