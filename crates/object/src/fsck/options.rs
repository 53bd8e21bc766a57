//! What counts as how bad (`fsck.<msg-id>`, `receive.fsck.<msg-id>`), and which objects are
//! excused (`fsck.skipList`).

use std::collections::HashSet;

use bstr::{BString, ByteSlice as _};

use super::{MsgId, Severity};
use crate::{HashKind, ObjectId};

/// Names of tree entries longer than this are complained about, in bytes.
pub const NAME_BYTES_MAX: u64 = 4096;

/// Severities and exceptions.
#[derive(Debug, Clone)]
pub struct FsckOptions {
    severities: Vec<Severity>,
    strict: bool,
    /// The longest name of a tree entry that passes, in bytes; default [`NAME_BYTES_MAX`].
    pub name_bytes_max: u64,
    /// Objects nothing is said about.
    pub skip_list: HashSet<ObjectId>,
}

impl Default for FsckOptions {
    /// What `git fsck` uses.
    fn default() -> Self {
        FsckOptions {
            severities: MsgId::ALL.iter().map(|id| id.default_severity()).collect(),
            strict: false,
            name_bytes_max: NAME_BYTES_MAX,
            skip_list: HashSet::new(),
        }
    }
}

impl FsckOptions {
    /// What `git fsck --strict` uses, and whoever receives objects: warnings count as errors
    /// unless they are set, and so does the mode 100664.
    pub fn strict() -> Self {
        let mut options = FsckOptions { strict: true, ..Self::default() };
        for severity in &mut options.severities {
            if *severity == Severity::Warn {
                *severity = Severity::Error;
            }
        }
        options
    }

    /// Sets how bad a finding is: `error`, `warn` or `ignore`. `largePathname` takes a length,
    /// too: `warn:300`.
    ///
    /// # Errors
    /// In git's words, when the check or the severity is unknown, or the check is fatal.
    pub fn set(&mut self, msg_id: &[u8], severity: &[u8]) -> Result<(), String> {
        let id = MsgId::from_name(msg_id)
            .ok_or_else(|| format!("Unhandled message id: {}", msg_id.as_bstr()))?;
        let mut word = severity;
        let mut name_bytes_max = self.name_bytes_max;
        if id == MsgId::LargePathname
            && let Some((before, bytes)) = severity.split_once_str(":")
        {
            word = before;
            name_bytes_max =
                bytes.to_str().ok().and_then(|text| text.parse().ok()).ok_or_else(|| {
                    format!("unable to parse max tree entry len: {}", bytes.as_bstr())
                })?;
        }
        let severity = match word {
            b"error" => Severity::Error,
            b"warn" => Severity::Warn,
            b"ignore" => Severity::Ignore,
            _ => return Err(format!("Unknown fsck message type: '{}'", word.as_bstr())),
        };
        if severity != Severity::Error && id.default_severity() == Severity::Fatal {
            return Err(format!("Cannot demote {} to {}", msg_id.as_bstr(), word.as_bstr()));
        }
        self.name_bytes_max = name_bytes_max;
        self.severities[id as usize] = severity;
        Ok(())
    }

    /// How bad a finding of this check is.
    pub fn severity(&self, id: MsgId) -> Severity {
        self.severities[id as usize]
    }

    /// Adds the ids of a skip list file: one a line, `#` begins a comment.
    ///
    /// # Errors
    /// In git's words, with the first line that is no id of this hash.
    pub fn add_skip_list(&mut self, text: &[u8], hash: HashKind) -> Result<(), String> {
        for line in text.lines() {
            let name = line.split(|&byte| byte == b'#').next().unwrap_or_default().trim();
            if name.is_empty() {
                continue;
            }
            let id = ObjectId::from_hex_of(name, hash)
                .ok_or_else(|| format!("invalid object name: {}", BString::from(name)))?;
            self.skip_list.insert(id);
        }
        Ok(())
    }

    pub(super) fn is_strict(&self) -> bool {
        self.strict
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_override_strictness() {
        let mut options = FsckOptions::strict();
        assert_eq!(options.severity(MsgId::HasDotgit), Severity::Error);
        assert_eq!(options.severity(MsgId::BadFilemode), Severity::Info);
        options.set(b"hasdotGit", b"warn").expect("known");
        assert_eq!(options.severity(MsgId::HasDotgit), Severity::Warn);
        options.set(b"largePathname", b"error:10").expect("known");
        assert_eq!(options.name_bytes_max, 10);
    }

    #[test]
    fn refuses_in_gits_words() {
        let mut options = FsckOptions::default();
        let mut refusal = |id: &str, severity: &str| {
            options.set(id.as_bytes(), severity.as_bytes()).expect_err("refused")
        };
        assert_eq!(refusal("whatEver", "warn"), "Unhandled message id: whatEver");
        assert_eq!(refusal("badDate", "fatal"), "Unknown fsck message type: 'fatal'");
        assert_eq!(refusal("nulInHeader", "warn"), "Cannot demote nulInHeader to warn");
        assert_eq!(refusal("largePathname", "warn:x"), "unable to parse max tree entry len: x");
    }

    #[test]
    fn reads_a_skip_list() {
        let mut options = FsckOptions::default();
        let hex = "12".repeat(20);
        let text = format!("# objects\n\n  {hex} # why\n");
        options.add_skip_list(text.as_bytes(), HashKind::Sha1).expect("valid");
        assert_eq!(options.skip_list.len(), 1);
        assert_eq!(
            options.add_skip_list(b"12\n", HashKind::Sha1),
            Err("invalid object name: 12".into())
        );
    }
}
