//! What a client asks an SSH server to run: git's services and some of git-annex-shell(1), quoted for a shell
//! (git and git-annex quote in different ways; both are a shell's).

use bstr::{BString, ByteSlice as _};

use crate::{Error, Service};

/// The longest command, bytes.
pub const COMMAND_BYTES_MAX: usize = 16 << 10;

/// A command that is understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SshCommand {
    /// One of git's services.
    Git {
        /// Which.
        service: Service,
        /// The repository, as it was written.
        path: BString,
    },
    /// One of git-annex-shell's commands.
    Annex {
        /// Which.
        command: AnnexCommand,
        /// The repository, as it was written.
        path: BString,
        /// The repository's UUID, as the client knows it.
        uuid: Option<BString>,
    },
    /// `true`, by which git-annex warms a connection up.
    Nothing,
}

/// A command of git-annex-shell(1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnnexCommand {
    /// `configlist`: which repository it is.
    ConfigList,
    /// `notifychanges`: to be told when refs change.
    NotifyChanges,
}

impl AnnexCommand {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            AnnexCommand::ConfigList => "configlist",
            AnnexCommand::NotifyChanges => "notifychanges",
        }
    }
}

/// Reads a command.
///
/// # Errors
/// [`Error::Malformed`], in words for whoever sent it.
pub fn read_command(command: &[u8]) -> Result<SshCommand, Error> {
    let malformed = |what: String| Error::Malformed(what);
    let words = words(command)?;
    let words: Vec<&[u8]> = words.iter().map(|word| word.as_slice()).collect();
    let (name, arguments) = match words.as_slice() {
        [b"true"] => return Ok(SshCommand::Nothing),
        // `git upload-pack` is the same program.
        [b"git", service, rest @ ..] => ([b"git-", *service].concat(), rest),
        [name, rest @ ..] => {
            // A client may be told a path to the program (`--upload-pack`); all lead here.
            let name = name.rsplit(|&byte| byte == b'/').next().unwrap_or(name);
            (name.to_vec(), rest)
        }
        [] => return Err(malformed("no command".to_owned())),
    };
    if name == b"git-annex-shell" {
        return read_annex(arguments);
    }
    let service = Service::from_name(&name).ok_or_else(|| {
        let shown: String = name.to_str_lossy().chars().take(50).collect();
        malformed(format!("there is no shell here, and no '{}'", shown.escape_debug()))
    })?;
    match arguments {
        [path] if !path.starts_with(b"-") => {
            Ok(SshCommand::Git { service, path: BString::from(*path) })
        }
        _ => Err(malformed(format!("{} takes the path of one repository", service.name()))),
    }
}

/// `COMMAND DIR`, and behind them in any order `--uuid UUID`, switches, and fields between two `--`.
fn read_annex(arguments: &[&[u8]]) -> Result<SshCommand, Error> {
    let [command, path, options @ ..] = arguments else {
        return Err(Error::Malformed("git-annex-shell takes a command and a repository".into()));
    };
    let all = [AnnexCommand::ConfigList, AnnexCommand::NotifyChanges];
    let known = all.into_iter().find(|known| known.name().as_bytes() == *command);
    let command = known.ok_or_else(|| {
        let shown: String = command.to_str_lossy().chars().take(50).collect();
        Error::Malformed(format!("git-annex-shell has no '{}' here", shown.escape_debug()))
    })?;
    let uuid = options.windows(2).find(|pair| pair[0] == b"--uuid").map(|pair| pair[1].into());
    Ok(SshCommand::Annex { command, path: BString::from(*path), uuid })
}

/// The words a shell would see (POSIX, "Shell Command Language", 2.2), of a command that needs
/// nothing else of a shell.
fn words(command: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    let malformed = |what: &str| Error::Malformed(what.to_owned());
    if command.len() > COMMAND_BYTES_MAX {
        return Err(malformed("the command is too long"));
    }
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut bytes = command.iter().copied();
    let unclosed = || malformed("a quote is not closed");
    while let Some(byte) = bytes.next() {
        match byte {
            b' ' | b'\t' | b'\n' => words.extend(word.take()),
            b'\'' => {
                let word = word.get_or_insert_default();
                loop {
                    match bytes.next().ok_or_else(unclosed)? {
                        b'\'' => break,
                        other => word.push(other),
                    }
                }
            }
            b'"' => {
                let word = word.get_or_insert_default();
                loop {
                    match bytes.next().ok_or_else(unclosed)? {
                        b'"' => break,
                        b'\\' => match bytes.next().ok_or_else(unclosed)? {
                            b'\n' => {}
                            special @ (b'"' | b'\\' | b'$' | b'`') => word.push(special),
                            other => word.extend([b'\\', other]),
                        },
                        b'$' | b'`' => return Err(malformed("there is no shell here")),
                        other => word.push(other),
                    }
                }
            }
            b'\\' => match bytes.next() {
                Some(b'\n') => {}
                Some(other) => word.get_or_insert_default().push(other),
                None => return Err(malformed("the command ends in the middle")),
            },
            b'|' | b'&' | b';' | b'<' | b'>' | b'(' | b')' | b'$' | b'`' => {
                return Err(malformed("there is no shell here"));
            }
            other => word.get_or_insert_default().push(other),
        }
    }
    words.extend(word);
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(service: Service, path: &str) -> SshCommand {
        SshCommand::Git { service, path: path.into() }
    }

    fn annex(command: AnnexCommand, path: &str, uuid: Option<&str>) -> SshCommand {
        SshCommand::Annex { command, path: path.into(), uuid: uuid.map(Into::into) }
    }

    #[test]
    fn commands_are_read_as_a_shell_reads_them() {
        for (command, expected) in [
            ("git-upload-pack 'a/b.git'", git(Service::UploadPack, "a/b.git")),
            ("git-receive-pack '/a b'", git(Service::ReceivePack, "/a b")),
            ("git upload-pack a", git(Service::UploadPack, "a")),
            ("/usr/bin/git-upload-pack a", git(Service::UploadPack, "a")),
            // git's quoting of a quote and an exclamation mark.
            (r"git-upload-pack 'it'\''s'\!'", git(Service::UploadPack, "it's!")),
            // git-annex' quoting of a quote.
            (r#"git-upload-pack 'it'"'"'s'"#, git(Service::UploadPack, "it's")),
            (r#"git-upload-pack "a\"\\\$\x""#, git(Service::UploadPack, r#"a"\$\x"#)),
            ("true", SshCommand::Nothing),
            ("git-annex-shell 'configlist' '/~/a'", annex(AnnexCommand::ConfigList, "/~/a", None)),
            (
                "git-annex-shell 'configlist' '/a' '--' 'autoinit=1' '--'",
                annex(AnnexCommand::ConfigList, "/a", None),
            ),
            (
                "git-annex-shell 'notifychanges' '/a' '--debug' --uuid 1-2",
                annex(AnnexCommand::NotifyChanges, "/a", Some("1-2")),
            ),
            ("  'true'  ", SshCommand::Nothing),
        ] {
            let command =
                command.strip_suffix("!'").map_or(command.to_owned(), |c| format!("{c}!"));
            assert_eq!(read_command(command.as_bytes()).expect(&command), expected, "{command}");
        }
        for (command, words) in [
            ("", "no command"),
            ("   ", "no command"),
            ("sh", "no shell here, and no 'sh'"),
            ("git-upload-pack", "takes the path"),
            ("git-upload-pack 'a' 'b'", "takes the path"),
            ("git-upload-pack --help", "takes the path"),
            ("git-upload-pack 'a", "not closed"),
            ("git-upload-pack \"a", "not closed"),
            ("git-upload-pack a\\", "ends in the middle"),
            ("git-upload-pack a; ls", "no shell"),
            ("git-upload-pack $(ls)", "no shell"),
            ("git-upload-pack \"`ls`\"", "no shell"),
            ("scp -t x", "and no 'scp'"),
            ("git-annex-shell", "takes a command and a repository"),
            ("git-annex-shell 'p2pstdio' '/a' '1' --uuid 2", "has no 'p2pstdio' here"),
        ] {
            let error = read_command(command.as_bytes()).expect_err(command).to_string();
            assert!(error.contains(words), "{command}: {error}");
        }
        read_command(&[b'a'; COMMAND_BYTES_MAX + 1]).expect_err("too long");
    }
}
