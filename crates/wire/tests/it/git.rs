//! Stock git as the oracle: in a scratch home, with nobody's configuration.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A bare repository with nothing in it.
pub fn empty_repository(object_format: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a scratch directory");
    let init = ["init", "-q", "--bare", "-b", "main", "--object-format", object_format, "."];
    let output = run(dir.path(), &init, &[], &[], b"");
    assert!(output.status.success(), "{output:?}");
    dir
}

/// Runs git with environment variables, `-c`-like settings and input.
pub fn run(
    dir: &Path,
    arguments: &[&str],
    environment: &[(&str, &str)],
    config: &[(&str, &str)],
    input: &[u8],
) -> Output {
    let mut command = Command::new("git");
    command
        .args(arguments)
        .current_dir(dir)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", dir)
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .env("LC_ALL", "C")
        .env("GIT_CONFIG_COUNT", config.len().to_string())
        .envs(environment.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    for (at, (key, value)) in config.iter().enumerate() {
        command.env(format!("GIT_CONFIG_KEY_{at}"), key);
        command.env(format!("GIT_CONFIG_VALUE_{at}"), value);
    }
    let mut child = command.spawn().expect("git is on PATH");
    // A git that gives up early closes its end; that is no failure of the test.
    let _ = child.stdin.take().expect("piped").write_all(input);
    child.wait_with_output().expect("git ends")
}

/// The words with which git died.
pub fn fatal(output: &Output) -> String {
    let words = String::from_utf8_lossy(&output.stderr);
    let fatal = words.lines().find_map(|line| line.strip_prefix("fatal: "));
    fatal.unwrap_or_else(|| panic!("git did not die: {words}")).to_owned()
}
