//! `core.repositoryFormatVersion` and `extensions.*`: whether this program understands the
//! repository at all (git, `gitrepository-layout`, "repository format version").

use std::path::Path;

use bstr::{BString, ByteSlice as _};
use gitconfig::{Config, parse_bool, parse_signed};
use object::HashKind;
use storage::{Error, Result};

/// The newest repository format version that is understood.
const VERSION_MAX: i64 = 1;

/// How a repository keeps its refs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RefFormat {
    /// A file for each, and `packed-refs`.
    #[default]
    Files,
    /// A stack of reftables.
    Tables,
}

/// What a repository's own configuration says about its format.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RepositoryFormat {
    /// `core.repositoryFormatVersion`; 0 when it is not set.
    pub version: i64,
    /// `extensions.objectFormat`.
    pub hash: HashKind,
    /// `extensions.refStorage`: how refs are kept.
    pub refs: RefFormat,
    /// `extensions.worktreeConfig`: `config.worktree` is read too.
    pub worktree_config: bool,
    /// `extensions.preciousObjects`: no object may be deleted.
    pub precious_objects: bool,
    /// `extensions.relativeWorktrees`: links between work trees are relative paths.
    pub relative_worktrees: bool,
    /// `extensions.partialClone`: the remote that has the objects missing here.
    pub partial_clone: Option<BString>,
}

/// Which repositories an extension is understood in.
enum Extension {
    AnyVersion,
    VersionOne,
    Unknown,
}

impl RepositoryFormat {
    /// Reads and verifies the format from the repository's `config` file alone.
    ///
    /// # Errors
    /// [`Error::Unsupported`] in git's words, or in our own for refs kept elsewhere.
    pub fn read(local: &Config, git_dir: &Path) -> Result<Self> {
        let mut format = RepositoryFormat { version: -1, ..Self::default() };
        let (mut unknown, mut version_one) = (Vec::new(), Vec::new());
        let refuse = |detail: String| Error::Unsupported {
            what: git_dir.display().to_string(),
            detail: format!("{}: {detail}", git_dir.display()),
        };
        for entry in local.entries() {
            let value = entry.value().map(|value| value.as_bytes());
            if entry.name() == "core.repositoryformatversion" {
                format.version = parse_signed(value.unwrap_or_default(), i64::from(i32::MAX))
                    .map_err(|_| {
                        refuse(
                            "bad numeric config value for \
                                         'core.repositoryformatversion'"
                                .to_owned(),
                        )
                    })?;
            } else if entry.section() == "extensions" {
                let name = entry.name().strip_prefix(b"extensions.").unwrap_or_default();
                match format.extension(name, value).map_err(&refuse)? {
                    Extension::AnyVersion => {}
                    Extension::VersionOne => version_one.push(name.as_bstr().to_string()),
                    Extension::Unknown => unknown.push(name.as_bstr().to_string()),
                }
            }
        }
        // A repository without the setting is one from before extensions: they do not count.
        if format.version < 0 {
            return Ok(Self::default());
        }
        format.verify(&unknown, &version_one).map_err(refuse)?;
        Ok(format)
    }

    fn extension(&mut self, name: &[u8], value: Option<&[u8]>) -> Result<Extension, String> {
        let missing = || format!("missing value for 'extensions.{}'", name.as_bstr());
        let bad = |value: &[u8]| {
            format!("invalid value for 'extensions.{}': '{}'", name.as_bstr(), value.as_bstr())
        };
        let flag = || parse_bool(value).ok_or_else(|| bad(value.unwrap_or_default()));
        match name {
            b"noop" => {}
            b"preciousobjects" => self.precious_objects = flag()?,
            b"worktreeconfig" => self.worktree_config = flag()?,
            b"partialclone" => self.partial_clone = Some(value.ok_or_else(missing)?.into()),
            b"noop-v1" => return Ok(Extension::VersionOne),
            b"relativeworktrees" => {
                self.relative_worktrees = flag()?;
                return Ok(Extension::VersionOne);
            }
            b"submodulepathconfig" => {
                flag()?;
                return Ok(Extension::VersionOne);
            }
            b"objectformat" | b"compatobjectformat" => {
                let value = value.ok_or_else(missing)?;
                let hash = HashKind::from_name(value).ok_or_else(|| bad(value))?;
                if name == b"objectformat" {
                    self.hash = hash;
                }
                return Ok(Extension::VersionOne);
            }
            b"refstorage" => {
                self.refs = ref_storage(value.ok_or_else(missing)?, bad)?;
                return Ok(Extension::VersionOne);
            }
            _ => return Ok(Extension::Unknown),
        }
        Ok(Extension::AnyVersion)
    }

    fn verify(&self, unknown: &[String], version_one: &[String]) -> Result<(), String> {
        let plural = |names: &[String]| if names.len() == 1 { "" } else { "s" };
        if self.version > VERSION_MAX {
            return Err(format!(
                "Expected git repo version <= {VERSION_MAX}, found {}",
                self.version
            ));
        }
        if self.version >= 1 && !unknown.is_empty() {
            let (s, names) = (plural(unknown), unknown.join("\n\t"));
            return Err(format!("unknown repository extension{s} found:\n\t{names}"));
        }
        if self.version == 0 && !version_one.is_empty() {
            let (s, names) = (plural(version_one), version_one.join("\n\t"));
            return Err(format!("repo version is 0, but v1-only extension{s} found:\n\t{names}"));
        }
        Ok(())
    }
}

fn ref_storage(value: &[u8], bad: impl Fn(&[u8]) -> String) -> Result<RefFormat, String> {
    let (format, payload) = match value.split_once_str("://") {
        Some((format, payload)) => (format, Some(payload)),
        None => (value, None),
    };
    match (format, payload) {
        (b"files", None) => Ok(RefFormat::Files),
        (b"reftable", None) => Ok(RefFormat::Tables),
        (b"files" | b"reftable", Some(_)) => {
            Err("refs kept outside the repository (extensions.refStorage with a path) are not \
                 supported yet"
                .to_owned())
        }
        _ => Err(bad(value)),
    }
}

#[cfg(test)]
mod tests {
    use gitconfig::Scope;

    use super::*;

    fn read(text: &str) -> Result<RepositoryFormat> {
        let config = Config::parse(text.as_bytes(), Scope::Local, Path::new("config"));
        RepositoryFormat::read(&config.expect("valid text"), Path::new("r.git"))
    }

    fn refused(text: &str) -> String {
        read(text).expect_err("refused").to_string()
    }

    #[test]
    fn understands_what_git_understands() {
        let format = read("[core]\nrepositoryFormatVersion = 1\n[extensions]\nobjectFormat=sha256");
        assert_eq!(format.expect("fine").hash, HashKind::Sha256);
        let format = read(
            "[core]\nrepositoryFormatVersion = 0\n[extensions]\nnoop=1\nfoo=1\n\
                           partialClone = origin\npreciousObjects = true",
        );
        let format = format.expect("version 0 ignores unknown extensions");
        assert!(format.precious_objects);
        assert_eq!(format.partial_clone, Some("origin".into()));
        let text = "[core]\nrepositoryformatversion=1\n[extensions]\nrefStorage=reftable";
        assert_eq!(read(text).expect("fine").refs, RefFormat::Tables);
        assert_eq!(read("").expect("no settings at all"), RepositoryFormat::default());
    }

    #[test]
    fn refuses_in_gits_words() {
        assert_eq!(
            refused("[core]\nrepositoryformatversion=99"),
            "r.git: Expected git repo version <= 1, found 99"
        );
        assert_eq!(
            refused("[core]\nrepositoryformatversion=1\n[extensions]\nfoo=1\nbar=2"),
            "r.git: unknown repository extensions found:\n\tfoo\n\tbar"
        );
        assert_eq!(
            refused("[core]\nrepositoryformatversion=0\n[extensions]\nobjectformat=sha256"),
            "r.git: repo version is 0, but v1-only extension found:\n\tobjectformat"
        );
        let text = "[core]\nrepositoryformatversion=1\n[extensions]\nrefStorage=reftable:///x";
        assert!(refused(text).contains("outside the repository"));
        let text = "[core]\nrepositoryformatversion=1\n[extensions]\nobjectFormat=md5";
        assert_eq!(refused(text), "r.git: invalid value for 'extensions.objectformat': 'md5'");
    }
}
