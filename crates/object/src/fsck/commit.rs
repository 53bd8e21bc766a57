//! The checks on commits.

use std::ops::ControlFlow;

use super::{MsgId, Report, header, ident};
use crate::HashKind;
use crate::header::line;

pub(super) fn check(bytes: &[u8], hash: HashKind, report: &mut Report<'_>) -> ControlFlow<()> {
    header::check_ends(bytes, report)?;
    let Some(rest) = bytes.strip_prefix(b"tree ") else {
        return report.say(MsgId::MissingTree, "invalid format - expected 'tree' line");
    };
    let (good, mut rest) = header::take_id(rest, hash);
    if !good {
        report.say(MsgId::BadTreeSha1, "invalid 'tree' line format - bad sha1")?;
    }
    while let Some(parent) = rest.strip_prefix(b"parent ") {
        let (good, after) = header::take_id(parent, hash);
        if !good {
            report.say(MsgId::BadParentSha1, "invalid 'parent' line format - bad sha1")?;
        }
        rest = after;
    }
    rest = check_authors(rest, report)?;
    let Some(committer) = rest.strip_prefix(b"committer ") else {
        return report.say(MsgId::MissingCommitter, "invalid format - expected 'committer' line");
    };
    ident::check(line(committer).map_or(committer, |(value, _)| value), report)?;
    if memchr::memchr(0, bytes).is_some() {
        report.say(MsgId::NulInCommit, "NUL byte in the commit object body")?;
    }
    ControlFlow::Continue(())
}

/// Checks the author lines and gives what follows them.
fn check_authors<'a>(mut rest: &'a [u8], report: &mut Report<'_>) -> ControlFlow<(), &'a [u8]> {
    let mut authors = 0usize;
    while let Some(author) = rest.strip_prefix(b"author ") {
        let (value, after) = line(author).unwrap_or((author, &[]));
        ident::check(value, report)?;
        authors += 1;
        rest = after;
    }
    match authors {
        0 => report.say(MsgId::MissingAuthor, "invalid format - expected 'author' line")?,
        1 => {}
        _ => report.say(MsgId::MultipleAuthors, "invalid format - multiple 'author' lines")?,
    }
    ControlFlow::Continue(rest)
}
