//! What is known of the refs of one node, and what has become another.

use std::collections::BTreeMap;

use bstr::BString;
use client::{RefMove, RemoteRef};

/// Refs of a node, as they were last.
#[derive(Debug, Default)]
pub struct Known {
    refs: BTreeMap<BString, BString>,
}

impl Known {
    /// What a repository has of them already.
    pub fn new(refs: impl IntoIterator<Item = (BString, BString)>) -> Self {
        Known { refs: refs.into_iter().collect() }
    }

    /// Takes what all refs are now; gives the names of those that are others than they were, and of those that are
    /// gone.
    pub fn list(&mut self, refs: Vec<RemoteRef>) -> (Vec<BString>, Vec<BString>) {
        let now = refs.into_iter().filter_map(|one| Some((one.name, one.id?.to_hex().into())));
        let now: BTreeMap<BString, BString> = now.collect();
        let before = std::mem::take(&mut self.refs);
        let gone = before.keys().filter(|name| !now.contains_key(*name)).cloned().collect();
        let moved = now.iter().filter(|(name, id)| before.get(*name) != Some(id));
        let moved = moved.map(|(name, _)| name.clone()).collect();
        self.refs = now;
        (moved, gone)
    }

    /// Takes what became of some; gives the names of those that are others than they were. Where symbolic refs point
    /// is nothing that is fetched.
    pub fn follow(&mut self, moves: Vec<RefMove>) -> Vec<BString> {
        let mut names = Vec::new();
        for RefMove { name, new, .. } in moves {
            let new = new.filter(|value| !value.starts_with(b"ref:"));
            let before = match &new {
                Some(id) => self.refs.insert(name.clone(), id.clone()),
                None => self.refs.remove(&name),
            };
            if before != new {
                names.push(name);
            }
        }
        names
    }

    /// What a ref is.
    pub fn get(&self, name: &BString) -> Option<&BString> {
        self.refs.get(name)
    }
}

#[cfg(test)]
mod tests {
    use object::ObjectId;

    use super::*;

    fn id(digit: char) -> String {
        digit.to_string().repeat(40)
    }

    fn listed(refs: &[(&str, char)]) -> Vec<RemoteRef> {
        let one = |(name, digit): &(&str, char)| RemoteRef {
            name: (*name).into(),
            id: ObjectId::from_hex(id(*digit).as_bytes()),
            target: None,
            peeled: None,
        };
        refs.iter().map(one).collect()
    }

    #[test]
    fn each_change_is_told_once() {
        let mut known = Known::new([("a".into(), id('1').into()), ("b".into(), id('2').into())]);
        let now = || listed(&[("a", '1'), ("c", '3')]);
        assert_eq!(known.list(now()), (vec!["c".into()], vec!["b".into()]));
        assert_eq!(known.list(now()), (vec![], vec![]));
        let moved = |name: &str, new: Option<String>| RefMove {
            name: name.into(),
            old: None,
            new: new.map(Into::into),
        };
        let moves = || {
            vec![
                moved("a", Some(id('4'))),
                moved("c", None),
                moved("HEAD", Some("ref:refs/heads/x".into())),
            ]
        };
        assert_eq!(known.follow(moves()), ["a", "c"]);
        assert!(known.follow(moves()).is_empty());
        assert_eq!(known.get(&"a".into()), Some(&id('4').into()));
    }
}
