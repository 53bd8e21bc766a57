//! Who somebody is and how much he may do: asked of the accounts, or, where there are none, of the
//! server's options.

use std::sync::Arc;

use access::SigningKeys;
use access::{Action, Authority, AuthorityError, Decision, Identity, Level, Proof, Protection};
use bstr::BString;
use serve::receive::{Guard, RefUpdate};

use crate::attempts::Attempts;
use crate::audit::{Audit, Entry};
use crate::listener::{Listener, Pushed};
use crate::settings::Settings;
use crate::{Caller, PushAccess, Refusal, Road};

/// Stands at the door.
pub(crate) struct Porter {
    authority: Option<Arc<dyn Authority>>,
    push_access: PushAccess,
    create_on_push: bool,
    now_seconds: fn() -> u64,
    attempts: Arc<Attempts>,
    audit: Option<Arc<Audit>>,
}

/// What is told to somebody who has not said who he is, where that would help.
const LOG_IN: &str = "log in: the name of your account, and a token for a password";

impl Porter {
    pub fn new(settings: &Settings, attempts: Arc<Attempts>) -> Self {
        Porter {
            authority: settings.authority.clone(),
            push_access: settings.push_access,
            create_on_push: settings.create_on_push,
            now_seconds: settings.now_seconds,
            attempts,
            audit: settings.audit.clone(),
        }
    }

    pub fn has_accounts(&self) -> bool {
        self.authority.is_some()
    }

    pub fn audit(&self) -> Option<&Arc<Audit>> {
        self.audit.as_ref()
    }

    /// Whose this is.
    pub fn knows(&self, proof: &Proof<'_>) -> Result<Option<Identity>, Refusal> {
        let Some(authority) = &self.authority else { return Ok(None) };
        authority.identify(proof, (self.now_seconds)()).map_err(unavailable)
    }

    /// Who shows this. Where there are no accounts, nobody is anybody.
    pub fn identify(
        &self,
        proof: &Proof<'_>,
        caller: &Caller,
        road: Road,
    ) -> Result<Option<Identity>, Refusal> {
        if !self.has_accounts() {
            return Ok(None);
        }
        let found = self.knows(proof)?;
        if found.is_some() {
            return Ok(found);
        }
        let words = match proof {
            Proof::SshKey { .. } => "this key is nobody's",
            Proof::Password { .. } => "this name and token are nobody's, or the token has ended",
        };
        Err(self.failed(words, caller, road))
    }

    /// Notes that somebody did not manage to log in.
    pub fn failed(&self, words: &str, caller: &Caller, road: Road) -> Refusal {
        self.note(|| Entry {
            action: "login",
            result: "refused",
            why: Some(words.to_owned()),
            ..Entry::of(caller, road)
        });
        match caller.address.and_then(|address| self.attempts.failed(address)) {
            Some(wait) => Refusal::TooManyAttempts { wait },
            None => Refusal::Unauthenticated { words: words.into() },
        }
    }

    /// What a caller may do in the repository of this name, whether there is one or not.
    pub fn decide(&self, caller: &Caller, name: &str) -> Result<Decision, Refusal> {
        let mut decision = match &self.authority {
            Some(authority) => {
                let now = (self.now_seconds)();
                authority.decide(caller.identity.as_ref(), name, now).map_err(unavailable)?
            }
            None => Decision { level: self.without_accounts(), ..Decision::default() },
        };
        if self.push_access == PushAccess::ReadOnly {
            decision.level = decision.level.min(Level::Read);
        }
        match decision.is_gone {
            true => {
                Err(Refusal::Unauthenticated { words: "what you logged in with has ended".into() })
            }
            false => Ok(decision),
        }
    }

    fn without_accounts(&self) -> Level {
        match self.push_access {
            PushAccess::Anybody if self.create_on_push => Level::Create,
            PushAccess::Anybody => Level::Write,
            PushAccess::NotAnonymously | PushAccess::ReadOnly => Level::Read,
        }
    }

    /// Lets a decision pass, or says why not.
    pub fn check(
        &self,
        decision: &Decision,
        need: Level,
        caller: &Caller,
        name: &str,
    ) -> Result<(), Refusal> {
        if decision.level >= need {
            return Ok(());
        }
        match (self.push_access, &caller.identity) {
            (PushAccess::ReadOnly, _) if decision.level == Level::Read => {
                Err(Refusal::Forbidden { words: "this server is read-only (--read-only)".into() })
            }
            _ if !self.has_accounts() => Err(Refusal::Forbidden {
                words: "anonymous pushes are off because this server listens to other machines; \
                        start it with --allow-anonymous-push to take them"
                    .into(),
            }),
            (_, None) => Err(Refusal::Unauthenticated { words: LOG_IN.into() }),
            // He may not know whether it is there.
            (_, Some(_)) if decision.level == Level::None => {
                Err(Refusal::NotFound { name: name.to_owned() })
            }
            (_, Some(identity)) => Err(Refusal::Forbidden {
                words: format!("{} may {} '{name}', and no more", identity.user, decision.level),
            }),
        }
    }

    pub fn note<'a>(&self, entry: impl FnOnce() -> Entry<'a>) {
        if let Some(audit) = &self.audit {
            audit.write((self.now_seconds)(), &entry());
        }
    }
}

fn unavailable(error: AuthorityError) -> Refusal {
    tracing::error!(%error, "nobody is let in");
    Refusal::NoAccounts
}

/// What holds for a push when its pack is here: asked anew, since that may have taken a while.
pub(crate) struct PushGuard<'a> {
    pub porter: &'a Porter,
    pub caller: &'a Caller,
    pub name: &'a str,
    pub road: Road,
    pub listener: Option<&'a dyn Listener>,
}

impl Guard for PushGuard<'_> {
    fn protections(&self) -> Result<Vec<Protection>, String> {
        let decision = self.porter.decide(self.caller, self.name);
        let decision = decision.map_err(|refusal| refusal.words_for_peer())?;
        match decision.level >= Level::Write {
            true => Ok(decision.protections),
            false => Err("you may not push here any more".to_owned()),
        }
    }

    fn keys(&self) -> SigningKeys {
        let user = self.caller.identity.as_ref().map(|identity| identity.user.as_str());
        match (&self.porter.authority, user) {
            (Some(authority), Some(user)) => authority.keys_of(user).unwrap_or_else(|error| {
                tracing::error!(%error, "no signature is good");
                SigningKeys::default()
            }),
            _ => SigningKeys::default(),
        }
    }

    fn user(&self) -> Option<&str> {
        self.caller.identity.as_ref().map(|identity| identity.user.as_str())
    }

    fn refused(&self, name: &BString, action: Action, why: &str) {
        tracing::info!(repository = self.name, %name, %action, why, "a protection refused a push");
    }

    fn moved(&self, updates: &[RefUpdate]) -> Result<(), String> {
        let Some(listener) = self.listener else { return Ok(()) };
        let PushGuard { caller, name, road, .. } = *self;
        listener.pushed(&Pushed { repository: name, caller, road: road.name(), updates })
    }
}
