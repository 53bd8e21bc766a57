//! What the host says about single refs: who may do what with them, and what may be in the commits.
//!
//! Asked when the pack is here and nothing of it is visible, so that what has been taken from
//! somebody meanwhile is taken.

use access::{Action, Protection, SigningKeys};
use bstr::{BStr, BString, ByteSlice as _};
use object::{Kind, ObjectId};
use repository::touched::{Touched, commits_between, touched};
use repository::{Objects, history};
use storage::RefSnapshot;

use crate::{Error, Namespace};

use super::RefUpdate;
use super::advertise::each_ref;
use super::commands::{Command, abbreviated, refuse_rest};
use super::messages::Messages;
use super::refs;
use super::settings::ReceiveSettings;

/// What a host has to say about a push.
pub trait Guard {
    /// What holds for whoever pushes, now.
    ///
    /// # Errors
    /// Words, when he may not push at all any more.
    fn protections(&self) -> Result<Vec<Protection>, String>;

    /// His keys, by which signatures are his.
    fn keys(&self) -> SigningKeys;

    /// His name.
    fn user(&self) -> Option<&str>;

    /// Hears of a change that is refused.
    fn refused(&self, name: &BString, action: Action, why: &str);

    /// Hears of refs that have moved, before whoever pushes does.
    ///
    /// # Errors
    /// Words that he is warned with. The refs stay where they are.
    fn moved(&self, updates: &[RefUpdate]) -> Result<(), String>;
}

/// Looks at the commands of one push.
pub(super) struct Protecting<'a> {
    pub guard: &'a dyn Guard,
    pub objects: &'a Objects,
    pub snapshot: &'a dyn RefSnapshot,
    pub namespace: &'a Namespace,
    pub settings: &'a ReceiveSettings,
    /// Whether the push is signed well, or why not.
    pub signed: &'a dyn Fn() -> Result<(), String>,
}

impl Protecting<'_> {
    /// Refuses the commands that are not allowed.
    pub fn check(
        &self,
        commands: &mut [Command],
        messages: &mut Messages<'_>,
    ) -> Result<(), Error> {
        let protections = match self.guard.protections() {
            Ok(protections) => protections,
            Err(words) => {
                messages.error(&words);
                refuse_rest(commands, &words);
                return Ok(());
            }
        };
        if protections.is_empty() {
            return Ok(());
        }
        for command in commands.iter_mut().filter(|command| command.error.is_none()) {
            if let Err((action, words)) = self.one(&protections, command)? {
                self.guard.refused(&command.name, action, &words);
                command.refuse(words);
            }
        }
        Ok(())
    }

    fn one(
        &self,
        protections: &[Protection],
        command: &Command,
    ) -> Result<Result<(), (Action, String)>, Error> {
        let mut names: Vec<&BStr> = vec![command.name.as_bstr()];
        // Another name of a protected ref is protected.
        let stored = self.namespace.stored(&command.name);
        let resolved = refs::resolve(self.snapshot, stored.as_ref())?.map(|resolved| resolved.name);
        names.extend(resolved.iter().filter_map(|name| self.namespace.shown(name.as_ref())));
        let covering: Vec<&Protection> = protections
            .iter()
            .filter(|protection| names.iter().any(|name| protection.covers(name)))
            .collect();
        if covering.is_empty() {
            return Ok(Ok(()));
        }
        let action = self.action(command)?;
        if let Some(words) = covering.iter().find_map(|protection| protection.refuses(action)) {
            return Ok(Err((action, words)));
        }
        if covering.iter().any(|protection| protection.signed)
            && let Err(words) = (self.signed)()
        {
            return Ok(Err((action, format!("protected: the push has to be signed: {words}"))));
        }
        if !command.deletes() {
            for protection in
                covering.into_iter().filter(|protection| protection.is_about_content())
            {
                if let Err(words) = self.content(protection, command)? {
                    return Ok(Err((action, words)));
                }
            }
        }
        Ok(Ok(()))
    }

    fn action(&self, command: &Command) -> Result<Action, Error> {
        if command.deletes() {
            return Ok(Action::Delete);
        }
        if command.old.is_null() {
            return Ok(Action::Create);
        }
        let is_commit = |id: &ObjectId| -> Result<bool, Error> {
            Ok(matches!(self.objects.header(id)?, Some((Kind::Commit, _))))
        };
        let goes_on = is_commit(&command.old)?
            && is_commit(&command.new)?
            && match history::unreachable(self.objects, &[command.old], &[command.new]) {
                Ok(unreachable) => unreachable.is_empty(),
                Err(repository::Error::Missing { .. }) => false,
                Err(error) => return Err(error.into()),
            };
        Ok(if goes_on { Action::Update } else { Action::Force })
    }

    /// Looks through the files that come to a ref: those of commits that neither it has, nor any
    /// ref under the same protection, nor the branch HEAD names.
    fn content(
        &self,
        protection: &Protection,
        command: &Command,
    ) -> Result<Result<(), String>, Error> {
        let mut known = Vec::new();
        if !command.old.is_null() && self.objects.contains(&command.old)? {
            known.push(command.old);
        }
        let head = refs::resolve(self.snapshot, self.namespace.stored(b"HEAD").as_ref())?;
        known.extend(head.and_then(|head| head.id));
        let all = self.namespace.stored(b"refs/");
        each_ref(self.snapshot, all.as_ref(), &mut |name, id| {
            let shown = self.namespace.shown(name);
            if shown.is_some_and(|shown| protection.covers(shown)) {
                known.push(id);
            }
            std::ops::ControlFlow::Continue(())
        })?;
        known.retain(|id| matches!(self.objects.contains(id), Ok(true)));
        let most = ("packhorse.protectedCommitsMax", self.settings.protected_commits_max);
        let fresh = match commits_between(self.objects, &[command.new], &known, most) {
            Ok(fresh) => fresh,
            Err(error @ repository::Error::Limit { .. }) => return Ok(Err(error.to_string())),
            Err(error) => return Err(error.into()),
        };
        let mut refusal = None;
        for commit in fresh {
            let found = touched(self.objects, &commit, |touched| self.file(protection, &touched));
            match found {
                Ok(()) => {}
                Err(Stopped::Refused(words)) => {
                    let short = abbreviated(&commit);
                    refusal = Some(format!("protected: {words} (in {short})"));
                    break;
                }
                Err(Stopped::Failed(error)) => return Err(error.into()),
            }
        }
        Ok(refusal.map_or(Ok(()), Err))
    }

    fn file(&self, protection: &Protection, touched: &Touched<'_>) -> Result<(), Stopped> {
        let path = touched.path.as_bstr();
        if let Some(pattern) = protection.denies_path(path) {
            return Err(Stopped::Refused(format!("{path} may not be touched ({pattern})")));
        }
        let (Some(most), Some((mode, id))) = (protection.file_bytes_max, touched.new) else {
            return Ok(());
        };
        if mode.is_submodule() {
            return Ok(());
        }
        match self.objects.header(&id)? {
            Some((_, size)) if size > most => Err(Stopped::Refused(format!(
                "{path} has {size} bytes, and no file may have more than {most}"
            ))),
            _ => Ok(()),
        }
    }
}

/// Why looking at files ended.
enum Stopped {
    Refused(String),
    Failed(repository::Error),
}

impl From<repository::Error> for Stopped {
    fn from(error: repository::Error) -> Self {
        Stopped::Failed(error)
    }
}
