//! Commits, as far as a walk over history reads them.
//!
//! Tolerant where git's own walk is: a tree line and well-formed parent lines are needed,
//! a broken author or committer line only costs the date.

use bstr::BStr;

use crate::header;
use crate::{HashKind, ObjectId, ParseError};

const TREE: &[u8] = b"tree ";
const PARENT: &[u8] = b"parent ";

/// A commit, borrowed from its bytes.
#[derive(Debug, Clone, Copy)]
pub struct CommitRef<'a> {
    /// The root tree.
    pub tree: ObjectId,
    /// Seconds since the epoch; 0 when the committer line is unreadable, as in git.
    pub committer_time: i64,
    // Whole, already checked parent lines.
    parent_lines: &'a [u8],
    // Everything behind the parent lines.
    rest: &'a [u8],
    hash: HashKind,
}

impl<'a> CommitRef<'a> {
    /// Reads a commit.
    ///
    /// # Errors
    /// Without a tree line, or with a parent line that holds no id of this hash.
    pub fn parse(bytes: &'a [u8], hash: HashKind) -> Result<Self, ParseError> {
        let (tree, after_tree) =
            header::id_line(bytes, TREE, hash).ok_or(ParseError::CommitTree)?;
        if after_tree.is_empty() {
            return Err(ParseError::CommitTree);
        }
        let mut rest = after_tree;
        let parent_line_bytes = PARENT.len() + hash.hex_len() + 1;
        // A shorter remainder is not a parent line to git either, whatever it begins with.
        while rest.len() >= parent_line_bytes && rest.starts_with(PARENT) {
            (_, rest) = header::id_line(rest, PARENT, hash).ok_or(ParseError::CommitParent)?;
        }
        // As git has it, a commit cannot end with a parent line.
        if rest.is_empty() {
            return Err(ParseError::CommitParent);
        }
        let parent_lines = &after_tree[..after_tree.len() - rest.len()];
        Ok(CommitRef { tree, committer_time: committer_time(rest), parent_lines, rest, hash })
    }

    /// The parents, in order.
    #[inline]
    pub fn parents(&self) -> Parents<'a> {
        Parents { lines: self.parent_lines, hash: self.hash }
    }

    /// Seconds since the epoch; 0 when the committer line is unreadable.
    #[inline]
    pub fn committer_time(&self) -> i64 {
        self.committer_time
    }

    /// The author line's value: name, email, date and zone.
    pub fn author(&self) -> Option<&'a BStr> {
        header::field(self.rest, b"author")
    }

    /// The committer line's value: name, email, date and zone.
    pub fn committer(&self) -> Option<&'a BStr> {
        header::field(self.rest, b"committer")
    }

    /// The encoding of the message, when it is not UTF-8.
    pub fn encoding(&self) -> Option<&'a BStr> {
        header::field(self.rest, b"encoding")
    }

    /// The message: everything behind the first empty line.
    pub fn message(&self) -> &'a BStr {
        header::body(self.rest)
    }
}

/// The parents of a commit, in order; made by [`CommitRef::parents`].
#[derive(Debug, Clone)]
pub struct Parents<'a> {
    lines: &'a [u8],
    hash: HashKind,
}

impl Iterator for Parents<'_> {
    type Item = ObjectId;

    #[inline]
    fn next(&mut self) -> Option<ObjectId> {
        let (id, rest) = header::id_line(self.lines, PARENT, self.hash)?;
        self.lines = rest;
        Some(id)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let count = self.lines.len() / (PARENT.len() + self.hash.hex_len() + 1);
        (count, Some(count))
    }
}

impl ExactSizeIterator for Parents<'_> {}

/// The date behind the last `>` of the committer line, which has to follow the author line.
fn committer_time(bytes: &[u8]) -> i64 {
    let read = || {
        let (author, rest) = header::line(bytes)?;
        let (committer, _) = header::line(rest)?;
        if !author.starts_with(b"author") || !committer.starts_with(b"committer") {
            return None;
        }
        let date = &committer[memchr::memrchr(b'>', committer)? + 1..];
        let date = date.trim_ascii_start();
        // "+5" is a number to strtoumax, but no date to git.
        matches!(date.first(), Some(b'-' | b'0'..=b'9')).then(|| header::timestamp(date))
    };
    read().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TREE_HEX: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

    fn id(digit: char) -> String {
        digit.to_string().repeat(40)
    }

    #[test]
    fn reads_a_merge() {
        let text = format!(
            "tree {TREE_HEX}\nparent {}\nparent {}\nauthor A <a@x> 1 +0000\n\
             committer C > D <c@x> 1700000000 +0200\nencoding latin1\ngpgsig x\n author y\n\nSubject\n\nBody\n",
            id('1'),
            id('2')
        );
        let commit = CommitRef::parse(text.as_bytes(), HashKind::Sha1).expect("well formed");
        assert_eq!(commit.tree.to_hex(), TREE_HEX);
        assert_eq!(commit.parents().len(), 2);
        assert_eq!(commit.parents().map(|id| id.to_hex()).collect::<Vec<_>>(), [id('1'), id('2')]);
        assert_eq!(commit.committer_time(), 1_700_000_000);
        assert_eq!(commit.author().expect("present"), "A <a@x> 1 +0000");
        assert_eq!(commit.committer().expect("present"), "C > D <c@x> 1700000000 +0200");
        assert_eq!(commit.encoding().expect("present"), "latin1");
        assert_eq!(commit.message(), "Subject\n\nBody\n");
    }

    #[test]
    fn a_broken_committer_costs_only_the_date() {
        for committer in ["", "committer X <x> +5 +0000\n", "committer X 5\n", "committer X <x> \n"]
        {
            let text = format!("tree {TREE_HEX}\nauthor A <a> 1 +0000\n{committer}\n");
            let commit = CommitRef::parse(text.as_bytes(), HashKind::Sha1).expect("walkable");
            assert_eq!(commit.committer_time(), 0, "{committer:?}");
        }
        let text = format!("tree {TREE_HEX}\nauthor A <a> 1 +0000\ncommitter X <x> 123foo\n");
        let commit = CommitRef::parse(text.as_bytes(), HashKind::Sha1).expect("walkable");
        assert_eq!(commit.committer_time(), 123);
    }

    #[test]
    fn refuses_what_cannot_be_walked() {
        let parse = |text: &str| CommitRef::parse(text.as_bytes(), HashKind::Sha1).err();
        assert_eq!(parse(""), Some(ParseError::CommitTree));
        assert_eq!(parse(&format!("tree {TREE_HEX}\n")), Some(ParseError::CommitTree));
        assert_eq!(parse(&format!("tree {TREE_HEX}x\n")), Some(ParseError::CommitTree));
        assert_eq!(
            parse(&format!("tree {TREE_HEX}\nparent {}\n\n", id('g'))),
            Some(ParseError::CommitParent)
        );
        assert_eq!(
            parse(&format!("tree {TREE_HEX}\nparent {}\n", id('1'))),
            Some(ParseError::CommitParent)
        );
        assert_eq!(
            CommitRef::parse(format!("tree {TREE_HEX}\n\n").as_bytes(), HashKind::Sha256).err(),
            Some(ParseError::CommitTree)
        );
    }
}
