//! The command line a client sends: options of git-archive(1), then a tree-ish and paths.

use std::str::FromStr as _;

use bstr::{BString, ByteSlice as _};

/// What somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// The names of the formats.
    List,
    /// An archive.
    Archive(Wanted),
}

/// The archive that somebody asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The format's name; `tar` unless somebody says otherwise.
    pub format: BString,
    /// What stands before every path.
    pub prefix: BString,
    /// How much work compression may be, 0 to 9 and more.
    pub level: Option<u32>,
    /// Name each file.
    pub verbose: bool,
    /// The time of all entries.
    pub time: Option<BString>,
    /// Take no attributes from the archived tree.
    pub worktree_attributes: bool,
    /// What is archived.
    pub tree_ish: BString,
    /// Which of it.
    pub paths: Vec<BString>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Opt {
    Format,
    Prefix,
    AddFile,
    AddVirtualFile,
    Output,
    WorktreeAttributes,
    Verbose,
    Time,
    List,
    Remote,
    Exec,
}

/// Options by name, and whether a value follows.
const OPTIONS: &[(&str, Opt, bool)] = &[
    ("format", Opt::Format, true),
    ("prefix", Opt::Prefix, true),
    ("add-file", Opt::AddFile, true),
    ("add-virtual-file", Opt::AddVirtualFile, true),
    ("output", Opt::Output, true),
    ("worktree-attributes", Opt::WorktreeAttributes, false),
    ("verbose", Opt::Verbose, false),
    ("mtime", Opt::Time, true),
    ("list", Opt::List, false),
    ("remote", Opt::Remote, true),
    ("exec", Opt::Exec, true),
];

const USAGE: &str = "usage: git archive [<options>] <tree-ish> [<path>...]";

/// Reads a command line.
///
/// # Errors
/// In words for whoever sent it; git's where it has any.
pub(super) fn read(words: &[BString]) -> Result<Asked, String> {
    let mut wanted = Wanted { format: "tar".into(), ..Wanted::default() };
    let mut list = false;
    let mut rest = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "--" || word == "--end-of-options" {
            rest.extend(words.cloned());
            break;
        }
        let mut value_of = |option: &str, inline: Option<&[u8]>| match inline {
            Some(value) => Ok(BString::from(value)),
            None => words.next().cloned().ok_or_else(|| format!("{option} requires a value")),
        };
        let mut set = |option: Opt, value: BString, on: bool| {
            match option {
                Opt::Format => wanted.format = if on { value } else { "tar".into() },
                Opt::Prefix => wanted.prefix = value,
                Opt::WorktreeAttributes => wanted.worktree_attributes = on,
                Opt::Verbose => wanted.verbose = on,
                Opt::Time => wanted.time = Some(value),
                Opt::List => list = on,
                _ if !on => {}
                Opt::Output => return Err("Unexpected option --output".to_owned()),
                Opt::Remote => return Err("Unexpected option --remote".to_owned()),
                Opt::Exec => return Err("the option '--exec' requires '--remote'".to_owned()),
                Opt::AddFile | Opt::AddVirtualFile => {
                    let words = "options '--add-file' and '--remote' cannot be used together";
                    return Err(words.to_owned());
                }
            }
            Ok(())
        };
        if let Some(long) = word.strip_prefix(b"--") {
            let (name, inline) = match long.split_once_str("=") {
                Some((name, value)) => (name, Some(value)),
                None => (long, None),
            };
            let (name, option, takes_value, on) = long_option(name)?;
            match (takes_value && on, inline) {
                (false, Some(_)) => return Err(format!("option `{name}' takes no value")),
                (false, None) => set(option, BString::default(), on)?,
                (true, inline) => {
                    let value = value_of(&format!("option `{name}'"), inline)?;
                    set(option, value, on)?;
                }
            }
        } else if let Some(short) = word.strip_prefix(b"-").filter(|short| !short.is_empty()) {
            if let Some(level) = short.to_str().ok().and_then(|short| u32::from_str(short).ok()) {
                wanted.level = Some(level);
                continue;
            }
            for (at, switch) in short.iter().enumerate() {
                match switch {
                    b'v' => set(Opt::Verbose, BString::default(), true)?,
                    b'l' => set(Opt::List, BString::default(), true)?,
                    b'o' => {
                        let inline = Some(&short[at + 1..]).filter(|rest| !rest.is_empty());
                        let value = value_of("switch `o'", inline)?;
                        set(Opt::Output, value, true)?;
                        break;
                    }
                    b'0'..=b'9' => wanted.level = Some(u32::from(switch - b'0')),
                    other => {
                        let shown = char::from(*other).escape_debug();
                        return Err(format!("unknown switch `{shown}'\n{USAGE}"));
                    }
                }
            }
        } else {
            rest.push(word.clone());
        }
    }
    let mut rest = rest.into_iter();
    if list {
        return match rest.next() {
            Some(extra) => Err(format!("extra command line parameter '{extra}'")),
            None => Ok(Asked::List),
        };
    }
    wanted.tree_ish = rest.next().ok_or_else(|| USAGE.to_owned())?;
    wanted.paths = rest.collect();
    Ok(Asked::Archive(wanted))
}

/// An option by its name or a beginning that no other one has, perhaps behind `no-`: its name,
/// whether it takes a value, and whether it is meant.
fn long_option(name: &[u8]) -> Result<(&'static str, Opt, bool, bool), String> {
    let unknown = || {
        let shown = name.as_bstr();
        format!("unknown option `{shown}'\n{USAGE}")
    };
    let find = |name: &[u8]| {
        let exact = OPTIONS.iter().find(|(full, ..)| full.as_bytes() == name);
        let mut like = OPTIONS.iter().filter(|(full, ..)| full.as_bytes().starts_with(name));
        let only = like.next().filter(|_| like.next().is_none() && !name.is_empty());
        exact.or(only)
    };
    if let Some((full, option, takes_value)) = find(name) {
        return Ok((full, *option, *takes_value, true));
    }
    let (full, option, takes_value) =
        name.strip_prefix(b"no-").and_then(find).ok_or_else(unknown)?;
    // There is no way back from a time.
    if *option == Opt::Time {
        return Err(unknown());
    }
    Ok((full, *option, *takes_value, false))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Result<Asked, String> {
        let words: Vec<BString> = line.split(' ').map(BString::from).collect();
        read(&words)
    }

    fn wanted(line: &str) -> Wanted {
        match words(line) {
            Ok(Asked::Archive(wanted)) => wanted,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn options_stand_anywhere_and_may_be_cut_short() {
        let all = wanted("--format=zip HEAD --prefix a/ -v9 -- --list b");
        assert_eq!((all.format, all.prefix), ("zip".into(), "a/".into()));
        assert_eq!((all.level, all.verbose), (Some(9), true));
        assert_eq!((all.tree_ish, all.paths), ("HEAD".into(), vec!["--list".into(), "b".into()]));
        let all = wanted(
            "--pre=x --verb --no-verbose --mtime=now --work -12 --format zip --no-format v1",
        );
        assert_eq!((all.prefix, all.time), ("x".into(), Some("now".into())));
        assert_eq!((all.verbose, all.worktree_attributes), (false, true));
        assert_eq!((all.level, all.format), (Some(12), "tar".into()));
        assert_eq!(words("--list"), Ok(Asked::List));
        assert_eq!(words("--list --end-of-options"), Ok(Asked::List));
        assert_eq!(words("-l"), Ok(Asked::List));
    }

    #[test]
    fn what_is_not_for_servers_is_refused_in_gits_words() {
        for (line, refusal) in [
            ("--output=x HEAD", "Unexpected option --output"),
            ("-ox HEAD", "Unexpected option --output"),
            ("--remote=x HEAD", "Unexpected option --remote"),
            ("--exec x HEAD", "'--exec' requires '--remote'"),
            ("--add-file=x HEAD", "'--add-file' and '--remote'"),
            ("--add-virtual-file=x:y HEAD", "cannot be used together"),
            ("--format", "requires a value"),
            ("--verbose=1 HEAD", "takes no value"),
            ("--what HEAD", "unknown option `what'"),
            ("--add HEAD", "unknown option `add'"),
            ("--no-mtime HEAD", "unknown option"),
            ("-x HEAD", "unknown switch `x'"),
            ("--list HEAD", "extra command line parameter 'HEAD'"),
            ("--format=tar", "usage: git archive"),
        ] {
            let error = words(line).expect_err(line);
            assert!(error.contains(refusal), "{line}: {error}");
        }
    }
}
