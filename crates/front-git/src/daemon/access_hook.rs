//! The program that may refuse what everybody else allows (`--access-hook` of git-daemon(1)).

use std::ffi::OsStr;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Stdio};

use super::virtual_host::VirtualHost;

/// Bytes of a refusal that are read.
const WORDS_BYTES_MAX: u64 = 4096;

/// What a shell would not take for a plain word.
const SHELL_SIGNS: &str = "|&;<>()$`\\\"' \t\n*?[#~=%";

/// What the hook is told.
pub(super) struct Told<'a> {
    pub service: &'a str,
    pub path: &'a str,
    pub host: &'a VirtualHost,
    pub peer: Option<SocketAddr>,
}

/// Runs the hook to its end.
///
/// # Errors
/// Why not: its first line, or words of our own.
pub(super) fn ask(hook: &Path, told: &Told<'_>) -> Result<(), String> {
    let host = told.host;
    let mut command = command(hook);
    command
        .args([told.service, told.path, &host.name, host.canonical_name(), host.address()])
        .arg(&host.port)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    if let Some(peer) = told.peer {
        let address = match peer {
            SocketAddr::V4(peer) => peer.ip().to_string(),
            SocketAddr::V6(peer) => format!("[{}]", peer.ip()),
        };
        command.env("REMOTE_ADDR", address).env("REMOTE_PORT", peer.port().to_string());
    }
    let mut said = String::new();
    let succeeded = command.spawn().and_then(|mut child| {
        if let Some(output) = child.stdout.take() {
            let mut bytes = Vec::new();
            let read = output.take(WORDS_BYTES_MAX).read_to_end(&mut bytes);
            said = String::from_utf8_lossy(&bytes).into_owned();
            if let Err(error) = read {
                // Nobody waits for it in vain.
                let _ = child.wait();
                return Err(error);
            }
        }
        child.wait()
    });
    match succeeded {
        Ok(status) if status.success() => Ok(()),
        _ => match said.trim_start().lines().next() {
            Some(line) => Err(line.to_owned()),
            None => Err("service rejected".to_owned()),
        },
    }
}

/// The hook, by a shell if it is more than a word.
fn command(hook: &Path) -> Command {
    let text = hook.as_os_str();
    if !text.to_string_lossy().contains(|letter| SHELL_SIGNS.contains(letter)) {
        return Command::new(hook);
    }
    let mut line = text.to_owned();
    line.push(OsStr::new(" \"$@\""));
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(line).arg(hook);
    command
}
