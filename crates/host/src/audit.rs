//! Who did what, from where, and what came of it: a line of JSON for each.

use std::io;
use std::net::IpAddr;
use std::path::Path;

use access::Date;
use serde::Serialize;

use crate::{Caller, LineFile, Road};

/// Where it is noted.
pub struct Audit {
    file: LineFile,
    /// Whether what only reads is noted, too.
    reads: bool,
}

/// One line.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Entry<'a> {
    pub who: Option<&'a str>,
    #[serde(rename = "with")]
    pub credential: Option<String>,
    pub from: Option<IpAddr>,
    pub road: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<&'a str>,
    pub action: &'static str,
    pub result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refs: Vec<Moved>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refused: Vec<Refused>,
}

/// A ref that moved.
#[derive(Debug, Serialize)]
pub(crate) struct Moved {
    pub name: String,
    pub old: String,
    pub new: String,
}

/// A ref that was not moved.
#[derive(Debug, Serialize)]
pub(crate) struct Refused {
    pub name: String,
    pub why: String,
}

#[derive(Serialize)]
struct Line<'a> {
    time: Date,
    #[serde(flatten)]
    entry: &'a Entry<'a>,
}

impl<'a> Entry<'a> {
    /// About a caller.
    pub fn of(caller: &'a Caller, road: Road) -> Self {
        let identity = caller.identity.as_ref();
        Entry {
            who: identity.map(|identity| identity.user.as_str()),
            credential: identity.map(|identity| identity.credential.to_string()),
            from: caller.address,
            road: road.name(),
            ..Entry::default()
        }
    }
}

impl Audit {
    /// Opens a file, or makes it, for its owner alone.
    ///
    /// # Errors
    /// When that cannot be done.
    pub fn open(path: &Path, reads: bool) -> io::Result<Self> {
        Ok(Audit { file: LineFile::open(path)?, reads })
    }

    pub(crate) fn notes_reads(&self) -> bool {
        self.reads
    }

    /// Puts a line at the end; what goes wrong with it goes into the log.
    pub(crate) fn write(&self, now: u64, entry: &Entry<'_>) {
        if let Err(error) = self.file.write(&Line { time: Date(now), entry }) {
            let file = self.file.path().display();
            tracing::error!(%file, %error, ?entry, "cannot write the audit log");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_on_in_a_new_file_when_the_old_one_is_moved_away() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("audit.log");
        let audit = Audit::open(&path, true).expect("a file");
        let caller = Caller { identity: None, address: Some(IpAddr::from([192, 0, 2, 1])) };
        let entry = || Entry {
            repository: Some("a\"b"),
            action: "receive-pack",
            result: "ok",
            refs: vec![Moved { name: "refs/heads/x".into(), old: "0".into(), new: "1".into() }],
            ..Entry::of(&caller, Road::Http)
        };
        audit.write(0, &entry());
        let line = "{\"time\":\"1970-01-01T00:00:00Z\",\"who\":null,\"with\":null,\"from\":\"192.0.2.1\",\
                    \"road\":\"http\",\"repository\":\"a\\\"b\",\"action\":\"receive-pack\",\"result\":\"ok\",\
                    \"refs\":[{\"name\":\"refs/heads/x\",\"old\":\"0\",\"new\":\"1\"}]}\n";
        assert_eq!(std::fs::read_to_string(&path).expect("a file"), line);
        std::fs::rename(&path, folder.path().join("old")).expect("moved");
        audit.write(0, &entry());
        audit.write(0, &entry());
        assert_eq!(std::fs::read_to_string(&path).expect("a file"), line.repeat(2));
    }
}
