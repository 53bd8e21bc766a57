//! The checks on trees: names no work tree should see, modes, order, duplicates.

use std::ops::ControlFlow;

use bstr::ByteSlice as _;

use super::{MsgId, Report, SpecialFiles, SpecialUse, dotfile};
use crate::{EntryMode, HashKind, TreeEntry, TreeIter};

/// What some entry of the tree is guilty of; said once per tree.
#[derive(Default)]
struct Faults {
    null_id: bool,
    full_path: bool,
    dot: bool,
    dot_dot: bool,
    dot_git: bool,
    zero_padded: bool,
    bad_mode: bool,
    duplicate: bool,
    unsorted: bool,
    large_name: bool,
}

pub(super) fn check(
    bytes: &[u8],
    hash: HashKind,
    report: &mut Report<'_>,
    special: &mut SpecialFiles,
) -> ControlFlow<()> {
    let mut faults = Faults::default();
    let mut order = Order::default();
    let mut rest = bytes;
    let mut next = take_entry(&mut rest, hash);
    // Every complaint about a tree is made; none of them ends the checks.
    while let Some(entry) = next {
        let Ok((entry, zero_padded)) = entry else {
            let _said = report.say(MsgId::BadTree, "cannot be parsed as a tree");
            break;
        };
        faults.zero_padded |= zero_padded;
        check_name(&entry, hash, &mut faults, report, special);
        next = take_entry(&mut rest, hash);
        // Git reads ahead, and leaves mode and order of the last readable entry alone.
        if !matches!(next, Some(Err(_))) {
            faults.bad_mode |= is_bad_mode(entry.mode, report.options.is_strict());
            order.check(&entry, &mut faults);
        }
    }
    faults.say(report);
    ControlFlow::Continue(())
}

/// The next entry and whether its mode begins with a zero.
///
/// Git first looks whether the tree can end with an id, so that a tree cut short is broken from
/// its first entry on.
fn take_entry<'a>(
    rest: &mut &'a [u8],
    hash: HashKind,
) -> Option<Result<(TreeEntry<'a>, bool), Broken>> {
    let bytes = *rest;
    if bytes.is_empty() {
        return None;
    }
    if bytes.len() < hash.len() + 3 || bytes[bytes.len() - hash.len() - 1] != 0 {
        return Some(Err(Broken));
    }
    let mut entries = TreeIter::new(bytes, hash);
    let entry = entries.next()?.map_err(|_| Broken);
    *rest = entries.remaining();
    Some(entry.map(|entry| (entry, bytes[0] == b'0')))
}

/// The tree cannot be read from here on.
struct Broken;

fn check_name(
    entry: &TreeEntry<'_>,
    hash: HashKind,
    faults: &mut Faults,
    report: &mut Report<'_>,
    special: &mut SpecialFiles,
) {
    let name = entry.name;
    faults.null_id |= entry.id.iter().all(|&byte| byte == 0);
    faults.full_path |= name.contains(&b'/');
    faults.dot |= name == ".";
    faults.dot_dot |= name == "..";
    faults.large_name |= name.len() as u64 > report.options.name_bytes_max;
    if dotfile::may_be_one(name) {
        faults.dot_git |= dotfile::is_git(name);
        check_dotfile(entry, hash, report, special);
    }
    // On Windows a backslash parts directories.
    for backslash in memchr::memchr_iter(b'\\', name) {
        let below = name[backslash + 1..].as_bstr();
        faults.dot_git |= dotfile::is_ntfs_git(below);
        if dotfile::is_ntfs(below, dotfile::Dotfile::Modules) {
            note_modules(entry, hash, report, special);
        }
    }
}

/// Notes and checks the files git itself reads from a work tree.
fn check_dotfile(
    entry: &TreeEntry<'_>,
    hash: HashKind,
    report: &mut Report<'_>,
    special: &mut SpecialFiles,
) {
    use dotfile::Dotfile;
    let is = |file| dotfile::is_hfs(entry.name, file) || dotfile::is_ntfs(entry.name, file);
    let link = entry.mode.is_symlink();
    if is(Dotfile::Modules) {
        note_modules(entry, hash, report, special);
    }
    if is(Dotfile::Attributes) {
        if link {
            let _said = report.say(MsgId::GitattributesSymlink, ".gitattributes is a symlink");
        } else {
            special.insert(entry.oid(hash), SpecialUse::Attributes);
        }
    }
    if link && is(Dotfile::Ignore) {
        let _said = report.say(MsgId::GitignoreSymlink, ".gitignore is a symlink");
    }
    if link && is(Dotfile::Mailmap) {
        let _said = report.say(MsgId::MailmapSymlink, ".mailmap is a symlink");
    }
}

fn note_modules(
    entry: &TreeEntry<'_>,
    hash: HashKind,
    report: &mut Report<'_>,
    special: &mut SpecialFiles,
) {
    if entry.mode.is_symlink() {
        let _said = report.say(MsgId::GitmodulesSymlink, ".gitmodules is a symbolic link");
    } else {
        special.insert(entry.oid(hash), SpecialUse::Modules);
    }
}

fn is_bad_mode(mode: EntryMode, strict: bool) -> bool {
    // Early versions of git kept the group's permission.
    const GROUP_WRITABLE: EntryMode = EntryMode(0o100_664);
    match mode {
        EntryMode::FILE
        | EntryMode::EXECUTABLE
        | EntryMode::SYMLINK
        | EntryMode::TREE
        | EntryMode::SUBMODULE => false,
        GROUP_WRITABLE => strict,
        _ => true,
    }
}

/// Watches the order of the entries: by name, where a directory's name ends with a `/`.
#[derive(Default)]
struct Order<'a> {
    previous: Option<(EntryMode, &'a [u8])>,
    // Files whose names a later directory may repeat: between "foo" and "foo/" sort "foo.bar"
    // and whatever else goes on with a byte below '/'.
    candidates: Vec<&'a [u8]>,
}

impl<'a> Order<'a> {
    fn check(&mut self, entry: &TreeEntry<'a>, faults: &mut Faults) {
        let name: &[u8] = entry.name;
        let Some((previous_mode, previous)) = self.previous.replace((entry.mode, name)) else {
            return;
        };
        let common = previous.len().min(name.len());
        match previous[..common].cmp(&name[..common]) {
            std::cmp::Ordering::Less => return,
            std::cmp::Ordering::Greater => {
                faults.unsorted = true;
                return;
            }
            std::cmp::Ordering::Equal => {}
        }
        if previous.len() == name.len() {
            faults.duplicate = true;
            return;
        }
        let first = byte_or_end(previous, common, previous_mode);
        let second = byte_or_end(name, common, entry.mode);
        if first == 0 && is_below_slash(second) {
            self.candidates.push(previous);
        } else if second == b'/' && is_below_slash(first) && self.is_candidate(name) {
            faults.duplicate = true;
            return;
        }
        faults.unsorted |= first >= second;
    }

    /// Whether a directory's name was that of a file before; forgets the files it passes.
    fn is_candidate(&mut self, directory: &[u8]) -> bool {
        while let Some(file) = self.candidates.pop() {
            match directory.strip_prefix(file) {
                Some([]) => return true,
                Some([next, ..]) if is_below_slash(*next) => {
                    self.candidates.push(file);
                    return false;
                }
                _ => {}
            }
        }
        false
    }
}

fn byte_or_end(name: &[u8], at: usize, mode: EntryMode) -> u8 {
    match name.get(at) {
        Some(byte) => *byte,
        None if mode.is_tree() => b'/',
        None => 0,
    }
}

fn is_below_slash(byte: u8) -> bool {
    0 < byte && byte < b'/'
}

impl Faults {
    fn say(&self, report: &mut Report<'_>) {
        let faults = [
            (self.null_id, MsgId::NullSha1, "contains entries pointing to null sha1"),
            (self.full_path, MsgId::FullPathname, "contains full pathnames"),
            (self.dot, MsgId::HasDot, "contains '.'"),
            (self.dot_dot, MsgId::HasDotdot, "contains '..'"),
            (self.dot_git, MsgId::HasDotgit, "contains '.git'"),
            (self.zero_padded, MsgId::ZeroPaddedFilemode, "contains zero-padded file modes"),
            (self.bad_mode, MsgId::BadFilemode, "contains bad file modes"),
            (self.duplicate, MsgId::DuplicateEntries, "contains duplicate file entries"),
            (self.unsorted, MsgId::TreeNotSorted, "not properly sorted"),
            (self.large_name, MsgId::LargePathname, "contains excessively large pathname"),
        ];
        for (guilty, id, message) in faults {
            if guilty {
                let _said = report.say(id, message);
            }
        }
    }
}
