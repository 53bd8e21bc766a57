//! Why somebody may do something, for people.

use std::fmt::Write as _;

use crate::authority::{Credential, Identity};
use crate::protection::Action;
use crate::{Book, Level};

impl Book {
    /// What a user (`None`: whoever has not said who he is) may do in a repository, rule by rule;
    /// with a ref, what may become of that. `token` looks at it as if he came with that token.
    pub fn explain(
        &self,
        user: Option<&str>,
        token: Option<&str>,
        repository: &str,
        name: Option<&str>,
    ) -> String {
        let mut text = String::new();
        let who = user.unwrap_or("whoever has not said who he is");
        let record = user.map(|user| self.records().users.get(user));
        match record {
            Some(None) => return format!("there is no user '{who}'\n"),
            Some(Some(record)) if record.disabled => {
                return format!("{who} may do nothing: the account is disabled\n");
            }
            _ => {}
        }
        let mut level = Level::None;
        let mut steps = String::new();
        self.walk(user, repository, |at, after| {
            let rule = &self.records().rules[at];
            let (verb, what) = match (rule.allow, rule.deny) {
                (Some(level), _) => ("allows", level),
                (_, deny) => ("denies", deny.unwrap_or_default()),
            };
            let (repositories, who) = (rule.repositories.join(", "), rule.who.join(", "));
            let _ = writeln!(
                steps,
                "  rule {} {verb} {what} in {repositories} to {who}: {after}",
                at + 1
            );
            level = after;
        });
        if steps.is_empty() {
            steps.push_str("  no rule says anything about that\n");
        }
        if let (Some(user), Some(token)) = (user, token) {
            let credential = Credential::Token { id: token.to_owned() };
            let identity = Identity { user: user.to_owned(), email: None, credential };
            let limit = self.token_limit(Some(&identity), repository);
            level = level.min(limit);
            let _ = writeln!(steps, "  token {token} is for {limit} there: {level}");
            let mut anybody = Level::None;
            self.walk(None, repository, |_, after| anybody = after);
            if anybody > level {
                level = anybody;
                let _ = writeln!(steps, "  anybody may do as much without it: {level}");
            }
        }
        let may = match level {
            Level::None => "may do nothing in".to_owned(),
            Level::Read => "may read".to_owned(),
            Level::Write => "may read and write".to_owned(),
            Level::Create => "may read, write and create".to_owned(),
            Level::Admin => "may do everything in".to_owned(),
        };
        let _ = writeln!(text, "{who} {may} {repository}");
        text.push_str(&steps);
        if let Some(name) = name.filter(|_| level >= Level::Write) {
            self.explain_ref(&mut text, user, repository, level, name);
        } else if let Some(name) = name {
            let _ = writeln!(text, "{name}: no push at all");
        }
        text
    }

    fn explain_ref(
        &self,
        text: &mut String,
        user: Option<&str>,
        repository: &str,
        level: Level,
        name: &str,
    ) {
        let fitting: Vec<_> = self
            .fitting_protects(user, repository, level)
            .map(|at| (at, self.protection(at, user)))
            .filter(|(_, protection)| protection.covers(name.as_bytes()))
            .collect();
        for action in Action::ALL {
            let refusal = fitting.iter().find_map(|(at, one)| Some((at, one.refuses(action)?)));
            let answer = match refusal {
                None => "yes".to_owned(),
                Some((at, words)) => format!("no (protect {}, {words})", at + 1),
            };
            let _ = writeln!(text, "{action} {name}: {answer}");
        }
        for (at, one) in &fitting {
            let at = at + 1;
            if one.signed {
                let _ = writeln!(text, "  pushes to it are signed (protect {at})");
            }
            if let Some(most) = one.file_bytes_max {
                let _ = writeln!(text, "  no file has more than {most} bytes (protect {at})");
            }
            for path in &self.records().protect[at - 1].paths_denied {
                let _ = writeln!(text, "  {path} is not touched (protect {at})");
            }
        }
        if level == Level::Admin && self.records().protect.iter().any(|one| !one.also_admins) {
            text.push_str(
                "  protections that do not name administrators do not hold for this one\n",
            );
        }
    }
}
