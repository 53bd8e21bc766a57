//! How the daemon in the background is: for people and programs that look.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::note::Note;

/// How a daemon is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Its process.
    pub process: u32,
    /// Seconds since 1970.
    pub since: u64,
    /// Whether it waits until it is told to go on.
    pub paused: bool,
    /// What it said last that was about no remote.
    pub last: Option<Said>,
    /// Each remote, by name.
    pub remotes: BTreeMap<String, RemoteStatus>,
}

/// How a remote is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemoteStatus {
    /// By which way each of its addresses is listened to; those that are not are not here.
    pub nodes: BTreeMap<String, String>,
    /// When refs changed there last, in seconds since 1970.
    pub changed: Option<u64>,
    /// What was said last.
    pub status: Option<Said>,
    /// What went wrong last, unless it went well after that.
    pub error: Option<Said>,
}

/// Words and when they were said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said {
    /// Seconds since 1970.
    pub at: u64,
    /// The words.
    pub words: String,
}

impl Status {
    /// Takes a note at this time.
    pub fn take(&mut self, note: &Note, at: u64) {
        let said = |words: &str| Some(Said { at, words: words.to_owned() });
        if note.remote().is_empty() {
            if let Note::Status { words, .. } | Note::Error { words, .. } = note {
                self.last = said(words);
                match words.as_str() {
                    "paused" => self.paused = true,
                    "resumed" => self.paused = false,
                    _ => {}
                }
            }
            return;
        }
        let one = self.remotes.entry(note.remote().to_string()).or_default();
        match note {
            Note::Changed { .. } => one.changed = Some(at),
            Note::Status { words, .. } => one.status = said(words),
            Note::Error { words, .. } => one.error = said(words),
            Note::Connected { url, way, .. } => {
                one.nodes.insert(url.clone(), (*way).to_owned());
                one.error = None;
            }
            Note::Disconnected { url, .. } => drop(one.nodes.remove(url)),
            Note::Synced { well: true, .. } => one.error = None,
            Note::Syncing { .. }
            | Note::Synced { .. }
            | Note::Extensions { .. }
            | Note::Progress { .. }
            | Note::Transferred { .. } => {}
        }
    }

    /// Writes it where others look, whole or not at all.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let text = serde_json::to_vec_pretty(self)?;
        let next = path.with_extension("new");
        std::fs::write(&next, text)?;
        std::fs::rename(&next, path)
    }

    /// Reads what a daemon wrote.
    pub fn load(path: &Path) -> Option<Self> {
        serde_json::from_slice(&std::fs::read(path).ok()?).ok()
    }

    /// For a person, at this time.
    pub fn shown(&self, now: u64) -> String {
        let mut text = String::new();
        let ago = |at: u64| age(now.saturating_sub(at));
        // Nothing can go wrong when a String is written to.
        let paused = if self.paused { ", paused" } else { "" };
        let _ =
            writeln!(text, "running for {} (process {}){paused}", ago(self.since), self.process);
        for (name, one) in &self.remotes {
            let _ = writeln!(text, "{name}");
            if one.nodes.is_empty() {
                let _ = writeln!(text, "  not connected");
            }
            for (url, way) in &one.nodes {
                let _ = writeln!(text, "  {url}: {way}");
            }
            if let Some(at) = one.changed {
                let _ = writeln!(text, "  changed {} ago", ago(at));
            }
            for (said, what) in [(&one.status, ""), (&one.error, "error: ")] {
                if let Some(Said { at, words }) = said {
                    let _ = writeln!(text, "  {what}{words} ({} ago)", ago(*at));
                }
            }
        }
        text
    }
}

fn age(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("status");
        let mut status = Status { process: 7, since: 100, ..Status::default() };
        let remote = || "origin".into();
        let url = || "ssh://h/x".to_owned();
        for (note, at) in [
            (Note::Error { remote: remote(), words: "no way".into() }, 101),
            (Note::Connected { remote: remote(), url: url(), way: "polling" }, 102),
            (Note::Changed { remote: remote(), refs: vec![] }, 103),
            (Note::Status { remote: remote(), words: "fetched".into() }, 104),
            (Note::Status { remote: "".into(), words: "paused".into() }, 105),
        ] {
            status.take(&note, at);
        }
        status.save(&path).expect("saved");
        let status = Status::load(&path).expect("read");
        assert_eq!(
            status.shown(400),
            "running for 5 min (process 7), paused\norigin\n  ssh://h/x: polling\n  changed 4 min ago\n  \
             fetched (4 min ago)\n"
        );
        let mut status = status;
        status.take(&Note::Disconnected { remote: remote(), url: url() }, 106);
        status.take(&Note::Status { remote: "".into(), words: "resumed".into() }, 107);
        assert!(status.shown(400).contains("  not connected\n") && !status.paused);
        std::fs::write(&path, "{").expect("a file");
        assert_eq!(Status::load(&path), None);
    }
}
