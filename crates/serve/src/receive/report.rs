//! What the client is told at the end.

use wire::{PushReport, RefOutcome, RefReport};

use super::commands::Command;

/// The report on a push whose pack ended as `unpack` says.
pub(super) fn report(commands: &[Command], unpack: Result<(), String>) -> PushReport {
    let outcome = |command: &Command| match &command.error {
        Some(reason) => RefOutcome::Ng(reason.clone()),
        None => RefOutcome::Ok(command.reports.clone()),
    };
    let refs = commands
        .iter()
        .map(|command| RefReport { name: command.name.clone(), outcome: outcome(command) })
        .collect();
    PushReport { unpack, refs }
}
