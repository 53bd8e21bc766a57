//! A person with a date: the value of author, committer and tagger lines.

use std::ops::ControlFlow;

use super::{MsgId, Report};

/// Checks one value (`Name <email> 1700000000 +0100`), without its newline.
pub(super) fn check(value: &[u8], report: &mut Report<'_>) -> ControlFlow<()> {
    match parse(value) {
        Ok(()) => ControlFlow::Continue(()),
        Err((id, message)) => report.say(id, format!("invalid author/committer line - {message}")),
    }
}

type Complaint = (MsgId, &'static str);

fn parse(value: &[u8]) -> Result<(), Complaint> {
    let date = person(value)?;
    let date = date
        .strip_prefix(b" ")
        .ok_or((MsgId::MissingSpaceBeforeDate, "missing space before date"))?;
    let first = date.iter().position(|byte| !matches!(byte, b' ' | b'\t')).unwrap_or(date.len());
    let date = &date[first..];
    match date {
        [b'0'..=b'9', ..] => {}
        _ => return Err((MsgId::BadDate, "bad date")),
    }
    if date[0] == b'0' && date.get(1) != Some(&b' ') {
        return Err((MsgId::ZeroPaddedDate, "zero-padded date"));
    }
    let digits = date.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (seconds, zone) = date.split_at(digits);
    // Git's own dates are unsigned, but have to fit what the system counts in.
    let fits = std::str::from_utf8(seconds).is_ok_and(|text| text.parse::<i64>().is_ok());
    if !fits {
        return Err((MsgId::BadDateOverflow, "date causes integer overflow"));
    }
    let zone = zone.strip_prefix(b" ").ok_or((MsgId::BadDate, "bad date"))?;
    match zone {
        [b'+' | b'-', digits @ ..]
            if digits.len() == 4 && digits.iter().all(u8::is_ascii_digit) =>
        {
            Ok(())
        }
        _ => Err((MsgId::BadTimezone, "bad time zone")),
    }
}

/// Takes name and email off the front.
fn person(value: &[u8]) -> Result<&[u8], Complaint> {
    if value.starts_with(b"<") {
        return Err((MsgId::MissingNameBeforeEmail, "missing space before email"));
    }
    let name_end =
        memchr::memchr2(b'<', b'>', value).ok_or((MsgId::MissingEmail, "missing email"))?;
    if value[name_end] == b'>' {
        return Err((MsgId::BadName, "bad name"));
    }
    if !value[..name_end].ends_with(b" ") {
        return Err((MsgId::MissingSpaceBeforeEmail, "missing space before email"));
    }
    let email = &value[name_end + 1..];
    match memchr::memchr2(b'<', b'>', email) {
        Some(end) if email[end] == b'>' => Ok(&email[end + 1..]),
        _ => Err((MsgId::BadEmail, "bad email")),
    }
}
