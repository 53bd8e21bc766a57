//! What is fetched from a remote, and under which names it is kept (git-fetch(1), "refspec").

use bstr::{BString, ByteSlice as _};

/// A refspec of `remote.NAME.fetch`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refspec {
    /// The name there; with a `*` for any part.
    source: BString,
    /// The name here, if it is kept.
    destination: Option<BString>,
    /// What fits is left out.
    is_negative: bool,
    /// What is kept may become anything; else it only goes on.
    is_forced: bool,
}

impl Refspec {
    /// Reads one; `None` for what is no full name of refs, which git resolves in ways of its own.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let (is_negative, text) = match text.strip_prefix(b"^") {
            Some(text) => (true, text),
            None => (false, text),
        };
        let (is_forced, text) = match text.strip_prefix(b"+") {
            Some(text) => (true, text),
            None => (false, text),
        };
        let (source, destination) = match text.split_once_str(":") {
            Some((source, destination)) => {
                (source, Some(destination).filter(|name| !name.is_empty()))
            }
            None => (text, None),
        };
        let is_full = source == b"HEAD" || source.starts_with(b"refs/");
        let stars = |name: &[u8]| name.iter().filter(|byte| **byte == b'*').count();
        let fits =
            stars(source) <= 1 && destination.is_none_or(|name| stars(name) == stars(source));
        (is_full && fits).then(|| Refspec {
            source: source.into(),
            destination: destination.map(Into::into),
            is_negative,
            is_forced,
        })
    }

    /// How names begin that may fit.
    fn prefix(&self) -> &[u8] {
        let end = self.source.iter().position(|byte| *byte == b'*');
        &self.source[..end.unwrap_or(self.source.len())]
    }

    /// What stands for the star; the whole name fits where there is none.
    fn fits<'a>(&self, name: &'a [u8]) -> Option<&'a [u8]> {
        part(&self.source, name)
    }
}

/// What of a name stands for the star of a pattern.
fn part<'a>(pattern: &[u8], name: &'a [u8]) -> Option<&'a [u8]> {
    match pattern.split_once_str("*") {
        None => (pattern == name).then_some(b""),
        Some((before, after)) => {
            name.strip_prefix(before)?.strip_suffix(after).filter(|part| !part.is_empty())
        }
    }
}

fn filled(pattern: &[u8], part: &[u8]) -> BString {
    pattern.replacen("*", part, 1).into()
}

/// The refspecs of a remote.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refspecs(Vec<Refspec>);

impl Refspecs {
    /// Those that are understood.
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a [u8]>) -> Self {
        Refspecs(texts.into_iter().filter_map(Refspec::parse).collect())
    }

    /// How the names begin of all refs that may be fetched; none stand for all.
    pub fn prefixes(&self) -> Vec<BString> {
        let mut prefixes: Vec<BString> = Vec::new();
        for one in self.0.iter().filter(|one| !one.is_negative) {
            if !prefixes.iter().any(|known| one.prefix().starts_with(known)) {
                prefixes.retain(|known| !known.starts_with(one.prefix()));
                prefixes.push(one.prefix().into());
            }
        }
        prefixes
    }

    /// Whether a ref of the remote is fetched.
    pub fn wants(&self, name: &[u8]) -> bool {
        let mut is_wanted = false;
        for one in &self.0 {
            match (one.fits(name), one.is_negative) {
                (Some(_), true) => return false,
                (Some(_), false) => is_wanted = true,
                (None, _) => {}
            }
        }
        is_wanted
    }

    /// Under which name a ref of the remote is kept.
    pub fn kept_as(&self, name: &[u8]) -> Option<BString> {
        self.kept_how(name).map(|(name, _)| name)
    }

    /// Under which name a ref of the remote is kept, and whether that may become anything.
    pub fn kept_how(&self, name: &[u8]) -> Option<(BString, bool)> {
        if !self.wants(name) {
            return None;
        }
        self.0.iter().filter(|one| !one.is_negative).find_map(|one| {
            let part = one.fits(name)?;
            let destination = one.destination.as_ref()?;
            Some((filled(destination, part), one.is_forced))
        })
    }

    /// Whether these are all, and all that is kept lies below `refs/remotes/`, each once.
    pub fn are_plain<'a>(&self, texts: impl Iterator<Item = &'a [u8]>) -> bool {
        let kept: Vec<&BString> =
            self.0.iter().filter_map(|one| one.destination.as_ref()).collect();
        let positive = self.0.iter().filter(|one| !one.is_negative).count();
        texts.count() == self.0.len()
            && positive == 1
            && kept.len() == 1
            && kept[0].starts_with(b"refs/remotes/")
    }

    /// Which ref of the remote is kept under this name.
    pub fn kept(&self, name: &[u8]) -> Option<BString> {
        let found = self.0.iter().filter(|one| !one.is_negative).find_map(|one| {
            let part = part(one.destination.as_ref()?, name)?;
            Some(filled(&one.source, part))
        });
        found.filter(|source| self.wants(source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specs(texts: &[&str]) -> Refspecs {
        Refspecs::new(texts.iter().map(|text| text.as_bytes()))
    }

    #[test]
    fn names_are_mapped_both_ways() {
        let usual = specs(&["+refs/heads/*:refs/remotes/origin/*", "^refs/heads/tmp/*"]);
        assert_eq!(usual.prefixes(), ["refs/heads/"]);
        assert_eq!(usual.kept_as(b"refs/heads/a/b"), Some("refs/remotes/origin/a/b".into()));
        assert_eq!(usual.kept(b"refs/remotes/origin/a/b"), Some("refs/heads/a/b".into()));
        for name in ["refs/heads/tmp/x", "refs/tags/v", "refs/heads/"] {
            assert!(!usual.wants(name.as_bytes()), "{name}");
            assert_eq!(usual.kept_as(name.as_bytes()), None);
        }
        assert_eq!(usual.kept(b"refs/remotes/origin/tmp/x"), None);
        let more =
            specs(&["refs/heads/a", "refs/*:refs/*", "HEAD:refs/remotes/x/HEAD", "main", ""]);
        assert_eq!(more.prefixes(), ["refs/", "HEAD"]);
        assert_eq!(more.kept_as(b"refs/heads/a"), Some("refs/heads/a".into()));
        assert_eq!(more.kept(b"refs/remotes/x/HEAD"), Some("refs/remotes/x/HEAD".into()));
        assert!(specs(&["refs/heads/*:refs/x"]).prefixes().is_empty());
        let middle = specs(&["refs/pull/*/head:refs/pulls/*"]);
        assert_eq!(middle.kept_as(b"refs/pull/12/head"), Some("refs/pulls/12".into()));
        assert_eq!(middle.prefixes(), ["refs/pull/"]);
    }
}
