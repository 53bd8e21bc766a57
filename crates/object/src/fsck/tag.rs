//! The checks on annotated tags.

use std::ops::ControlFlow;

use bstr::ByteSlice as _;

use super::{MsgId, Report, header, ident};
use crate::header::line;
use crate::{HashKind, Kind, check_ref_format};

pub(super) fn check(bytes: &[u8], hash: HashKind, report: &mut Report<'_>) -> ControlFlow<()> {
    header::check_ends(bytes, report)?;
    let Some(rest) = bytes.strip_prefix(b"object ") else {
        return report.say(MsgId::MissingObject, "invalid format - expected 'object' line");
    };
    let (good, rest) = header::take_id(rest, hash);
    if !good {
        report.say(MsgId::BadObjectSha1, "invalid 'object' line format - bad sha1")?;
    }
    let Some(rest) = rest.strip_prefix(b"type ") else {
        return report.say(MsgId::MissingTypeEntry, "invalid format - expected 'type' line");
    };
    let Some((kind, rest)) = line(rest) else {
        let message = "invalid format - unexpected end after 'type' line";
        return report.say(MsgId::MissingType, message);
    };
    if Kind::from_name(kind).is_none() {
        report.say(MsgId::BadType, "invalid 'type' value")?;
    }
    let Some(rest) = rest.strip_prefix(b"tag ") else {
        return report.say(MsgId::MissingTagEntry, "invalid format - expected 'tag' line");
    };
    let Some((name, rest)) = line(rest) else {
        // Git says "type" here, too.
        let message = "invalid format - unexpected end after 'type' line";
        return report.say(MsgId::MissingTag, message);
    };
    if check_ref_format(&[b"refs/tags/", name].concat()).is_err() {
        report.say(MsgId::BadTagName, format!("invalid 'tag' name: {}", name.as_bstr()))?;
    }
    let rest = check_tagger(rest, report)?;
    let rest = check_signature(rest, report)?;
    if !rest.is_empty() && !rest.starts_with(b"\n") {
        let message = "invalid format - extra header(s) after 'tagger'";
        report.say(MsgId::ExtraHeaderEntry, message)?;
    }
    ControlFlow::Continue(())
}

/// Checks the tagger line and gives what follows it.
fn check_tagger<'a>(rest: &'a [u8], report: &mut Report<'_>) -> ControlFlow<(), &'a [u8]> {
    let Some(tagger) = rest.strip_prefix(b"tagger ") else {
        report.say(MsgId::MissingTaggerEntry, "invalid format - expected 'tagger' line")?;
        return ControlFlow::Continue(rest);
    };
    let (value, rest) = line(tagger).unwrap_or((tagger, &[]));
    // Git looks at the rest of the tag even when this is an error.
    let _said = ident::check(value, report);
    ControlFlow::Continue(rest)
}

/// Checks a signature header, if there is one, and gives what follows it.
fn check_signature<'a>(rest: &'a [u8], report: &mut Report<'_>) -> ControlFlow<(), &'a [u8]> {
    if !rest.starts_with(b"gpgsig ") && !rest.starts_with(b"gpgsig-sha256 ") {
        return ControlFlow::Continue(rest);
    }
    let Some((_, mut rest)) = line(rest) else {
        report.say(
            MsgId::BadGpgsig,
            "invalid format - unexpected end after 'gpgsig' or 'gpgsig-sha256' line",
        )?;
        return ControlFlow::Break(());
    };
    while rest.starts_with(b" ") {
        let Some((_, after)) = line(rest) else {
            report.say(
                MsgId::BadHeaderContinuation,
                "invalid format - unexpected end in 'gpgsig' or 'gpgsig-sha256' continuation line",
            )?;
            return ControlFlow::Break(());
        };
        rest = after;
    }
    ControlFlow::Continue(rest)
}
