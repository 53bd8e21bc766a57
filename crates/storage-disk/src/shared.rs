//! `core.sharedRepository`: who else may use the files a repository's programs write.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use gitconfig::Config;
use storage::Error;

/// What is added to, or replaces, the mode the umask leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum SharedPermissions {
    /// The umask alone decides.
    #[default]
    Umask,
    /// These bits are added (`group`: 0660, `all`: 0664).
    Add(u32),
    /// Exactly these bits (an octal number in the configuration).
    Exact(u32),
}

const SET_GROUP_ID: u32 = 0o2000;

impl SharedPermissions {
    /// Reads `core.sharedRepository` as git does: a word, a boolean, 0 to 2, or an octal mode.
    pub fn from_config(config: &Config) -> Result<Self, Error> {
        const KEY: &str = "core.sharedRepository";
        let Some(value) = config.string(KEY) else {
            return Ok(match config.bool(KEY) {
                // A key without a value means yes.
                Ok(Some(true)) => SharedPermissions::Add(0o660),
                _ => SharedPermissions::Umask,
            });
        };
        Ok(match &**value {
            b"umask" => SharedPermissions::Umask,
            b"group" => SharedPermissions::Add(0o660),
            b"all" | b"world" | b"everybody" => SharedPermissions::Add(0o664),
            digits if !digits.is_empty() && digits.iter().all(|d| (b'0'..b'8').contains(d)) => {
                Self::from_octal(digits)?
            }
            word => match gitconfig::parse_bool(Some(word)) {
                Some(true) => SharedPermissions::Add(0o660),
                _ => SharedPermissions::Umask,
            },
        })
    }

    fn from_octal(digits: &[u8]) -> Result<Self, Error> {
        let fold = |mode: u32, digit: &u8| mode.saturating_mul(8) + u32::from(digit - b'0');
        match digits.iter().fold(0, fold) {
            0 => Ok(SharedPermissions::Umask),
            1 => Ok(SharedPermissions::Add(0o660)),
            2 => Ok(SharedPermissions::Add(0o664)),
            mode if mode & 0o600 == 0o600 => Ok(SharedPermissions::Exact(mode & 0o666)),
            mode => Err(Error::corrupt(
                "core.sharedRepository",
                format!(
                    "problem with core.sharedRepository filemode value (0{mode:o}).\n\
                     The owner of files must always have read and write permissions."
                ),
            )),
        }
    }

    /// Gives `path` the bits it must have.
    pub fn adjust(self, path: &Path) -> io::Result<()> {
        if self == SharedPermissions::Umask {
            return Ok(());
        }
        let metadata = fs::symlink_metadata(path)?;
        let old = metadata.permissions().mode() & 0o7777;
        let new = self.mode(old, metadata.is_dir());
        if new != old {
            fs::set_permissions(path, Permissions::from_mode(new))?;
        }
        Ok(())
    }

    fn mode(self, old: u32, directory: bool) -> u32 {
        let (mut bits, exact) = match self {
            SharedPermissions::Umask => return old,
            SharedPermissions::Add(bits) => (bits, false),
            SharedPermissions::Exact(bits) => (bits, true),
        };
        if old & 0o200 == 0 {
            bits &= !0o222;
        }
        if old & 0o100 != 0 {
            bits |= (bits & 0o444) >> 2;
        }
        let mut new = if exact { (old & !0o777) | bits } else { old | bits };
        if directory {
            new |= (new & 0o444) >> 2;
            if new & 0o060 != 0 {
                new |= SET_GROUP_ID;
            }
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use gitconfig::Scope;

    use super::*;

    fn read(value: &str) -> SharedPermissions {
        let text = format!("[core]\nsharedRepository = {value}\n");
        let config = Config::parse(text.as_bytes(), Scope::Local, Path::new("config"));
        SharedPermissions::from_config(&config.expect("valid")).expect("valid")
    }

    #[test]
    fn words_numbers_and_modes() {
        assert_eq!(read("group"), SharedPermissions::Add(0o660));
        assert_eq!(read("1"), SharedPermissions::Add(0o660));
        assert_eq!(read("true"), SharedPermissions::Add(0o660));
        assert_eq!(read("everybody"), SharedPermissions::Add(0o664));
        assert_eq!(read("0640"), SharedPermissions::Exact(0o640));
        assert_eq!(read("umask"), SharedPermissions::Umask);
        assert_eq!(read("false"), SharedPermissions::Umask);
    }

    #[test]
    fn modes_follow_the_old_ones() {
        assert_eq!(SharedPermissions::Add(0o660).mode(0o644, false), 0o664);
        assert_eq!(SharedPermissions::Add(0o660).mode(0o444, false), 0o444);
        assert_eq!(SharedPermissions::Add(0o660).mode(0o755, true), 0o2775);
        assert_eq!(SharedPermissions::Exact(0o640).mode(0o444, false), 0o440);
        assert_eq!(SharedPermissions::Exact(0o640).mode(0o700, true), 0o2750);
    }
}
