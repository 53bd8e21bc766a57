//! Whether anything is missing below what was pushed.

use std::ops::ControlFlow;

use object::ObjectId;
use repository::incoming::Incoming;
use repository::{Error as RepositoryError, Objects, Repository, connectivity};

use crate::Error;

use super::advertise::each_ref;
use super::commands::Command;
use super::messages::Messages;
use super::progress::PushProgress;

/// The objects of a push beside those of the repository, and where checking may stop.
pub(super) struct Connectivity<'a> {
    incoming: &'a Incoming,
    objects: Objects,
    /// What the refs name: everything below is taken to be there.
    existing: Vec<ObjectId>,
    /// Where the repository's own history ends.
    shallow: Vec<ObjectId>,
    keepalive_seconds: u64,
}

impl<'a> Connectivity<'a> {
    pub fn new(
        repo: &Repository,
        incoming: &'a Incoming,
        keepalive_seconds: u64,
    ) -> Result<Self, Error> {
        let snapshot = repo.refs().snapshot()?;
        let mut existing = Vec::new();
        each_ref(&*snapshot, "refs/".into(), &mut |_, id| {
            existing.push(id);
            ControlFlow::Continue(())
        })?;
        let shallow = snapshot.shallow()?;
        let objects = incoming.objects()?;
        Ok(Connectivity { incoming, objects, existing, shallow, keepalive_seconds })
    }

    /// Refuses the commands below whose new object something is missing; false when there are
    /// any. One look for all of them; only when that fails, one for each.
    pub fn check(
        &self,
        commands: &mut [Command],
        messages: &mut Messages<'_>,
    ) -> Result<bool, Error> {
        let mut whole = true;
        let checked = |command: &Command| command.is_pending() && !command.deletes();
        let (deep, cut): (Vec<usize>, Vec<usize>) = (0..commands.len())
            .filter(|at| checked(&commands[*at]))
            .partition(|at| commands[*at].shallow_roots.is_empty());
        let tips: Vec<ObjectId> = deep.iter().map(|at| commands[*at].new).collect();
        if !self.is_connected(&tips, &[], messages)? {
            for at in deep {
                if !self.is_connected(&[commands[at].new], &[], messages)? {
                    commands[at].refuse("missing necessary objects");
                    whole = false;
                }
            }
        }
        for at in cut {
            let roots = commands[at].shallow_roots.clone();
            if !self.is_connected(&[commands[at].new], &roots, messages)? {
                commands[at].refuse("shallow error");
                whole = false;
            }
        }
        Ok(whole)
    }

    fn is_connected(
        &self,
        tips: &[ObjectId],
        roots: &[ObjectId],
        messages: &mut Messages<'_>,
    ) -> Result<bool, Error> {
        if self.incoming.holds_all_below(tips)? {
            return Ok(true);
        }
        let shallow = [&self.shallow, roots].concat();
        let mut progress = PushProgress::new(messages, self.keepalive_seconds);
        let found = connectivity::check_connected(
            &self.objects,
            tips,
            &self.existing,
            &shallow,
            &mut progress,
        );
        match found {
            Ok(()) => Ok(true),
            Err(error) if is_about_objects(&error) => {
                messages.error(error.to_string());
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Something is not there, or is not what it should be: whoever pushed it hears of it.
fn is_about_objects(error: &RepositoryError) -> bool {
    use RepositoryError as E;
    matches!(error, E::Missing { .. } | E::WrongKind { .. } | E::BadObject { .. })
}
