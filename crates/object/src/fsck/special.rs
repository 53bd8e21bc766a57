//! Blobs that git itself reads: `.gitmodules` and `.gitattributes`.
//!
//! Trees name them; their content is checked once everything has arrived. What configuration
//! text means is told by the caller ([`ReadConfig`]).

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use bstr::{BStr, ByteSlice as _};

use super::{Finding, FsckOptions, MsgId, Report, submodule};
use crate::ObjectId;

/// The longest `.gitattributes` file that git reads, in bytes.
pub const ATTRIBUTES_BYTES_MAX: usize = 100 << 20;

/// A line of `.gitattributes` has to be shorter than this, in bytes.
pub const ATTRIBUTES_LINE_BYTES_MAX: usize = 2048;

/// Reads configuration text: hands every name (`section.subsection.key`, section and key in lower
/// case) and value on in order, and says whether the text kept to the grammar to its end.
pub type ReadConfig<'r> = dyn FnMut(&[u8], &mut dyn FnMut(&BStr, Option<&BStr>)) -> bool + 'r;

/// What a blob is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SpecialUse {
    /// `.gitmodules`.
    Modules,
    /// `.gitattributes`.
    Attributes,
}

impl SpecialUse {
    const fn file(self) -> &'static str {
        match self {
            SpecialUse::Modules => ".gitmodules",
            SpecialUse::Attributes => ".gitattributes",
        }
    }
}

/// The blobs that trees name as special files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpecialFiles {
    found: BTreeSet<(SpecialUse, ObjectId)>,
}

impl SpecialFiles {
    /// Notes a blob.
    pub fn insert(&mut self, id: ObjectId, used_as: SpecialUse) {
        self.found.insert((used_as, id));
    }

    /// Takes in what was found elsewhere, by another thread for instance.
    pub fn merge(&mut self, mut other: SpecialFiles) {
        self.found.append(&mut other.found);
    }

    /// Whether there is nothing to check.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Every blob and what it is read as, `.gitmodules` first.
    pub fn iter(&self) -> impl Iterator<Item = (ObjectId, SpecialUse)> {
        self.found.iter().map(|&(used_as, id)| (id, used_as))
    }
}

/// What became of a special file when it was looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpecialBlob<B> {
    /// Its content.
    Content(B),
    /// It is too large to be read.
    TooLarge,
    /// The object is no blob.
    NotABlob,
    /// There is no such object.
    Missing,
    /// There is no such object, and it is promised by somebody else (partial clone).
    Promised,
}

/// Checks every special file. `read` looks a blob up; `found` hears what is wrong with which.
///
/// # Errors
/// The first one of `read`.
pub fn fsck_special_files<B: AsRef<[u8]>, E>(
    special: &SpecialFiles,
    options: &FsckOptions,
    read: &mut dyn FnMut(&ObjectId) -> Result<SpecialBlob<B>, E>,
    read_config: &mut ReadConfig<'_>,
    found: &mut dyn FnMut(&ObjectId, Finding),
) -> Result<(), E> {
    for (id, used_as) in special.iter() {
        let blob = read(&id)?;
        fsck_special_blob(&id, used_as, &blob, options, read_config, &mut |finding| {
            found(&id, finding);
        });
    }
    Ok(())
}

/// Checks one special file.
pub fn fsck_special_blob<B: AsRef<[u8]>>(
    id: &ObjectId,
    used_as: SpecialUse,
    blob: &SpecialBlob<B>,
    options: &FsckOptions,
    read_config: &mut ReadConfig<'_>,
    found: &mut dyn FnMut(Finding),
) {
    let mut report = Report::new(id, options, found);
    let file = used_as.file();
    let by_use = |modules, attributes| match used_as {
        SpecialUse::Modules => modules,
        SpecialUse::Attributes => attributes,
    };
    // Nothing follows a complaint that could be broken off.
    let _said = match blob {
        SpecialBlob::Content(bytes) => match used_as {
            SpecialUse::Modules => check_modules(bytes.as_ref(), read_config, &mut report),
            SpecialUse::Attributes => check_attributes(bytes.as_ref(), &mut report),
        },
        SpecialBlob::TooLarge => report.say(
            by_use(MsgId::GitmodulesLarge, MsgId::GitattributesLarge),
            format!("{file} too large to parse"),
        ),
        SpecialBlob::NotABlob => report.say(
            by_use(MsgId::GitmodulesBlob, MsgId::GitattributesBlob),
            format!("non-blob found at {file}"),
        ),
        SpecialBlob::Missing => report.say(
            by_use(MsgId::GitmodulesMissing, MsgId::GitattributesMissing),
            format!("unable to read {file} blob"),
        ),
        SpecialBlob::Promised => ControlFlow::Continue(()),
    };
}

fn check_modules(
    bytes: &[u8],
    read_config: &mut ReadConfig<'_>,
    report: &mut Report<'_>,
) -> ControlFlow<()> {
    let whole = read_config(bytes, &mut |name, value| {
        if let Some((submodule, key)) = submodule_key(name) {
            check_setting(submodule, key, value, report);
        }
    });
    if !whole {
        report.say(MsgId::GitmodulesParse, "could not parse gitmodules blob")?;
    }
    ControlFlow::Continue(())
}

/// The submodule and the key of `submodule.<name>.<key>`.
fn submodule_key(name: &BStr) -> Option<(&BStr, &[u8])> {
    let rest = name.strip_prefix(b"submodule.")?;
    let dot = rest.rfind_byte(b'.')?;
    Some((rest[..dot].as_bstr(), &rest[dot + 1..]))
}

/// Every complaint about a setting is made; none of them ends the checks.
fn check_setting(name: &BStr, key: &[u8], value: Option<&BStr>, report: &mut Report<'_>) {
    let mut say = |id, what, text: &BStr| {
        let _said = report.say(id, format!("disallowed submodule {what}: {text}"));
    };
    if !submodule::is_safe_name(name) {
        say(MsgId::GitmodulesName, "name", name);
    }
    let Some(value) = value else { return };
    match key {
        b"url" if !submodule::is_safe_url(value) => say(MsgId::GitmodulesUrl, "url", value),
        b"path" if submodule::looks_like_option(value) => {
            say(MsgId::GitmodulesPath, "path", value);
        }
        b"update" if value.starts_with(b"!") => {
            say(MsgId::GitmodulesUpdate, "update setting", value);
        }
        _ => {}
    }
}

fn check_attributes(bytes: &[u8], report: &mut Report<'_>) -> ControlFlow<()> {
    if bytes.len() > ATTRIBUTES_BYTES_MAX {
        let message = ".gitattributes too large to parse";
        return report.say(MsgId::GitattributesLarge, message);
    }
    // Git reads the file as a C string.
    let text = bytes.find_byte(0).map_or(bytes, |end| &bytes[..end]);
    let too_long = |line: &[u8]| line.len() >= ATTRIBUTES_LINE_BYTES_MAX;
    if text.split(|&byte| byte == b'\n').any(too_long) {
        let message = ".gitattributes has too long lines to parse";
        report.say(MsgId::GitattributesLineLength, message)?;
    }
    ControlFlow::Continue(())
}
