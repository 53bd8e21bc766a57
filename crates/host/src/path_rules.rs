//! Which repositories of this machine a program serves that takes paths, as git's own programs do.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use storage_disk::{Discovered, OwnerContext};

use crate::{Refusal, Variable};

/// The file by which somebody says that a repository may be served (git-daemon(1)).
const EXPORT_FILE: &str = "git-daemon-export-ok";

/// Which repositories are served, by their paths.
#[derive(Debug, Clone, Default)]
pub struct PathRules {
    /// A path is taken as it is, without guesses about `.git`; and it has to be one of `directories`,
    /// if those are asked.
    pub strict: bool,
    /// Whose repositories are served; without, nobody asks: nothing in them is run or changed then.
    pub owner: Option<OwnerContext>,
    /// Only repositories in which there is a file `git-daemon-export-ok`.
    pub exported_only: bool,
    /// Only what lies in these directories; none are all.
    pub directories: Vec<PathBuf>,
}

impl PathRules {
    /// Whether a repository that was found may be served.
    pub(crate) fn check(&self, found: &Discovered) -> Result<(), Refusal> {
        let path = self.path_of(found);
        if !self.lists(path) {
            return Err(Refusal::NotListed { path: path.display().to_string() });
        }
        if self.exported_only && !found.git_dir.join(EXPORT_FILE).exists() {
            return Err(Refusal::NotExported { path: path.display().to_string() });
        }
        Ok(())
    }

    /// The path by which a repository is in a list: where the client's path led, before a `.git` file is
    /// followed, unless paths are strict.
    pub(crate) fn path_of<'a>(&self, found: &'a Discovered) -> &'a Path {
        match &found.gitfile {
            Some(gitfile) if self.strict => gitfile,
            _ => &found.entered,
        }
    }

    /// Compared byte by byte, as git does: symbolic links on the way are the administrator's.
    fn lists(&self, path: &Path) -> bool {
        let path = path.as_os_str().as_bytes();
        let covers = |directory: &PathBuf| match path.strip_prefix(directory.as_os_str().as_bytes())
        {
            Some(rest) => rest.is_empty() || (!self.strict && rest.starts_with(b"/")),
            None => false,
        };
        self.directories.is_empty() || self.directories.iter().any(covers)
    }
}

/// Whether a path that came over the network could mean another place than it says: it does not begin with `/`
/// or `~`, or a part of it is empty, `.` or `..`. One slash at the end is fine.
pub fn is_aliased(path: &[u8]) -> bool {
    if !matches!(path.first(), Some(b'/' | b'~')) {
        return true;
    }
    let mut parts = path[1..].split(|byte| *byte == b'/').peekable();
    while let Some(part) = parts.next() {
        let is_last = parts.peek().is_none();
        let suspect = match part {
            b"" => !is_last,
            part => part == b"." || part == b"..",
        };
        if suspect {
            return true;
        }
    }
    false
}

/// What the check of a repository's owner needs to know of a process with these variables.
pub(crate) fn owner_context(variable: &Variable) -> OwnerContext {
    let is_true = |value: std::ffi::OsString| {
        !matches!(value.as_encoded_bytes(), b"" | b"0" | b"false" | b"no")
    };
    OwnerContext {
        assume_different_owner: variable("GIT_TEST_ASSUME_DIFFERENT_OWNER").is_some_and(is_true),
        sudo_uid: variable("SUDO_UID").and_then(|uid| uid.to_str()?.parse().ok()),
        home: variable("HOME").map(PathBuf::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_could_mean_another_place() {
        for bad in [
            "", "a", "../a", "./a", "//a", "/a//b", "/..", "/.", "/a/..", "/a/../b", "/a/./b",
            "/a//", "~/../a", "~/.", "\\..\\a", " /a",
        ] {
            assert!(is_aliased(bad.as_bytes()), "{bad:?}");
        }
        for good in
            ["/", "/a", "/a/", "/a/b.git", "~a/b", "~", "/...", "/a/.git", "/..a/b..", "/.../x"]
        {
            assert!(!is_aliased(good.as_bytes()), "{good:?}");
        }
    }

    #[test]
    fn directories_are_whole_names() {
        let mut rules = PathRules { directories: vec!["/srv/git".into()], ..PathRules::default() };
        for (path, listed, strictly) in [
            ("/srv/git", true, true),
            ("/srv/git/a.git", true, false),
            ("/srv/gitty", false, false),
            ("/srv", false, false),
        ] {
            rules.strict = false;
            assert_eq!(rules.lists(Path::new(path)), listed, "{path}");
            rules.strict = true;
            assert_eq!(rules.lists(Path::new(path)), strictly, "{path}");
        }
        rules.directories.clear();
        assert!(rules.lists(Path::new("/anything")));
    }
}
