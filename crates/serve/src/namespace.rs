//! Ref namespaces (gitnamespaces(7)): several repositories' refs in one.

use bstr::{BStr, BString, ByteSlice as _};

/// The part of the ref space a session may see; without a name, all of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Namespace {
    prefix: BString,
}

impl Namespace {
    /// The namespace called `name` (`GIT_NAMESPACE`): `a/b` lies under
    /// `refs/namespaces/a/refs/namespaces/b/`. An empty name is the whole repository.
    ///
    /// # Errors
    /// In git's words, when the name cannot be part of a ref name.
    pub fn new(name: &[u8]) -> Result<Self, String> {
        let mut prefix = BString::default();
        for part in name.split_str("/").filter(|part| !part.is_empty()) {
            prefix.extend_from_slice(b"refs/namespaces/");
            prefix.extend_from_slice(part);
            prefix.push(b'/');
        }
        if prefix.is_empty() {
            return Ok(Self::default());
        }
        match object::check_ref_format(&prefix[..prefix.len() - 1]) {
            Ok(()) => Ok(Namespace { prefix }),
            Err(_) => Err(format!("bad git namespace path \"{}\"", name.as_bstr())),
        }
    }

    /// Whether this is the whole repository.
    pub fn is_whole(&self) -> bool {
        self.prefix.is_empty()
    }

    /// What every stored name of this namespace starts with; empty for the whole repository.
    pub fn prefix(&self) -> &BStr {
        self.prefix.as_ref()
    }

    /// The stored name of a ref that the client calls `name`.
    pub fn stored(&self, name: &[u8]) -> BString {
        let mut full = self.prefix.clone();
        full.extend_from_slice(name);
        full
    }

    /// What the client calls the ref stored as `stored`; `None` when it lies outside.
    pub fn shown<'a>(&self, stored: &'a [u8]) -> Option<&'a BStr> {
        if self.is_whole() {
            return Some(BStr::new(stored));
        }
        stored.strip_prefix(self.prefix.as_slice()).map(BStr::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_names_become_nested_prefixes() {
        let nested = Namespace::new(b"a/b").expect("a valid name");
        assert_eq!(nested.prefix(), "refs/namespaces/a/refs/namespaces/b/");
        assert_eq!(nested.stored(b"HEAD"), "refs/namespaces/a/refs/namespaces/b/HEAD");
        assert_eq!(nested.shown(b"refs/namespaces/a/refs/heads/x"), None);
        assert!(Namespace::new(b"").expect("the whole repository").is_whole());
        assert!(Namespace::new(b"a..b").is_err());
    }
}
