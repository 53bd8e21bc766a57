//! Records that were checked, and decisions by them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::authority::{Credential, Decision, Identity, Proof};
use crate::key::{SshKey, fingerprint};
use crate::openpgp::PgpKey;
use crate::pattern::Pattern;
use crate::protection::{Action, Protection};
use crate::records::{Protect, Records, Rule, WHO_ANYONE, WHO_USERS};
use crate::{Level, token};

/// Something in the records that cannot be meant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {words}")]
pub struct BookError {
    /// Where it stands, for example `rules[2].who`.
    pub place: String,
    /// What is wrong there.
    pub words: String,
}

/// Whom a rule names.
#[derive(Debug, PartialEq, Eq)]
enum Who {
    Anyone,
    Users,
    User(String),
    Group(String),
}

pub(crate) struct CheckedRule {
    repositories: Vec<Pattern>,
    who: Vec<Who>,
    change: Change,
}

#[derive(Debug, Clone, Copy)]
enum Change {
    Allow(Level),
    Deny(Level),
}

pub(crate) struct CheckedProtect {
    repositories: Vec<Pattern>,
    refs: Vec<Pattern>,
    actions: Vec<(Action, Vec<Who>, String)>,
    except: Vec<Who>,
    paths_denied: Vec<Pattern>,
}

/// Accounts and rules, ready to decide.
pub struct Book {
    records: Records,
    rules: Vec<CheckedRule>,
    protect: Vec<CheckedProtect>,
    members: BTreeMap<String, BTreeSet<String>>,
    /// Whose a key is, by its fingerprint.
    keys: HashMap<String, String>,
    token_repositories: HashMap<String, Vec<Pattern>>,
}

/// Names of users, and the word for whom a rule names.
fn is_user_name(name: &str) -> bool {
    let fine = |byte: u8| byte.is_ascii_alphanumeric() || b"._+@-".contains(&byte);
    let begins = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    begins && name.len() <= 128 && name.bytes().all(fine) && name != WHO_ANYONE && name != WHO_USERS
}

fn at(place: impl Into<String>, words: impl Into<String>) -> BookError {
    BookError { place: place.into(), words: words.into() }
}

impl Book {
    /// Checks records.
    ///
    /// # Errors
    /// The first thing that cannot be meant: a name nobody has, a key that two have, a pattern
    /// that fits nothing.
    pub fn new(records: Records) -> Result<Self, BookError> {
        let keys = keys(&records)?;
        let members = members(&records)?;
        let mut token_repositories = HashMap::new();
        for (id, token) in &records.tokens {
            let place = format!("tokens.{id}");
            if !records.users.contains_key(&token.user) {
                return Err(at(place, format!("there is no user '{}'", token.user)));
            }
            if !token::is_hash(&token.hash) {
                return Err(at(
                    place,
                    "hash: this is no hash of a token; 'packhorse token' makes them",
                ));
            }
            let patterns = of_repositories(&token.repositories, &place)?;
            token_repositories.insert(id.clone(), patterns);
        }
        let rules = records.rules.iter().enumerate();
        let rules =
            rules.map(|(at, rule)| checked_rule(&records, at, rule)).collect::<Result<_, _>>()?;
        let protect = records.protect.iter().enumerate();
        let protect = protect
            .map(|(at, one)| checked_protect(&records, at, one))
            .collect::<Result<_, _>>()?;
        Ok(Book { records, rules, protect, members, keys, token_repositories })
    }

    /// What it was made of.
    pub fn records(&self) -> &Records {
        &self.records
    }

    /// Who proves this at this time, in seconds since 1970.
    pub fn identify(&self, proof: &Proof<'_>, now: u64) -> Option<Identity> {
        match *proof {
            Proof::SshKey { blob } => {
                let fingerprint = fingerprint(blob);
                let user = self.keys.get(&fingerprint)?;
                self.identity(user, Credential::Key { fingerprint })
            }
            Proof::Password { secret, .. } => {
                let id = token::claimed_id(secret)?;
                let known = self.records.tokens.get(id)?;
                let is_his = token::is_secret_of(secret, &known.hash);
                let holds = known.expires.is_none_or(|end| now < end.0);
                let credential = Credential::Token { id: id.to_owned() };
                (is_his && holds).then(|| self.identity(&known.user, credential)).flatten()
            }
        }
    }

    fn identity(&self, user: &str, credential: Credential) -> Option<Identity> {
        let record = self.records.users.get(user).filter(|record| !record.disabled)?;
        let email = record.email.clone();
        Some(Identity { user: user.to_owned(), email, credential })
    }

    /// Whether what somebody proved would still prove it.
    fn still_holds(&self, who: &Identity, now: u64) -> bool {
        let Some(user) = self.records.users.get(&who.user).filter(|user| !user.disabled) else {
            return false;
        };
        match &who.credential {
            Credential::Key { fingerprint } => {
                !user.keys.is_empty() && self.keys.get(fingerprint) == Some(&who.user)
            }
            Credential::Token { id } => self.records.tokens.get(id).is_some_and(|token| {
                token.user == who.user && token.expires.is_none_or(|end| now < end.0)
            }),
            Credential::Other(_) => true,
        }
    }

    /// What somebody may do in a repository, by its name without `.git`; `None` stands for
    /// whoever has not said who he is.
    pub fn decide(&self, who: Option<&Identity>, repository: &str, now: u64) -> Decision {
        if who.is_some_and(|who| !self.still_holds(who, now)) {
            return Decision { is_gone: true, ..Decision::default() };
        }
        let user = who.map(|who| who.user.as_str());
        let limit = self.token_limit(who, repository);
        let mut level = self.level(user, repository).min(limit);
        if limit < Level::Admin {
            // A token is not worse than none.
            level = level.max(self.level(None, repository));
        }
        Decision { is_gone: false, level, protections: self.protections(user, repository, level) }
    }

    fn level(&self, user: Option<&str>, repository: &str) -> Level {
        let mut level = Level::None;
        self.walk(user, repository, |_, after| level = after);
        level
    }

    /// Goes through the rules that fit, and says what each leaves.
    pub(crate) fn walk(
        &self,
        user: Option<&str>,
        repository: &str,
        mut seen: impl FnMut(usize, Level),
    ) {
        let mut level = Level::None;
        for (at, rule) in self.rules.iter().enumerate() {
            let fits = |pattern: &Pattern| pattern.matches(repository.as_bytes(), user);
            if rule.repositories.iter().any(fits) && self.names(&rule.who, user) {
                level = match rule.change {
                    Change::Allow(given) => level.max(given),
                    Change::Deny(taken) => level.min(taken.below()),
                };
                seen(at, level);
            }
        }
    }

    /// The most that a token is for.
    pub(crate) fn token_limit(&self, who: Option<&Identity>, repository: &str) -> Level {
        let Some(Identity { credential: Credential::Token { id }, user, .. }) = who else {
            return Level::Admin;
        };
        let Some(token) = self.records.tokens.get(id) else { return Level::None };
        let patterns = self.token_repositories.get(id).map_or(&[][..], Vec::as_slice);
        let fits = |pattern: &Pattern| pattern.matches(repository.as_bytes(), Some(user));
        match patterns.is_empty() || patterns.iter().any(fits) {
            true => token.scope.unwrap_or(Level::Admin),
            false => Level::None,
        }
    }

    /// The protections that concern somebody of this level.
    fn protections(&self, user: Option<&str>, repository: &str, level: Level) -> Vec<Protection> {
        let fitting = self.fitting_protects(user, repository, level);
        fitting.map(|at| self.protection(at, user)).collect()
    }

    pub(crate) fn fitting_protects<'a>(
        &'a self,
        user: Option<&'a str>,
        repository: &'a str,
        level: Level,
    ) -> impl Iterator<Item = usize> + 'a {
        self.protect.iter().zip(&self.records.protect).enumerate().filter_map(
            move |(at, (one, record))| {
                let fits = |pattern: &Pattern| pattern.matches(repository.as_bytes(), user);
                let is_exempt =
                    (level == Level::Admin && !record.also_admins) || self.names(&one.except, user);
                (one.repositories.iter().any(fits) && !is_exempt).then_some(at)
            },
        )
    }

    pub(crate) fn protection(&self, at: usize, user: Option<&str>) -> Protection {
        let (one, record) = (&self.protect[at], &self.records.protect[at]);
        let refused = one.actions.iter().filter(|(_, who, _)| !self.names(who, user));
        Protection {
            refs: one.refs.clone(),
            user: user.map(str::to_owned),
            refused: refused.map(|(action, _, words)| (*action, words.clone())).collect(),
            paths_denied: one.paths_denied.clone(),
            signed: record.signed,
            file_bytes_max: record.file_bytes_max,
        }
    }

    fn names(&self, who: &[Who], user: Option<&str>) -> bool {
        who.iter().any(|who| match (who, user) {
            (Who::Anyone, _) | (Who::Users, Some(_)) => true,
            (Who::User(name), Some(user)) => name == user,
            (Who::Group(name), Some(user)) => {
                self.members.get(name).is_some_and(|members| members.contains(user))
            }
            (_, None) => false,
        })
    }
}

fn keys(records: &Records) -> Result<HashMap<String, String>, BookError> {
    let mut keys = HashMap::new();
    for (name, user) in &records.users {
        if !is_user_name(name) {
            let words =
                "a name begins with a letter or digit and has letters, digits and any of . _ + @ -";
            return Err(at(format!("users.'{name}'"), words));
        }
        for text in &user.openpgp_keys {
            let place = format!("users.{name}.openpgp_keys");
            PgpKey::parse(text).map_err(|error| at(place, error.to_string()))?;
        }
        for line in &user.keys {
            let place = || format!("users.{name}.keys");
            let key = SshKey::parse(line).map_err(|error| at(place(), error.to_string()))?;
            match keys.insert(key.fingerprint(), name.clone()) {
                Some(other) if other != *name => {
                    let words = format!("{} is a key of '{other}', too", key.fingerprint());
                    return Err(at(place(), words));
                }
                _ => {}
            }
        }
    }
    Ok(keys)
}

/// Everybody in each group, also through other groups.
fn members(records: &Records) -> Result<BTreeMap<String, BTreeSet<String>>, BookError> {
    fn collect(
        records: &Records,
        group: &str,
        way: &mut Vec<String>,
        into: &mut BTreeSet<String>,
    ) -> Result<(), BookError> {
        let place = format!("groups.{group}");
        if way.iter().any(|above| above == group) {
            return Err(at(place, format!("the group contains itself ({})", way.join(", "))));
        }
        way.push(group.to_owned());
        for member in &records.groups[group] {
            match member.strip_prefix('@') {
                Some(inner) if records.groups.contains_key(inner) => {
                    collect(records, inner, way, into)?;
                }
                None if records.users.contains_key(member) => {
                    into.insert(member.clone());
                }
                _ => return Err(at(place, format!("there is no '{member}'"))),
            }
        }
        way.pop();
        Ok(())
    }
    let mut members = BTreeMap::new();
    for group in records.groups.keys() {
        if !is_user_name(group) {
            return Err(at(format!("groups.'{group}'"), "groups are named as users are"));
        }
        let mut of_group = BTreeSet::new();
        collect(records, group, &mut Vec::new(), &mut of_group)?;
        members.insert(group.clone(), of_group);
    }
    Ok(members)
}

fn whom(records: &Records, names: &[String], place: &str) -> Result<Vec<Who>, BookError> {
    let one = |name: &String| match (name.as_str(), name.strip_prefix('@')) {
        (WHO_ANYONE, _) => Ok(Who::Anyone),
        (WHO_USERS, _) => Ok(Who::Users),
        (_, Some(group)) if records.groups.contains_key(group) => Ok(Who::Group(group.to_owned())),
        (user, None) if records.users.contains_key(user) => Ok(Who::User(user.to_owned())),
        _ => Err(at(place, format!("there is no '{name}'"))),
    };
    names.iter().map(one).collect()
}

fn patterns(texts: &[String], place: &str) -> Result<Vec<Pattern>, BookError> {
    texts.iter().map(|text| Pattern::new(text).map_err(|words| at(place, words))).collect()
}

/// Patterns of names of repositories, which end like no name does if somebody writes the folder's.
fn of_repositories(texts: &[String], place: &str) -> Result<Vec<Pattern>, BookError> {
    match texts.iter().find(|text| text.trim_end_matches('/').ends_with(".git")) {
        Some(text) => {
            let words = format!("'{text}' fits nothing: names of repositories are without '.git'");
            Err(at(place, words))
        }
        None => patterns(texts, place),
    }
}

fn some<'a>(texts: &'a [String], place: &str) -> Result<&'a [String], BookError> {
    match texts {
        [] => Err(at(place, "nothing is named, so nothing fits; '**' stands for all")),
        texts => Ok(texts),
    }
}

fn checked_rule(records: &Records, number: usize, rule: &Rule) -> Result<CheckedRule, BookError> {
    let place = |key: &str| format!("rules[{number}]{key}");
    let change = match (rule.allow, rule.deny) {
        (Some(level), None) if level > Level::None => Change::Allow(level),
        (None, Some(level)) if level > Level::None => Change::Deny(level),
        (Some(_), None) => {
            return Err(at(place(".allow"), "deny = \"read\" takes everything away"));
        }
        _ => return Err(at(place(""), "a rule has either allow or deny, and a level")),
    };
    Ok(CheckedRule {
        repositories: {
            let place = place(".repositories");
            of_repositories(some(&rule.repositories, &place)?, &place)?
        },
        who: whom(records, &rule.who, &place(".who"))?,
        change,
    })
}

fn checked_protect(
    records: &Records,
    number: usize,
    one: &Protect,
) -> Result<CheckedProtect, BookError> {
    let place = |key: &str| format!("protect[{number}].{key}");
    let refs = patterns(some(&one.refs, &place("refs"))?, &place("refs"))?;
    if let Some(pattern) = refs.iter().find(|pattern| !pattern.text().starts_with("refs/")) {
        let text = pattern.text();
        return Err(at(
            place("refs"),
            format!("'{text}' fits no ref: refs/heads/{text} is the branch"),
        ));
    }
    let mut actions = Vec::new();
    for (action, key, who) in [
        (Action::Create, "create", &one.create),
        (Action::Update, "update", &one.update),
        (Action::Force, "force", &one.force),
        (Action::Delete, "delete", &one.delete),
    ] {
        let Some(names) = who else { continue };
        let words = match names.as_slice() {
            [] => "nobody".to_owned(),
            names => format!("only {}", names.join(", ")),
        };
        actions.push((action, whom(records, names, &place(key))?, words));
    }
    Ok(CheckedProtect {
        repositories: {
            let place = place("repositories");
            of_repositories(some(&one.repositories, &place)?, &place)?
        },
        refs,
        actions,
        except: whom(records, &one.except, &place("except"))?,
        paths_denied: patterns(&one.paths_denied, &place("paths_denied"))?,
    })
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
