//! `packhorse user`, `key`, `token`, `group` and `access`: accounts and rules, changed and explained.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{SystemTime, UNIX_EPOCH};

use access::{
    Date, PgpKey, Protect, Records, Rule, Source, SshKey, TokenRecord, Usage, UserRecord,
};

use crate::cli::{
    AccessCommand, AccessFile, Accounts, GroupCommand, KeyCommand, ProtectOptions, RuleOptions,
    TokenCommand, UserCommand,
};
use crate::config;

/// Seconds of a day.
const DAY: u64 = 86_400;

/// Runs a command, and prints what it answers.
pub fn run<C: clap::Subcommand>(
    accounts: Accounts<C>,
    command: impl FnOnce(&Book, C) -> Result<String, String>,
) -> ExitCode {
    let answer = Book::open(&accounts.file).and_then(|book| command(&book, accounts.command));
    match answer {
        Ok(text) => {
            print(&text);
            ExitCode::SUCCESS
        }
        Err(words) => {
            complain(&words);
            ExitCode::FAILURE
        }
    }
}

#[allow(clippy::print_stdout)] // What was asked for.
fn print(text: &str) {
    print!("{text}");
}

#[allow(clippy::print_stderr)] // Why it was not done.
fn complain(words: &str) {
    eprintln!("packhorse: {words}");
}

/// The records that a command is about.
pub struct Book(Box<dyn Source>);

impl Book {
    fn open(file: &AccessFile) -> Result<Self, String> {
        let configured = match &file.config {
            Some(path) => config::read(path)?.access.file,
            None => None,
        };
        let variable = || std::env::var_os("PACKHORSE_ACCESS").map(PathBuf::from);
        let path = file.access.clone().or(configured).or_else(variable).ok_or(
            "where are the accounts? --access FILE, PACKHORSE_ACCESS, or --config FILE with [access] file",
        )?;
        Ok(Book(access::open(&path)))
    }

    fn load(&self) -> Result<Records, String> {
        self.0.load().map_err(|error| error.to_string())
    }

    fn change(
        &self,
        change: impl FnOnce(&mut Records) -> Result<(), String>,
    ) -> Result<(), String> {
        self.0.change(Box::new(change)).map_err(|error| error.to_string())
    }

    fn used(&self) -> BTreeMap<String, Date> {
        Usage::beside(self.0.path()).read()
    }
}

fn user_of<'a>(records: &'a mut Records, name: &str) -> Result<&'a mut UserRecord, String> {
    records.users.get_mut(name).ok_or_else(|| format!("there is no user '{name}'"))
}

/// `packhorse user`.
pub fn user(book: &Book, command: UserCommand) -> Result<String, String> {
    match command {
        UserCommand::Add { name, email, key } => {
            let keys = key.as_deref().map(read_keys).transpose()?.unwrap_or_default();
            book.change(|records| {
                if records.users.contains_key(&name) {
                    return Err(format!("there is a user '{name}' already"));
                }
                let mut record = UserRecord { email, ..UserRecord::default() };
                keys.iter().for_each(|key| key.give(&mut record));
                records.users.insert(name, record);
                Ok(())
            })?;
        }
        UserCommand::Remove { name } => book.change(|records| {
            user_of(records, &name)?;
            records.users.remove(&name);
            records.tokens.retain(|_, token| token.user != name);
            forget(records, &name);
            Ok(())
        })?,
        UserCommand::Disable { name } => {
            book.change(|records| user_of(records, &name).map(|user| user.disabled = true))?;
        }
        UserCommand::Enable { name } => {
            book.change(|records| user_of(records, &name).map(|user| user.disabled = false))?;
        }
        UserCommand::List => {
            let records = book.load()?;
            let line = |(name, user): (&String, &UserRecord)| {
                let tokens = records.tokens.values().filter(|token| token.user == *name).count();
                let groups: Vec<&str> = records
                    .groups
                    .iter()
                    .filter(|(_, members)| members.contains(name))
                    .map(|(group, _)| group.as_str())
                    .collect();
                let email = user.email.as_deref().unwrap_or("-");
                let state = if user.disabled { "  (disabled)" } else { "" };
                let keys = user.keys.len() + user.openpgp_keys.len();
                let groups = groups.join(",");
                format!("{name}  {email}  {keys} keys  {tokens} tokens  {groups}{state}\n")
            };
            return Ok(records.users.iter().map(line).collect());
        }
    }
    Ok(String::new())
}

/// Takes a name out of groups, rules and protections; a rule for nobody else goes away.
fn forget(records: &mut Records, name: &str) {
    let without = |names: &mut Vec<String>| names.retain(|one| one != name);
    records.groups.values_mut().for_each(without);
    records.rules.iter_mut().for_each(|rule| without(&mut rule.who));
    records.rules.retain(|rule| !rule.who.is_empty());
    for one in &mut records.protect {
        for who in [&mut one.create, &mut one.update, &mut one.force, &mut one.delete] {
            who.iter_mut().for_each(without);
        }
        without(&mut one.except);
    }
}

/// A key of either kind.
enum AnyKey {
    Ssh(SshKey),
    OpenPgp(PgpKey),
}

impl AnyKey {
    fn fingerprint(&self) -> String {
        match self {
            AnyKey::Ssh(key) => key.fingerprint(),
            AnyKey::OpenPgp(key) => key.fingerprint(),
        }
    }

    /// Gives it to an account. An OpenPGP key takes the place of an older text of the same.
    fn give(&self, record: &mut UserRecord) {
        match self {
            AnyKey::Ssh(key) => {
                if !record.keys.iter().any(|line| same_key(line, &key.fingerprint())) {
                    record.keys.push(key.line());
                }
            }
            AnyKey::OpenPgp(key) => {
                record.openpgp_keys.retain(|text| !same_pgp_key(text, &key.fingerprint()));
                record.openpgp_keys.push(key.text().to_owned());
            }
        }
    }
}

fn read_keys(file: &Path) -> Result<Vec<AnyKey>, String> {
    let text = if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(file)
    };
    let text = text.map_err(|error| format!("{}: {error}", file.display()))?;
    if text.contains("-----BEGIN PGP ") {
        let key = PgpKey::parse(&text).map_err(|error| format!("{}: {error}", file.display()))?;
        return Ok(vec![AnyKey::OpenPgp(key)]);
    }
    let lines = text.lines().map(str::trim);
    let keys: Vec<AnyKey> = lines
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(|line| SshKey::parse(line).map_err(|error| format!("{}: {error}", file.display())))
        .map(|key| key.map(AnyKey::Ssh))
        .collect::<Result<_, _>>()?;
    match keys.is_empty() {
        true => Err(format!("{}: there is no key in it", file.display())),
        false => Ok(keys),
    }
}

/// `packhorse key`.
pub fn key(book: &Book, command: KeyCommand) -> Result<String, String> {
    match command {
        KeyCommand::Add { user, file } => {
            let keys = read_keys(&file)?;
            let mut text = String::new();
            book.change(|records| {
                let record = user_of(records, &user)?;
                for key in &keys {
                    key.give(record);
                    text.push_str(&format!("{}\n", key.fingerprint()));
                }
                Ok(())
            })?;
            Ok(text)
        }
        KeyCommand::Remove { fingerprint } => {
            book.change(|records| {
                let mut found = false;
                for user in records.users.values_mut() {
                    let count = |user: &UserRecord| user.keys.len() + user.openpgp_keys.len();
                    let before = count(user);
                    user.keys.retain(|line| !same_key(line, &fingerprint));
                    user.openpgp_keys.retain(|text| !same_pgp_key(text, &fingerprint));
                    found |= count(user) != before;
                }
                found.then_some(()).ok_or_else(|| format!("nobody has the key {fingerprint}"))
            })?;
            Ok(String::new())
        }
        KeyCommand::List { user } => {
            let (mut records, used) = (book.load()?, book.used());
            if let Some(user) = &user {
                user_of(&mut records, user)?;
            }
            let mut text = String::new();
            for (name, record) in &records.users {
                if user.as_ref().is_some_and(|user| user != name) {
                    continue;
                }
                for key in record.keys.iter().filter_map(|line| SshKey::parse(line).ok()) {
                    let fingerprint = key.fingerprint();
                    let used = last_use(&used, &fingerprint);
                    text.push_str(&format!(
                        "{name}  {fingerprint}  {}  {}  {used}\n",
                        key.algorithm, key.comment
                    ));
                }
                let openpgp = record.openpgp_keys.iter();
                for key in openpgp.filter_map(|text| PgpKey::parse(text).ok()) {
                    let (fingerprint, users) = (key.fingerprint(), key.users().join(", "));
                    text.push_str(&format!("{name}  {fingerprint}  openpgp  {users}\n"));
                }
            }
            Ok(text)
        }
    }
}

fn same_key(line: &str, fingerprint: &str) -> bool {
    SshKey::parse(line).is_ok_and(|key| key.fingerprint() == fingerprint)
}

fn same_pgp_key(text: &str, fingerprint: &str) -> bool {
    PgpKey::parse(text).is_ok_and(|key| key.fingerprint().eq_ignore_ascii_case(fingerprint))
}

fn last_use(used: &BTreeMap<String, Date>, name: &str) -> String {
    match used.get(name) {
        Some(date) => format!("used {date}"),
        None => "never used".to_owned(),
    }
}

/// `packhorse token`.
pub fn token(book: &Book, command: TokenCommand) -> Result<String, String> {
    match command {
        TokenCommand::Add { user, note, scope, repositories, expires } => {
            let now = now();
            let expires = expires.map(|text| expiry(&text, now)).transpose()?;
            let fresh = access::fresh_token().map_err(|error| error.to_string())?;
            let record = TokenRecord {
                user: user.clone(),
                hash: fresh.hash,
                note,
                scope,
                repositories,
                expires,
                created: Some(Date(now)),
            };
            book.change(|records| {
                user_of(records, &user)?;
                records.tokens.insert(fresh.id, record);
                Ok(())
            })?;
            Ok(format!("{}\n", fresh.secret))
        }
        TokenCommand::Remove { id } => {
            book.change(|records| {
                let removed = records.tokens.remove(&id);
                removed.map(drop).ok_or_else(|| format!("there is no token '{id}'"))
            })?;
            Ok(String::new())
        }
        TokenCommand::List { user } => {
            let (records, used) = (book.load()?, book.used());
            let tokens = records.tokens.iter();
            let of_user =
                tokens.filter(|(_, token)| user.as_ref().is_none_or(|user| token.user == *user));
            let lines = of_user.map(|(id, token)| {
                let scope = token.scope.map_or("all".to_owned(), |level| level.to_string());
                let repositories = match token.repositories.is_empty() {
                    true => "**".to_owned(),
                    false => token.repositories.join(","),
                };
                let ends =
                    token.expires.map_or("never ends".to_owned(), |date| format!("ends {date}"));
                let (user, note, used) = (&token.user, &token.note, last_use(&used, id));
                format!("{id}  {user}  {scope}  {repositories}  {ends}  {used}  {note}\n")
            });
            Ok(lines.collect())
        }
    }
}

/// A date, or days from now.
fn expiry(text: &str, now: u64) -> Result<Date, String> {
    if let Ok(days) = text.parse::<u32>() {
        return Ok(Date(now + u64::from(days) * DAY));
    }
    text.parse().map_err(|error: access::NoDate| error.to_string())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// `packhorse group`.
pub fn group(book: &Book, command: GroupCommand) -> Result<String, String> {
    match command {
        GroupCommand::Add { group, members } => book.change(|records| {
            let known = records.groups.entry(group).or_default();
            known.extend(members.into_iter().filter(|one| !one.is_empty()));
            known.sort();
            known.dedup();
            Ok(())
        })?,
        GroupCommand::Remove { group, members } => book.change(|records| {
            let known = records.groups.get_mut(&group);
            let known = known.ok_or_else(|| format!("there is no group '{group}'"))?;
            known.retain(|one| !members.contains(one));
            if members.is_empty() {
                records.groups.remove(&group);
                forget(records, &format!("@{group}"));
            }
            Ok(())
        })?,
        GroupCommand::List => {
            let records = book.load()?;
            let line = |(group, members): (&String, &Vec<String>)| {
                format!("{group}  {}\n", members.join(" "))
            };
            return Ok(records.groups.iter().map(line).collect());
        }
    }
    Ok(String::new())
}

/// `packhorse access`.
pub fn access(book: &Book, command: AccessCommand) -> Result<String, String> {
    match command {
        AccessCommand::Allow(options) => {
            let rule = Rule { allow: Some(options.level), ..rule(&options) };
            book.change(|records| put(&mut records.rules, options.at, rule))?;
        }
        AccessCommand::Deny(options) => {
            let rule = Rule { deny: Some(options.level), ..rule(&options) };
            book.change(|records| put(&mut records.rules, options.at, rule))?;
        }
        AccessCommand::Remove { number } => {
            book.change(|records| take(&mut records.rules, number))?
        }
        AccessCommand::Protect(options) => {
            book.change(|records| put(&mut records.protect, None, protect(options)))?;
        }
        AccessCommand::Unprotect { number } => {
            book.change(|records| take(&mut records.protect, number))?;
        }
        AccessCommand::List => return Ok(listed(&book.load()?)),
        AccessCommand::Explain { user, repository, name, token } => {
            let checked = checked(book.load()?)?;
            let user = Some(user.as_str()).filter(|user| *user != access::WHO_ANYONE);
            let repository = repository.strip_suffix(".git").unwrap_or(&repository);
            let (token, name) = (token.as_deref(), name.as_deref());
            return Ok(checked.explain(user, token, repository, name));
        }
        AccessCommand::Check => {
            let records = book.load()?;
            let (users, rules) = (records.users.len(), records.rules.len());
            checked(records)?;
            return Ok(format!("{users} users and {rules} rules are understood\n"));
        }
    }
    Ok(String::new())
}

fn checked(records: Records) -> Result<access::Book, String> {
    access::Book::new(records).map_err(|error| error.to_string())
}

fn rule(options: &RuleOptions) -> Rule {
    let RuleOptions { who, repositories, .. } = options;
    Rule { repositories: repositories.clone(), who: who.clone(), ..Rule::default() }
}

fn protect(options: ProtectOptions) -> Protect {
    let whom = |names: Option<Vec<String>>| {
        names.map(|names| names.into_iter().filter(|name| name != "nobody").collect())
    };
    Protect {
        repositories: options.repositories,
        refs: options.refs,
        create: whom(options.create),
        update: whom(options.update),
        force: whom(options.force),
        delete: whom(options.delete),
        signed: options.signed,
        file_bytes_max: options.file_bytes_max,
        paths_denied: options.paths_denied,
        except: options.except,
        also_admins: options.also_admins,
    }
}

fn put<T>(all: &mut Vec<T>, at: Option<usize>, one: T) -> Result<(), String> {
    match at {
        None => all.push(one),
        Some(number) if (1..=all.len() + 1).contains(&number) => all.insert(number - 1, one),
        Some(number) => return Err(format!("there is no place {number}")),
    }
    Ok(())
}

fn take<T>(all: &mut Vec<T>, number: usize) -> Result<(), String> {
    if !(1..=all.len()).contains(&number) {
        return Err(format!("there is none of the number {number}"));
    }
    all.remove(number - 1);
    Ok(())
}

fn listed(records: &Records) -> String {
    let mut text = String::new();
    for (at, rule) in records.rules.iter().enumerate() {
        let (verb, level) = match (rule.allow, rule.deny) {
            (Some(level), _) => ("allow", level),
            (_, deny) => ("deny", deny.unwrap_or_default()),
        };
        let (repositories, who) = (rule.repositories.join(" "), rule.who.join(" "));
        text.push_str(&format!("rule {}: {verb} {level} {who} --in {repositories}\n", at + 1));
    }
    for (at, one) in records.protect.iter().enumerate() {
        let (refs, repositories) = (one.refs.join(" "), one.repositories.join(" "));
        text.push_str(&format!("protect {}: {refs} --in {repositories}", at + 1));
        for (option, who) in [
            ("create", &one.create),
            ("update", &one.update),
            ("force", &one.force),
            ("delete", &one.delete),
        ] {
            match who.as_deref() {
                None => {}
                Some([]) => text.push_str(&format!(" --{option} nobody")),
                Some(who) => text.push_str(&format!(" --{option} {}", who.join(","))),
            }
        }
        text.push_str(if one.signed { " --signed" } else { "" });
        if let Some(most) = one.file_bytes_max {
            text.push_str(&format!(" --file-bytes-max {most}"));
        }
        for path in &one.paths_denied {
            text.push_str(&format!(" --deny-path {path}"));
        }
        if !one.except.is_empty() {
            text.push_str(&format!(" --except {}", one.except.join(",")));
        }
        text.push_str(if one.also_admins { " --also-admins\n" } else { "\n" });
    }
    text
}
