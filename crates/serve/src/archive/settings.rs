//! What configuration says about archives.

use bstr::BStr;
use gitconfig::Config;
use rustc_hash::FxHashMap;
use wire::Limits;

use super::attributes::Found;
use super::formats::Formats;
use crate::Error;

/// Permissions no entry of a tar archive has, unless somebody says otherwise.
const TAR_UMASK: u32 = 0o002;
/// Files of more bytes are not converted (`core.bigFileThreshold`).
const BIG_FILE_BYTES: u64 = 512 << 20;

/// The settings of a repository that archives are under.
pub(super) struct Settings {
    pub formats: Formats,
    pub allow_unreachable: bool,
    pub tar_umask: u32,
    pub big_file_bytes: u64,
    /// Files of more bytes are neither converted nor substituted.
    pub converted_bytes_max: u64,
    /// Digits of short ids at least (`core.abbrev`); `None` as many as suit the repository.
    pub abbreviate: Option<usize>,
    /// Whether what a `diff` driver is for is binary (`diff.<driver>.binary`).
    binary_drivers: FxHashMap<Vec<u8>, bool>,
}

impl Settings {
    /// Reads the settings; `is_local` says whether the repository lies in a directory, so that its
    /// owner's commands can be run.
    pub fn read(
        config: &Config,
        limits: &Limits,
        is_local: bool,
        hash_digits: usize,
    ) -> Result<Self, Error> {
        let umask = match config.string("tar.umask") {
            Some(word) if word == "user" => process_umask(),
            Some(_) => config.int("tar.umask")?.and_then(|umask| u32::try_from(umask).ok()),
            None => None,
        };
        let mut binary_drivers = FxHashMap::default();
        for driver in config.subsections("diff") {
            if let Some(binary) = config.bool(&format!("diff.{driver}.binary"))? {
                binary_drivers.insert(driver.into(), binary);
            }
        }
        Ok(Settings {
            formats: Formats::of(config, is_local)?,
            allow_unreachable: config.bool("uploadarchive.allowUnreachable")?.unwrap_or(false),
            tar_umask: umask.unwrap_or(TAR_UMASK),
            big_file_bytes: config.unsigned("core.bigFileThreshold")?.unwrap_or(BIG_FILE_BYTES),
            converted_bytes_max: limits.archive_converted_bytes_max,
            abbreviate: abbreviate(config, hash_digits)?,
            binary_drivers,
        })
    }

    /// What attributes say about whether a content is binary to `git diff`.
    pub fn is_binary(&self, found: &Found<'_>) -> Option<bool> {
        if found.is_set("diff") {
            return Some(false);
        }
        if found.is_unset("diff") {
            return Some(true);
        }
        let driver: &BStr = found.value("diff").unwrap_or("default".into());
        self.binary_drivers.get(driver.as_ref() as &[u8]).copied()
    }
}

fn abbreviate(config: &Config, hash_digits: usize) -> Result<Option<usize>, Error> {
    let Some(word) = config.string("core.abbrev") else { return Ok(None) };
    if word.eq_ignore_ascii_case(b"auto") {
        return Ok(None);
    }
    if ["no", "off", "false"].iter().any(|off| word.eq_ignore_ascii_case(off.as_bytes())) {
        return Ok(Some(hash_digits));
    }
    let digits = config.int("core.abbrev")?.and_then(|digits| usize::try_from(digits).ok());
    Ok(digits.map(|digits| digits.clamp(repository::PREFIX_DIGITS_MIN, hash_digits)))
}

/// The umask of this process, which other threads may be using: it is looked up, not set.
fn process_umask() -> Option<u32> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"))?;
    u32::from_str_radix(line.trim(), 8).ok()
}

#[cfg(test)]
mod tests {
    use gitconfig::Scope;

    use super::*;

    fn read(settings: &[(&str, &str)]) -> Settings {
        let mut config = Config::empty();
        for (key, value) in settings {
            config.set(key, value.as_bytes(), Scope::Local).expect("a key");
        }
        Settings::read(&config, &Limits::default(), true, 40).expect("valid")
    }

    #[test]
    fn umask_and_abbreviations() {
        assert_eq!((read(&[]).tar_umask, read(&[]).abbreviate), (0o002, None));
        assert_eq!(read(&[("tar.umask", "0022")]).tar_umask, 0o022);
        assert!(read(&[("tar.umask", "user")]).tar_umask <= 0o777);
        for (word, digits) in [("auto", None), ("no", Some(40)), ("12", Some(12)), ("1", Some(4))] {
            assert_eq!(read(&[("core.abbrev", word)]).abbreviate, digits, "{word}");
        }
    }
}
