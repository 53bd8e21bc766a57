//! The options of git-daemon(1), read as git reads them: in their order, and values behind a `=` only.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use front_git::PathSettings;
use host::Switch;

/// The port of git://.
const PORT: u16 = 9418;

/// Connections at the same time, unless something else is said; as in git.
const CONNECTIONS_MAX: usize = 32;

/// What is said about wrong options, and to whoever asks for help.
pub const USAGE: &str = "\
usage: git daemon [--verbose] [--syslog] [--export-all]
           [--timeout=<n>] [--init-timeout=<n>] [--max-connections=<n>]
           [--strict-paths] [--base-path=<path>] [--base-path-relaxed]
           [--user-path | --user-path=<path>]
           [--interpolated-path=<path>]
           [--reuseaddr] [--pid-file=<file>]
           [--(enable|disable|allow-override|forbid-override)=<service>]
           [--[no-]informative-errors] [--access-hook=<path>]
           [--inetd | [--listen=<host_or_ipaddr>] [--port=<n>]
                      [--detach] [--user=<user> [--group=<group>]]]
           [--log-destination=(stderr|syslog|none)]
           [<directory>...]";

/// Where words go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Destination {
    /// Standard error.
    Stderr,
    /// The system's log.
    Syslog,
    /// Nowhere.
    None,
}

/// What was said.
#[derive(Debug)]
pub struct Options {
    pub listen: Vec<String>,
    pub port: u16,
    pub inetd: bool,
    pub serve: bool,
    pub detach: bool,
    pub verbose: bool,
    pub destination: Destination,
    pub export_all: bool,
    /// Seconds; 0 for ever.
    pub timeout: u32,
    /// Seconds; 0 is that of `timeout`.
    pub init_timeout: u32,
    /// `None` for no bound.
    pub connections_max: Option<usize>,
    pub strict_paths: bool,
    pub paths: PathSettings,
    pub reuseaddr: bool,
    pub pid_file: Option<PathBuf>,
    pub user: Option<String>,
    pub group: Option<String>,
    pub upload_pack: Switch,
    pub receive_pack: Switch,
    pub upload_archive: Switch,
    pub informative_errors: bool,
    pub access_hook: Option<PathBuf>,
    pub directories: Vec<PathBuf>,
}

/// Why nothing is served.
#[derive(Debug, PartialEq, Eq)]
pub enum Wrong {
    /// An option that is none.
    Usage,
    /// Somebody asks which there are.
    Help,
    /// Words for whoever gave them.
    Fatal(String),
}

impl Options {
    fn new() -> Self {
        let switch = |on| Switch { on, repository_decides: true };
        Options {
            listen: Vec::new(),
            port: 0,
            inetd: false,
            serve: false,
            detach: false,
            verbose: false,
            destination: Destination::Stderr,
            export_all: false,
            timeout: 0,
            init_timeout: 0,
            connections_max: Some(CONNECTIONS_MAX),
            strict_paths: false,
            paths: PathSettings::default(),
            reuseaddr: false,
            pid_file: None,
            user: None,
            group: None,
            upload_pack: switch(true),
            receive_pack: switch(false),
            upload_archive: switch(false),
            informative_errors: false,
            access_hook: None,
            directories: Vec::new(),
        }
    }

    /// Reads arguments, without the program's name.
    ///
    /// # Errors
    /// [`Wrong`], of the first that is.
    pub fn read(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, Wrong> {
        let mut options = Options::new();
        let mut destination = None;
        let mut arguments = arguments.into_iter();
        for argument in arguments.by_ref() {
            if argument == "--" {
                break;
            }
            if !argument.as_bytes().starts_with(b"-") {
                options.directories.push(argument.into());
                break;
            }
            options.take(&argument, &mut destination)?;
        }
        options.directories.extend(arguments.map(PathBuf::from));
        let quiet = options.inetd || options.detach;
        let default = if quiet { Destination::Syslog } else { Destination::Stderr };
        options.destination = destination.unwrap_or(default);
        options.check()?;
        Ok(options)
    }

    fn take(
        &mut self,
        argument: &OsStr,
        destination: &mut Option<Destination>,
    ) -> Result<(), Wrong> {
        let bytes = argument.as_bytes();
        let at = bytes.iter().position(|byte| *byte == b'=');
        let (name, value) = bytes.split_at(at.unwrap_or(bytes.len()));
        let value = at.map(|_| OsStr::from_bytes(&value[1..]));
        let path = |value: &OsStr| Some(PathBuf::from(value));
        let text = |value: &OsStr| value.to_string_lossy().into_owned();
        match (name, value) {
            (b"--help" | b"-h", None) => return Err(Wrong::Help),
            (b"--listen", Some(host)) => self.listen.push(text(host).to_lowercase()),
            (b"--port", Some(port)) => self.port = port_number(&text(port)).ok_or(Wrong::Usage)?,
            // What git's daemon calls itself with for each connection.
            (b"--serve", None) => self.serve = true,
            (b"--inetd", None) => self.inetd = true,
            (b"--verbose", None) => self.verbose = true,
            (b"--syslog", None) => *destination = Some(Destination::Syslog),
            (b"--log-destination", Some(name)) => {
                *destination = Some(match text(name).as_str() {
                    "syslog" => Destination::Syslog,
                    "stderr" => Destination::Stderr,
                    "none" => Destination::None,
                    other => {
                        return Err(Wrong::Fatal(format!("unknown log destination '{other}'")));
                    }
                });
            }
            (b"--export-all", None) => self.export_all = true,
            (b"--access-hook", Some(hook)) => self.access_hook = path(hook),
            (b"--timeout", Some(value)) => self.timeout = seconds("timeout", &text(value))?,
            (b"--init-timeout", Some(value)) => {
                self.init_timeout = seconds("init-timeout", &text(value))?;
            }
            (b"--max-connections", Some(value)) => {
                self.connections_max = connections_max(&text(value))?;
            }
            (b"--strict-paths", None) => self.strict_paths = true,
            (b"--base-path", Some(value)) => self.paths.base_path = path(value),
            (b"--base-path-relaxed", None) => self.paths.base_path_relaxed = true,
            (b"--interpolated-path", Some(value)) => self.paths.interpolated_path = path(value),
            (b"--reuseaddr", None) => self.reuseaddr = true,
            (b"--user-path", value) => self.paths.user_path = path(value.unwrap_or_default()),
            (b"--pid-file", Some(value)) => self.pid_file = path(value),
            (b"--detach", None) => self.detach = true,
            (b"--user", Some(value)) => self.user = Some(text(value)),
            (b"--group", Some(value)) => self.group = Some(text(value)),
            (b"--enable", Some(service)) => self.service(&text(service))?.on = true,
            (b"--disable", Some(service)) => self.service(&text(service))?.on = false,
            (b"--allow-override", Some(service)) => {
                self.service(&text(service))?.repository_decides = true;
            }
            (b"--forbid-override", Some(service)) => {
                self.service(&text(service))?.repository_decides = false;
            }
            (b"--informative-errors", None) => self.informative_errors = true,
            (b"--no-informative-errors", None) => self.informative_errors = false,
            _ => return Err(Wrong::Usage),
        }
        Ok(())
    }

    fn service(&mut self, name: &str) -> Result<&mut Switch, Wrong> {
        match name {
            "upload-pack" => Ok(&mut self.upload_pack),
            "receive-pack" => Ok(&mut self.receive_pack),
            "upload-archive" => Ok(&mut self.upload_archive),
            _ => Err(Wrong::Fatal(format!("No such service {name}"))),
        }
    }

    /// What does not go together.
    fn check(&mut self) -> Result<(), Wrong> {
        let fatal = |words: String| Err(Wrong::Fatal(words));
        if self.inetd && (self.detach || self.user.is_some() || self.group.is_some()) {
            return fatal("--detach, --user and --group are incompatible with --inetd".into());
        }
        if self.inetd && (self.port != 0 || !self.listen.is_empty()) {
            return fatal("--listen= and --port= are incompatible with --inetd".into());
        }
        if self.port == 0 {
            self.port = PORT;
        }
        if self.group.is_some() && self.user.is_none() {
            return fatal("--group supplied without --user".into());
        }
        if self.strict_paths && self.directories.is_empty() {
            return fatal("option --strict-paths requires '<directory>' arguments".into());
        }
        match &self.paths.base_path {
            Some(base) if !base.is_dir() => fatal(format!(
                "base-path '{}' does not exist or is not a directory",
                base.display()
            )),
            _ => Ok(()),
        }
    }
}

/// Decimal, `0x…` or `0…`, as strtoul(3) takes it.
fn port_number(text: &str) -> Option<u16> {
    match text.strip_prefix("0x") {
        Some(digits) => u16::from_str_radix(digits, 16).ok(),
        None if text.len() > 1 && text.starts_with('0') => u16::from_str_radix(text, 8).ok(),
        None => text.parse().ok(),
    }
}

fn seconds(name: &str, text: &str) -> Result<u32, Wrong> {
    text.parse().map_err(|_| {
        Wrong::Fatal(format!("invalid {name} '{text}', expecting a non-negative integer"))
    })
}

/// Less than one is no bound.
fn connections_max(text: &str) -> Result<Option<usize>, Wrong> {
    let most: i32 = text.parse().map_err(|_| {
        Wrong::Fatal(format!("invalid max-connections '{text}', expecting an integer"))
    })?;
    Ok(usize::try_from(most).ok().filter(|most| *most > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Options, Wrong> {
        Options::read(arguments.iter().map(OsString::from))
    }

    #[test]
    fn options_as_git_reads_them() {
        let options = read(&[
            "--listen=LOCALHOST",
            "--listen=::1",
            "--port=0x10",
            "--user-path",
            "--max-connections=-3",
            "--enable=receive-pack",
            "--disable=receive-pack",
            "--forbid-override=upload-pack",
            "/a",
            "--verbose",
        ]);
        let options = options.expect("options");
        assert_eq!((options.listen, options.port), (vec!["localhost".into(), "::1".into()], 16));
        assert_eq!(options.paths.user_path, Some("".into()));
        assert_eq!((options.connections_max, options.receive_pack.on), (None, false));
        assert!(!options.upload_pack.repository_decides && !options.verbose);
        assert_eq!(options.directories, [PathBuf::from("/a"), PathBuf::from("--verbose")]);
        assert_eq!(read(&["--detach"]).expect("options").destination, Destination::Syslog);
        assert_eq!(read(&["--port=0", "--"]).expect("options").port, 9418);
    }

    #[test]
    fn what_is_wrong_is_said_in_gits_words() {
        for (argument, words) in [
            ("--timeout=3a", "invalid timeout '3a', expecting a non-negative integer"),
            ("--init-timeout=-3", "invalid init-timeout '-3', expecting a non-negative integer"),
            ("--max-connections=3a", "invalid max-connections '3a', expecting an integer"),
            ("--enable=x", "No such service x"),
            ("--strict-paths", "option --strict-paths requires '<directory>' arguments"),
            ("--group=x", "--group supplied without --user"),
            ("--log-destination=x", "unknown log destination 'x'"),
            ("--base-path=/none", "base-path '/none' does not exist or is not a directory"),
        ] {
            assert_eq!(read(&[argument]).expect_err(argument), Wrong::Fatal(words.to_owned()));
        }
        for argument in ["--no-such", "-x", "--port=x", "--port", "--verbose=1", "--listen"] {
            assert_eq!(read(&[argument]).expect_err(argument), Wrong::Usage);
        }
        read(&["--inetd", "--port=1"]).expect_err("one or the other");
        read(&["--inetd", "--detach"]).expect_err("one or the other");
    }
}
