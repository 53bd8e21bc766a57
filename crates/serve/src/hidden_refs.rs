//! Refs that are not shown: `transfer.hideRefs` and its per-service forms.

use bstr::{BStr, BString};
use gitconfig::Config;

/// The patterns of one service, in the order they were configured; the last match decides.
#[derive(Debug, Clone, Default)]
pub struct HiddenRefs {
    patterns: Vec<Pattern>,
}

#[derive(Debug, Clone)]
struct Pattern {
    hides: bool,
    // `^`: compare with the stored name, not with the name inside the namespace.
    stored_name: bool,
    prefix: BString,
}

impl HiddenRefs {
    /// The patterns for a service whose own settings lie in `section` (`receive`, `uploadpack`).
    pub fn from_config(config: &Config, section: &str) -> Self {
        let own = format!("{section}.hiderefs");
        let concerns = |name: &BStr| name == "transfer.hiderefs" || name == own.as_str();
        let values = config.entries().filter(|entry| concerns(entry.name()));
        Self::new(values.filter_map(|entry| entry.value()))
    }

    /// Patterns in configuration order, with git's marks `!` (show) and `^` (stored name).
    pub fn new<P: AsRef<[u8]>>(patterns: impl IntoIterator<Item = P>) -> Self {
        HiddenRefs { patterns: patterns.into_iter().map(|text| parse(text.as_ref())).collect() }
    }

    /// Whether nothing is hidden at all.
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }

    /// Whether a ref is hidden. `shown` is its name inside the namespace, `None` outside of it.
    pub fn hides(&self, shown: Option<&BStr>, stored: &BStr) -> bool {
        for pattern in self.patterns.iter().rev() {
            let subject = if pattern.stored_name { Some(stored) } else { shown };
            let rest = subject.and_then(|name| name.strip_prefix(pattern.prefix.as_slice()));
            if rest.is_some_and(|rest| rest.is_empty() || rest[0] == b'/') {
                return pattern.hides;
            }
        }
        false
    }
}

fn parse(text: &[u8]) -> Pattern {
    let (hides, text) = match text.strip_prefix(b"!") {
        Some(rest) => (false, rest),
        None => (true, text),
    };
    let (stored_name, mut text) = match text.strip_prefix(b"^") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    while let Some(shorter) = text.strip_suffix(b"/") {
        text = shorter;
    }
    Pattern { hides, stored_name, prefix: text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(patterns: &[&str], shown: Option<&str>, stored: &str) -> bool {
        HiddenRefs::new(patterns).hides(shown.map(|name| name.into()), stored.into())
    }

    #[test]
    fn the_last_match_decides() {
        let patterns = ["refs/pull/", "!refs/pull/open"];
        assert!(hidden(&patterns, Some("refs/pull/1"), "refs/pull/1"));
        assert!(!hidden(&patterns, Some("refs/pull/open/1"), "refs/pull/open/1"));
        assert!(!hidden(&patterns, Some("refs/pullx"), "refs/pullx"));
    }

    #[test]
    fn a_caret_looks_at_the_stored_name() {
        let stored = "refs/namespaces/a/refs/heads/x";
        assert!(hidden(&["^refs/namespaces/a/refs/heads"], Some("refs/heads/x"), stored));
        assert!(!hidden(&["refs/namespaces/a/refs/heads"], Some("refs/heads/x"), stored));
        assert!(!hidden(&["refs/heads"], None, stored));
    }
}
