//! Names that some file system takes for `.git` or for a file git reads from a work tree:
//! HFS+ ignores case and some invisible characters; NTFS ignores case and trailing spaces and
//! periods, knows streams behind `:`, and short names like `GIT~1`.

use bstr::{BStr, ByteSlice as _};

/// A file git reads from a work tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dotfile {
    Modules,
    Attributes,
    Ignore,
    Mailmap,
}

impl Dotfile {
    /// The name without its dot.
    const fn name(self) -> &'static [u8] {
        match self {
            Dotfile::Modules => b"gitmodules",
            Dotfile::Attributes => b"gitattributes",
            Dotfile::Ignore => b"gitignore",
            Dotfile::Mailmap => b"mailmap",
        }
    }

    /// What NTFS makes short names of when `~1` to `~4` are taken: two letters and a hash.
    const fn short_prefix(self) -> &'static [u8; 6] {
        match self {
            Dotfile::Modules => b"gi7eba",
            Dotfile::Attributes => b"gi7d29",
            Dotfile::Ignore => b"gi250a",
            Dotfile::Mailmap => b"maba30",
        }
    }
}

/// Whether any of the other questions can be answered with yes; spares nearly every entry.
#[inline]
pub(super) fn may_be_one(name: &BStr) -> bool {
    // 0xe2 and 0xef begin the characters that HFS+ ignores.
    matches!(name.first(), Some(b'.' | b'g' | b'G' | b'm' | b'M' | b'~' | 0xe2 | 0xef))
}

/// Whether the name is `.git`.
pub(super) fn is_git(name: &BStr) -> bool {
    is_hfs_name(name, b"git") || is_ntfs_git(name)
}

/// Whether HFS+ takes the name for the file.
pub(super) fn is_hfs(name: &BStr, file: Dotfile) -> bool {
    is_hfs_name(name, file.name())
}

fn is_hfs_name(name: &[u8], wanted: &[u8]) -> bool {
    let mut rest = name;
    if next_hfs(&mut rest) != u32::from(b'.') {
        return false;
    }
    for &letter in wanted {
        match u8::try_from(next_hfs(&mut rest)) {
            Ok(byte) if byte.to_ascii_lowercase() == letter => {}
            _ => return false,
        }
    }
    matches!(next_hfs(&mut rest), 0 | 0x2f)
}

/// The next character HFS+ heeds; 0 at the end and for what is not UTF-8.
fn next_hfs(rest: &mut &[u8]) -> u32 {
    loop {
        let (character, bytes) = bstr::decode_utf8(*rest);
        *rest = &rest[bytes..];
        match character.map_or(0, u32::from) {
            0x200c..=0x200f | 0x202a..=0x202e | 0x206a..=0x206f | 0xfeff => {}
            0xfffe | 0xffff => return 0,
            heeded => return heeded,
        }
    }
}

/// Whether NTFS takes the name for `.git`, or for something in it.
pub(super) fn is_ntfs_git(name: &BStr) -> bool {
    let rest = match name.get(..4) {
        Some(start) if start.eq_ignore_ascii_case(b".git") => &name[4..],
        Some(start) if start.eq_ignore_ascii_case(b"git~") && name.get(4) == Some(&b'1') => {
            &name[5..]
        }
        _ => return false,
    };
    match rest.find_not_byteset(b". ") {
        None => true,
        Some(end) => matches!(rest[end], b'/' | b'\\' | b':'),
    }
}

/// Whether NTFS takes the name for the file.
pub(super) fn is_ntfs(name: &BStr, file: Dotfile) -> bool {
    let wanted = file.name();
    let starts = |name: &[u8], wanted: &[u8]| {
        name.get(..wanted.len()).is_some_and(|start| start.eq_ignore_ascii_case(wanted))
    };
    if name.first() == Some(&b'.') && starts(&name[1..], wanted) {
        return is_ntfs_end(&name[1 + wanted.len()..]);
    }
    // "GITMOD~1" to "GITMOD~4".
    if starts(name, &wanted[..6]) && matches!(&name.as_bytes()[6..], [b'~', b'1'..=b'4', ..]) {
        return is_ntfs_end(&name[8..]);
    }
    is_ntfs_hashed(name, file.short_prefix()) && is_ntfs_end(&name[8..])
}

/// Nothing but spaces and periods up to the end or a stream.
fn is_ntfs_end(rest: &[u8]) -> bool {
    rest.find_not_byteset(b" .").is_none_or(|end| rest[end] == b':')
}

/// Whether eight bytes are some start of the prefix, a tilde and a number.
fn is_ntfs_hashed(name: &[u8], prefix: &[u8; 6]) -> bool {
    let Some(name) = name.get(..8) else { return false };
    let Some(tilde) = name.find_byte(b'~') else { return false };
    let (start, number) = (&name[..tilde], &name[tilde + 1..]);
    prefix.get(..tilde).is_some_and(|prefix| start.eq_ignore_ascii_case(prefix))
        && matches!(number.first(), Some(b'1'..=b'9'))
        && number.iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_git_in_every_spelling() {
        for name in [
            ".git",
            ".GIT",
            ".gIt...",
            ".git ",
            ".git:stream",
            "git~1",
            "GIT~1. ",
            ".git\\x",
            ".g\u{200c}it",
            "\u{feff}.git",
            ".Git\u{206f}",
            ".git/x",
        ] {
            assert!(may_be_one(name.into()) && is_git(name.into()), "{name:?}");
        }
        for name in [".gitx", "git", "git~2", ".gi", "g\u{200c}it", ".git.x", "agit~1", ""] {
            assert!(!is_git(name.into()), "{name:?}");
        }
        assert!(is_git(b".git\xff".as_bstr()), "what is not UTF-8 ends a name");
    }

    #[test]
    fn knows_short_names() {
        for name in [
            ".gitmodules",
            ".GITMODULES . ",
            "gitmod~1",
            "GITMOD~4",
            "gi7eba~1",
            "GI7EB~10",
            "gi7eba~9",
            "~1000000",
            "gi~12345",
            ".gitmodules:x",
            "gitmod~1 .",
        ] {
            assert!(may_be_one(name.into()) && is_ntfs(name.into(), Dotfile::Modules), "{name:?}");
        }
        for name in [
            ".gitmodules,",
            "gitmod~5",
            "gitmod~10",
            "gi7eba~0",
            "gi7ebb~1",
            "gi7eba",
            "gitmodu",
            "gi7eba~1x",
            "gi7d29~1",
            "~0000000",
        ] {
            assert!(!is_ntfs(name.into(), Dotfile::Modules), "{name:?}");
        }
    }
}
