//! Settings and attributes under which a file's bytes differ from its blob's. Contents are
//! written here as they are, so that work trees with such files are refused.
//!
//! `text` and its like are no obstacle: without `core.autocrlf` and `eol=crlf` they change
//! nothing that is checked out.

use std::collections::BTreeSet;
use std::io::Read as _;

use bstr::{BString, ByteSlice as _};
use gitconfig::Config;

use super::listing::Listing;
use super::work_root::{WorkRoot, above};
use super::{Refused, Site, blob};

/// The largest attributes file that is read, in bytes.
const ATTRIBUTES_BYTES_MAX: u64 = 1 << 20;
/// The name of the files in the work tree.
const FILE_NAME: &str = ".gitattributes";

/// Looks at the settings.
pub(super) fn check_config(config: &Config) -> Result<(), Refused> {
    let word = |key: &str| config.string(key).map(|value| value.to_ascii_lowercase());
    let on = |key: &str, default: bool| config.bool(key).ok().flatten().unwrap_or(default);
    let obstacle = if word("core.autocrlf").is_some_and(|word| word == b"input")
        || on("core.autocrlf", false)
    {
        "core.autocrlf"
    } else if word("core.eol").is_some_and(|word| word == b"crlf") {
        "core.eol = crlf"
    } else if on("core.sparseCheckout", false) {
        "core.sparseCheckout"
    } else if on("core.ignoreCase", false) {
        "core.ignoreCase"
    } else if !on("core.symlinks", true) {
        "core.symlinks = false"
    } else {
        return Ok(());
    };
    Err(unsupported(obstacle))
}

fn unsupported(what: &str) -> Refused {
    let words = format!("updateInstead does not support {what}; use a push-to-checkout hook");
    Refused::not_updated(words)
}

/// Looks at the attributes of all files, wherever they are written down.
pub(super) fn check_files(
    site: &Site<'_>,
    root: &WorkRoot,
    listings: &[&Listing],
) -> Result<(), Refused> {
    for file in &site.attribute_files {
        let text = match std::fs::File::open(file) {
            Ok(open) => read(open).map_err(Refused::io(file))?,
            Err(_) => continue,
        };
        check_text(site.config, &text, &file.display().to_string())?;
    }
    let mut directories: BTreeSet<BString> = BTreeSet::from([BString::default()]);
    for listing in listings {
        for file in &listing.files {
            directories.extend(above(file.path.as_ref()).map(|path| path.to_owned()));
            let is_attributes = file.path.rsplit_str("/").next() == Some(FILE_NAME.as_bytes());
            if is_attributes && file.mode.is_blob() && !file.mode.is_symlink() {
                check_text(site.config, &blob(site.objects, &file.id)?, &file.path.to_string())?;
            }
        }
    }
    // Files nobody tracks count, too.
    for mut path in directories {
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(FILE_NAME.as_bytes());
        let failed = |error| Refused::not_updated(format!("{path}: {error}"));
        if let Some(file) = root.file(path.as_ref()).map_err(failed)? {
            check_text(site.config, &read(file).map_err(failed)?, &path.to_string())?;
        }
    }
    Ok(())
}

fn read(file: std::fs::File) -> std::io::Result<Vec<u8>> {
    let mut text = Vec::new();
    file.take(ATTRIBUTES_BYTES_MAX + 1).read_to_end(&mut text)?;
    Ok(text)
}

/// Looks for attributes that change contents. Which files they are for does not matter.
fn check_text(config: &Config, text: &[u8], shown: &str) -> Result<(), Refused> {
    if text.len() as u64 > ATTRIBUTES_BYTES_MAX {
        return Err(unsupported(&format!("attributes of this size ({shown})")));
    }
    for line in text.lines().map(|line| line.trim_start()) {
        if line.starts_with(b"#") {
            continue;
        }
        // The first word is a pattern; where a quoted one has blanks, the rest of it is taken
        // for attributes: at worst that refuses too much.
        for word in line.fields().skip(1) {
            if changes_content(config, word) {
                return Err(unsupported(&format!("the attribute '{}' ({shown})", word.as_bstr())));
            }
        }
    }
    Ok(())
}

fn changes_content(config: &Config, word: &[u8]) -> bool {
    let (name, value) = word.split_once_str("=").unwrap_or((word, b""));
    match name {
        b"ident" | b"working-tree-encoding" => true,
        b"eol" => value == b"crlf",
        // Without a driver by that name nothing happens.
        b"filter" => config.subsections("filter").iter().any(|driver| *driver == value),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use gitconfig::Scope;

    use super::*;

    #[test]
    fn only_what_changes_bytes_is_an_obstacle() {
        let mut config = Config::empty();
        config.set("filter.lfs.smudge", b"x", Scope::Local).expect("a key");
        let check = |text: &str| check_text(&config, text.as_bytes(), "file").is_ok();
        assert!(check("* text=auto\n*.png binary -text\n# * ident\n*.sh eol=lf\n"));
        assert!(check("*.bin filter=unknown -ident !eol\n"));
        for text in ["* ident", "  a\teol=crlf", "*.bin -text filter=lfs", "[attr]x ident"] {
            assert!(!check(text), "{text}");
        }
        assert!(!check("*.txt text working-tree-encoding=UTF-16\n"));
    }

    #[test]
    fn settings_that_change_bytes_are_named() {
        let mut config = Config::empty();
        assert!(check_config(&config).is_ok());
        config.set("core.autocrlf", b"input", Scope::Local).expect("a key");
        let refused = check_config(&config).expect_err("an obstacle");
        assert!(refused.words.contains("core.autocrlf"), "{}", refused.words);
    }
}
