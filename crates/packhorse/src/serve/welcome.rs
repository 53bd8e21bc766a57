//! What a server says at start: what is served, where, and who may push.

use host::{Listed, PushAccess};

use super::doors::Doors;
use super::plan::Plan;

/// Repositories listed one by one at start; more are counted.
const LISTED_MAX: usize = 20;
#[allow(clippy::print_stdout)] // What is served, and how, is this command's answer.
pub(super) fn welcome(plan: &Plan, listed: &(Vec<Listed>, bool), doors: &Doors) {
    use std::io::Write as _;
    let https = doors.https();
    let plain = doors.http().map(|address| format!("http://{address}"));
    let encrypted = https.as_ref().map(|(address, _)| format!("https://{address}"));
    // Where the one sends everybody to the other, that is where to clone from.
    let redirects = plan.https.as_ref().is_some_and(|https| https.redirect);
    let base = plain.filter(|_| !redirects).or(encrypted).unwrap_or_default();
    println!("{}", welcome_text(plan, listed, &base));
    if let Some((address, fingerprint)) = &https {
        let own = plan.https.as_ref().is_some_and(|https| https.is_own);
        let whose = if own { "its own certificate" } else { "certificate" };
        println!("listening on https://{address}/ ({whose}, SHA-256 {fingerprint})");
    }
    if let Some(address) = doors.http().filter(|_| redirects) {
        println!("listening on http://{address}/ to send everybody there");
    }
    if let Some(git) = doors.git() {
        let pushes = if plan.git.receive_pack { "" } else { "; no pushes (git.receive_pack)" };
        println!("listening on git://{git}/{pushes}");
    }
    if let Some((address, fingerprint)) = doors.ssh() {
        println!("listening on ssh://git@{address}/ (host key {fingerprint})");
    }
    let _ = std::io::stdout().flush();
}

fn welcome_text(plan: &Plan, (listed, more): &(Vec<Listed>, bool), base: &str) -> String {
    let mut text = String::new();
    if listed.len() <= LISTED_MAX {
        for repository in listed {
            text.push_str(&format!("{base}/{}\n", repository.url_path()));
        }
    } else {
        let more = if *more { "more than " } else { "" };
        let example = listed[0].url_path();
        text.push_str(&format!("{more}{} repositories, such as {base}/{example}\n", listed.len()));
    }
    if listed.is_empty() {
        text.push_str(&format!("no repository in '{}' yet\n", plan.served));
    }
    text.push_str(&match base.starts_with("http:") {
        true => format!("\nlistening on {base}/ (--listen ADDR changes that)\n"),
        false => "\n".to_owned(),
    });
    text.push_str(&who_may_push(plan));
    text.push_str(match plan.settings.upkeep.enabled {
        true => "maintenance: some time after a push (maintenance.enabled = false turns it off)\n",
        false => "maintenance: off (maintenance.enabled = true turns it on)\n",
    });
    text.truncate(text.trim_end().len());
    text
}

fn who_may_push(plan: &Plan) -> String {
    let mut text = String::new();
    if plan.settings.authority.is_some() && plan.settings.push_access != PushAccess::ReadOnly {
        return "pushes: from those whom the rules allow it (packhorse access list)\n".to_owned();
    }
    text.push_str(match plan.settings.push_access {
        PushAccess::ReadOnly => "pushes: off (--read-only)\n",
        PushAccess::NotAnonymously => {
            "pushes: off, because other machines can reach this address and nobody is asked who \
             they are; --allow-anonymous-push takes them from anybody\n"
        }
        PushAccess::Anybody if plan.allow_anonymous_push && !is_local(plan) => {
            "pushes: from anybody who reaches this address (--allow-anonymous-push)\n"
        }
        PushAccess::Anybody => "pushes: from this machine (--read-only turns them off)\n",
    });
    if plan.settings.push_access == PushAccess::Anybody {
        text.push_str(match plan.settings.create_on_push {
            true => "pushing to a new name makes a repository (--create-on-push)\n",
            false => "pushing to a new name is refused (--create-on-push makes a repository)\n",
        });
    }
    text
}

fn is_local(plan: &Plan) -> bool {
    let https = plan.https.as_ref().and_then(|https| https.listen);
    [plan.listen, https].iter().flatten().all(|address| address.ip().is_loopback())
}
