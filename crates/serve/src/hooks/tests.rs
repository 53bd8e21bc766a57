//! Hooks as processes: what they are given, what is relayed, how they are stopped.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use testkit::TempDir;

use super::*;

#[derive(Default)]
struct Heard(Vec<u8>);

impl Relay for Heard {
    fn output(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    fn idle(&mut self) {}
}

fn script(dir: &Path, name: &str, text: &str) {
    let path = dir.join("hooks").join(name);
    fs::create_dir_all(dir.join("hooks")).expect("a folder");
    fs::write(&path, text).expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
}

fn run(dir: &Path, limits: HookLimits, call: &Call<'_>) -> (Verdict, String) {
    let environment = HookEnvironment::minimal();
    let config = Config::empty();
    let hooks = Hooks::new(dir, dir, &config, &environment, limits).expect("no settings");
    let mut heard = Heard::default();
    let verdict = hooks.run(call, &mut heard);
    (verdict, String::from_utf8_lossy(&heard.0).into_owned())
}

#[test]
fn a_hook_is_called_as_git_calls_it() {
    let dir = TempDir::new();
    script(dir.path(), "update", "#!/bin/sh\necho \"$0 $GIT_DIR $*\"; cat; pwd >&2\n");
    let args = vec!["a".into(), "b".into()];
    let stdin = Some(b"input\n".to_vec());
    let call = Call { event: "update", args, stdin, ..Call::default() };
    let (verdict, said) = run(dir.path(), HookLimits::default(), &call);
    assert_eq!(verdict, Verdict::Passed);
    let folder = fs::canonicalize(dir.path()).expect("a folder");
    assert_eq!(said, format!("hooks/update . a b\ninput\n{}\n", folder.display()));
}

#[test]
fn absent_declined_and_not_executable() {
    let dir = TempDir::new();
    let call = Call { event: "update", ..Call::default() };
    assert_eq!(run(dir.path(), HookLimits::default(), &call).0, Verdict::Absent);
    script(dir.path(), "update", "#!/bin/sh\nexit 3\n");
    assert_eq!(run(dir.path(), HookLimits::default(), &call).0, Verdict::Declined);
    script(dir.path(), "update", "#!/no/such/interpreter\n");
    assert_eq!(run(dir.path(), HookLimits::default(), &call).0, Verdict::Declined);
}

#[test]
fn unread_input_is_no_error() {
    let dir = TempDir::new();
    script(dir.path(), "pre-receive", "#!/bin/sh\nexec 0<&-\nexit 0\n");
    let stdin = Some(vec![b'x'; 1 << 20]);
    let call = Call { event: "pre-receive", stdin, ..Call::default() };
    assert_eq!(run(dir.path(), HookLimits::default(), &call).0, Verdict::Passed);
}

#[test]
fn the_whole_process_group_is_killed() {
    let dir = TempDir::new();
    script(dir.path(), "pre-receive", "#!/bin/sh\nsleep 1000 &\nsleep 1000\n");
    let limits = HookLimits { hook_timeout_ms: 100, ..HookLimits::default() };
    let call = Call { event: "pre-receive", ..Call::default() };
    assert_eq!(run(dir.path(), limits, &call).0, Verdict::TimedOut);
}
