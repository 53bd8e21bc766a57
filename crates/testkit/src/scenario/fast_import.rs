//! A stream for `git fast-import`: thousands of objects per process instead of
//! one process per object.
//!
//! The grammar is that of git-fast-import(1). Every commit and tag is made one
//! minute after the one before it.

use std::io::Write;

use object::{HashKind, ObjectId};

use crate::git::CLOCK_START;

/// An object of this stream that later commands may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark(u64);

/// One change a commit makes to the tree of its first parent.
#[derive(Debug, Clone, Copy)]
pub enum Change<'a> {
    /// A regular file at this path.
    File(&'a [u8], Mark),
    /// An executable file at this path.
    Executable(&'a [u8], Mark),
    /// A symbolic link at this path; the blob holds its target.
    Symlink(&'a [u8], Mark),
    /// A submodule entry: a commit of some other repository.
    Submodule(&'a [u8], ObjectId),
    /// Nothing at this path any more.
    Delete(&'a [u8]),
}

/// Writes one stream. Panics when `git fast-import` stops reading: it has said why on stderr.
pub struct FastImport<'w> {
    out: &'w mut dyn Write,
    hash: HashKind,
    marks: u64,
    now: i64,
}

const HUNG_UP: &str = "git fast-import reads its whole stream";

impl<'w> FastImport<'w> {
    pub(super) fn new(out: &'w mut dyn Write, hash: HashKind) -> Self {
        FastImport { out, hash, marks: 0, now: CLOCK_START }
    }

    /// The object format of the repository that is being filled.
    pub fn hash(&self) -> HashKind {
        self.hash
    }

    /// Adds a blob.
    pub fn blob(&mut self, contents: impl AsRef<[u8]>) -> Mark {
        let mark = self.next_mark();
        write!(self.out, "blob\nmark :{}\n", mark.0).expect(HUNG_UP);
        self.data(contents.as_ref());
        mark
    }

    /// Adds a commit to `refs/heads/BRANCH`; its tree is that of the first parent, changed.
    pub fn commit(
        &mut self,
        branch: &str,
        message: &str,
        parents: &[Mark],
        changes: &[Change<'_>],
    ) -> Mark {
        let mark = self.next_mark();
        self.now += 60;
        if parents.is_empty() {
            // Without this, the branch's present tip would become the parent.
            write!(self.out, "reset refs/heads/{branch}\n\n").expect(HUNG_UP);
        }
        write!(
            self.out,
            "commit refs/heads/{branch}\nmark :{}\n\
             author A U Thor <author@example.com> {now} +0000\n\
             committer C O Mitter <committer@example.com> {now} +0000\n",
            mark.0,
            now = self.now
        )
        .expect(HUNG_UP);
        self.data(message.as_bytes());
        for (at, parent) in parents.iter().enumerate() {
            let word = if at == 0 { "from" } else { "merge" };
            writeln!(self.out, "{word} :{}", parent.0).expect(HUNG_UP);
        }
        for change in changes {
            self.change(change);
        }
        self.out.write_all(b"\n").expect(HUNG_UP);
        mark
    }

    /// Adds an annotated tag `refs/tags/NAME` of any object of this stream, tags included.
    pub fn tag(&mut self, name: &str, target: Mark, message: &str) -> Mark {
        let mark = self.next_mark();
        self.now += 60;
        write!(
            self.out,
            "tag {name}\nmark :{}\nfrom :{}\ntagger C O Mitter <committer@example.com> {} +0000\n",
            mark.0, target.0, self.now
        )
        .expect(HUNG_UP);
        self.data(message.as_bytes());
        mark
    }

    /// Points a full ref name at a commit.
    pub fn set_ref(&mut self, name: &str, target: Mark) {
        write!(self.out, "reset {name}\nfrom :{}\n\n", target.0).expect(HUNG_UP);
    }

    fn change(&mut self, change: &Change<'_>) {
        let out = &mut *self.out;
        match *change {
            Change::File(path, mark) => modify(out, "100644", &format!(":{}", mark.0), path),
            Change::Executable(path, mark) => modify(out, "100755", &format!(":{}", mark.0), path),
            Change::Symlink(path, mark) => modify(out, "120000", &format!(":{}", mark.0), path),
            Change::Submodule(path, id) => modify(out, "160000", &id.to_string(), path),
            Change::Delete(path) => writeln!(out, "D {}", quote(path)).expect(HUNG_UP),
        }
    }

    fn data(&mut self, bytes: &[u8]) {
        writeln!(self.out, "data {}", bytes.len()).expect(HUNG_UP);
        self.out.write_all(bytes).expect(HUNG_UP);
        self.out.write_all(b"\n").expect(HUNG_UP);
    }

    fn next_mark(&mut self) -> Mark {
        self.marks += 1;
        Mark(self.marks)
    }
}

fn modify(out: &mut dyn Write, mode: &str, what: &str, path: &[u8]) {
    writeln!(out, "M {mode} {what} {}", quote(path)).expect(HUNG_UP);
}

/// A path in C-style quotes, every unusual byte as three octal digits.
fn quote(path: &[u8]) -> String {
    let mut quoted = String::from("\"");
    for &byte in path {
        match byte {
            b'"' | b'\\' | 0..=0x1f | 0x7f.. => quoted.push_str(&format!("\\{byte:03o}")),
            _ => quoted.push(char::from(byte)),
        }
    }
    quoted.push('"');
    quoted
}
