//! Who a reflog says moved a ref (git's committer identity).

use bstr::{BStr, BString, ByteSlice as _};
use gitconfig::Config;

use crate::hooks::HookEnvironment;

/// Somebody with a name and an address, as reflogs and hooks know them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pusher {
    /// The name.
    pub name: BString,
    /// The address.
    pub email: BString,
}

/// `Name <email> seconds +hhmm`: what the session's environment says, then the repository's
/// configuration, then who is known to push.
pub(super) fn committer(
    environment: &HookEnvironment,
    config: &Config,
    pusher: &Pusher,
    now_seconds: u64,
) -> BString {
    let variable = |name: &str| {
        use std::os::unix::ffi::OsStrExt as _;
        let value = environment.get(name).map(|value| BString::from(value.as_bytes()));
        value.filter(|value| !value.trim().is_empty())
    };
    let setting =
        |keys: [&str; 2]| keys.iter().find_map(|key| config.string(key)).map(BStr::to_owned);
    let name = variable("GIT_COMMITTER_NAME")
        .or_else(|| setting(["committer.name", "user.name"]))
        .unwrap_or_else(|| pusher.name.clone());
    let email = variable("GIT_COMMITTER_EMAIL")
        .or_else(|| setting(["committer.email", "user.email"]))
        .unwrap_or_else(|| pusher.email.clone());
    let date = variable("GIT_COMMITTER_DATE").and_then(|date| raw_date(&date));
    let date = date.unwrap_or_else(|| format!("{now_seconds} +0000"));

    let mut line = clean(&name);
    line.extend_from_slice(b" <");
    line.extend_from_slice(&clean(&email));
    line.extend_from_slice(b"> ");
    line.extend_from_slice(date.as_bytes());
    line
}

/// git's own form of a date, `seconds +hhmm`; other forms are not read here.
fn raw_date(date: &[u8]) -> Option<String> {
    let (seconds, zone) = date.strip_prefix(b"@").unwrap_or(date).split_once_str(" ")?;
    let digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let zone_fits = zone.len() == 5 && matches!(zone[0], b'+' | b'-') && digits(&zone[1..]);
    (digits(seconds) && zone_fits).then(|| format!("{} {}", seconds.as_bstr(), zone.as_bstr()))
}

/// Takes out what would end the identity early.
fn clean(text: &[u8]) -> BString {
    let kept = text.iter().copied().filter(|byte| !matches!(byte, b'<' | b'>' | b'\n' | 0));
    BString::from(kept.collect::<Vec<u8>>().trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_comes_first() {
        let pusher = Pusher { name: "A <b>".into(), email: "a@example.org".into() };
        let mut environment = HookEnvironment::default();
        let line = committer(&environment, &Config::empty(), &pusher, 7);
        assert_eq!(line, "A b <a@example.org> 7 +0000");
        environment.set("GIT_COMMITTER_NAME", "C O Mitter");
        environment.set("GIT_COMMITTER_DATE", "1112911993 -0700");
        let line = committer(&environment, &Config::empty(), &pusher, 7);
        assert_eq!(line, "C O Mitter <a@example.org> 1112911993 -0700");
    }
}
