//! Which archives there are: two formats, compressed ones, and what a repository's configuration
//! adds (`tar.<format>.command`, git-archive(1)).

use bstr::{BStr, BString, ByteSlice as _};
use gitconfig::Config;

use crate::Error;

/// The command that stands for compression in this process.
const OWN_GZIP: &str = "git archive gzip";

/// How an archive is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Format {
    Tar,
    /// tar, compressed here.
    TarGzip,
    /// tar, handed to a command of the repository's configuration.
    TarCommand(BString),
    Zip,
}

/// The formats a client may ask for, in the order git lists them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Formats(Vec<(BString, Format)>);

struct Filter {
    name: BString,
    command: Option<BString>,
    remote: bool,
}

impl Formats {
    /// Reads what is configured; `may_run` says whether commands can be.
    pub fn of(config: &Config, may_run: bool) -> Result<Self, Error> {
        let own =
            |name: &str| Filter { name: name.into(), command: Some(OWN_GZIP.into()), remote: true };
        let mut filters = vec![own("tgz"), own("tar.gz")];
        for entry in config.entries().filter(|entry| entry.section() == "tar") {
            let Some(name) = entry.subsection() else { continue };
            let at = filters.iter().position(|filter| filter.name == name).unwrap_or_else(|| {
                filters.push(Filter { name: name.to_owned(), command: None, remote: false });
                filters.len() - 1
            });
            match entry.key() {
                "command" => filters[at].command = entry.value().map(ToOwned::to_owned),
                "remote" => {
                    let key = format!("tar.{name}.remote");
                    filters[at].remote = config.bool(&key)?.unwrap_or(false);
                }
                _ => {}
            }
        }
        let mut formats = vec![("tar".into(), Format::Tar)];
        for Filter { name, command, remote } in filters {
            match command {
                Some(command) if remote && command == OWN_GZIP => {
                    formats.push((name, Format::TarGzip));
                }
                Some(command) if remote && may_run => {
                    formats.push((name, Format::TarCommand(command)));
                }
                _ => {}
            }
        }
        formats.push(("zip".into(), Format::Zip));
        Ok(Formats(formats))
    }

    /// The format of this name, at this level of compression.
    ///
    /// # Errors
    /// In git's words.
    pub fn find(&self, name: &BStr, level: Option<u32>) -> Result<Format, String> {
        let found = self.0.iter().find(|(known, _)| known == name);
        let (_, format) = found.ok_or_else(|| format!("Unknown archive format '{name}'"))?;
        let suits = match (format, level) {
            (_, None) => true,
            (Format::Tar, Some(_)) => false,
            (Format::Zip, Some(level)) => level <= 9,
            (Format::TarGzip | Format::TarCommand(_), Some(_)) => true,
        };
        match (suits, level) {
            (false, Some(level)) => {
                Err(format!("Argument not supported for format '{name}': -{level}"))
            }
            _ => Ok(format.clone()),
        }
    }

    /// Their names, a line for each.
    pub fn list(&self) -> Vec<u8> {
        let names = self.0.iter().map(|(name, _)| name.as_bytes());
        names.flat_map(|name| [name, b"\n"].concat()).collect()
    }
}

#[cfg(test)]
mod tests {
    use gitconfig::Scope;

    use super::*;

    fn formats(settings: &[(&str, &str)], may_run: bool) -> Formats {
        let mut config = Config::empty();
        for (key, value) in settings {
            config.set(key, value.as_bytes(), Scope::Local).expect("a key");
        }
        Formats::of(&config, may_run).expect("valid")
    }

    #[test]
    fn commands_are_offered_where_the_configuration_says_so() {
        assert_eq!(formats(&[], true).list(), b"tar\ntgz\ntar.gz\nzip\n");
        let xz = [("tar.tar.xz.command", "xz -c"), ("tar.tar.xz.remote", "true")];
        assert_eq!(formats(&xz, true).list(), b"tar\ntgz\ntar.gz\ntar.xz\nzip\n");
        assert_eq!(formats(&xz, false).list(), b"tar\ntgz\ntar.gz\nzip\n");
        assert_eq!(formats(&xz[..1], true).list(), b"tar\ntgz\ntar.gz\nzip\n");
        let off = [("tar.tgz.remote", "false"), ("tar.tar.gz.command", "gzip -cn")];
        assert_eq!(formats(&off, true).list(), b"tar\ntar.gz\nzip\n");
        let found = formats(&off, true).find("tar.gz".into(), None);
        assert_eq!(found, Ok(Format::TarCommand("gzip -cn".into())));
    }

    #[test]
    fn levels_are_for_what_is_compressed() {
        let formats = formats(&[], true);
        assert_eq!(formats.find("zip".into(), Some(9)), Ok(Format::Zip));
        for (name, level) in [("tar", 1), ("zip", 10)] {
            let words = formats.find(name.into(), Some(level)).expect_err("refused");
            assert!(words.contains("Argument not supported"), "{words}");
        }
        let words = formats.find("rar".into(), None).expect_err("refused");
        assert_eq!(words, "Unknown archive format 'rar'");
    }
}
