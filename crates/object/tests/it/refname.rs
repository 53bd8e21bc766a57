//! `git check-ref-format` against [`object::check_ref_format`].

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::process::Command;

fn git_accepts(name: &[u8], onelevel: bool) -> bool {
    let mut command = Command::new("git");
    command.arg("check-ref-format");
    if onelevel {
        command.arg("--allow-onelevel");
    }
    command.arg(OsStr::from_bytes(name)).current_dir("/").status().expect("git runs").success()
}

#[test]
fn agrees_with_check_ref_format() {
    let mut names: Vec<Vec<u8>> = [
        "heads/foo",
        "foo",
        "refs/heads/foo/",
        "/refs/heads/foo",
        "refs///heads/foo",
        "heads/./foo",
        "heads/foo.",
        ".refs/foo",
        "refs/foo..bar",
        "refs/foo.lock",
        "refs/foo.lock/bar",
        "refs/foo.lockx",
        "refs/.lock",
        "heads/foo@bar",
        "heads/v@{ation",
        "heads/foo@",
        "@",
        "@/@",
        "heads/@",
        "a/{",
        "a/@@{",
        "a/b.c",
        "a/b.",
        "a./b",
        "",
        "/",
        "a/b/c/d/e",
        "heads/\u{e4}",
        "a/...",
        "a/.b",
        "a/-",
        "HEAD",
        "a/foo.LOCK",
        "a/.lock",
        "a/lock",
    ]
    .iter()
    .map(|name| name.as_bytes().to_vec())
    .collect();
    names.extend((1..=255).map(|byte| [b"a/x", &[byte][..], b"y"].concat()));
    for name in names {
        // Git takes a leading dash for an option, and the empty argument for a name.
        let shown = String::from_utf8_lossy(&name);
        let ours = object::check_ref_format(&name);
        assert_eq!(ours.is_ok(), git_accepts(&name, false), "{shown:?} {ours:?}");
    }
    for name in ["foo", "@", "a/b", "foo.lock", "HEAD", "foo."] {
        let ours = object::check_ref_format_onelevel(name.as_bytes());
        assert_eq!(ours.is_ok(), git_accepts(name.as_bytes(), true), "{name:?} {ours:?}");
    }
}
