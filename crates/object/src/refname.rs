//! Names of refs: the rules of `git check-ref-format`, and a type that says they hold.

use std::fmt;
use std::ops::Deref;

use bstr::{BStr, BString, ByteSlice as _};

/// Why a name cannot be a ref's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RefNameError {
    /// Nothing, or nothing before, between or behind a `/`.
    #[error("a component of the ref name is empty")]
    EmptyComponent,
    /// A component begins with `.`.
    #[error("a component of the ref name begins with '.'")]
    LeadingDot,
    /// A component ends with `.lock`.
    #[error("a component of the ref name ends with '.lock'")]
    LockSuffix,
    /// `..` appears.
    #[error("the ref name contains '..'")]
    DoubleDot,
    /// `@{{` appears.
    #[error("the ref name contains '@{{'")]
    AtBrace,
    /// The name is a single `@`.
    #[error("the ref name is '@'")]
    OnlyAt,
    /// The name ends with `.`.
    #[error("the ref name ends with '.'")]
    TrailingDot,
    /// A control character, a space, or one of `~^:?*[\`.
    #[error("the ref name contains the forbidden byte {0:#04x}")]
    Forbidden(u8),
    /// A single component where at least two are needed.
    #[error("the ref name has only one component")]
    OneLevel,
    /// Neither below `refs/` nor in capitals like `HEAD`.
    #[error("the name is neither below refs/ nor a pseudo-ref like HEAD")]
    NotARef,
}

/// Checks a full name by the rules of `git check-ref-format`: at least two components.
///
/// # Errors
/// The first rule that the name breaks.
pub fn check_ref_format(name: &[u8]) -> Result<(), RefNameError> {
    if is_plain(name) {
        return Ok(());
    }
    match check_components(name)? {
        1 => Err(RefNameError::OneLevel),
        _ => Ok(()),
    }
}

/// Checks a name by the rules of `git check-ref-format --allow-onelevel`.
///
/// # Errors
/// The first rule that the name breaks.
pub fn check_ref_format_onelevel(name: &[u8]) -> Result<(), RefNameError> {
    check_components(name).map(|_| ())
}

/// Bytes of a name judged at a time.
const BLOCK: usize = 16;

/// Whether a name is below `refs/` and has nothing in it that the rules could mind: most
/// names. What is not plain may still be valid, and is checked rule by rule.
#[inline]
fn is_plain(name: &[u8]) -> bool {
    if !name.starts_with(b"refs/") || matches!(name.last(), Some(b'.' | b'/')) {
        return false;
    }
    // Every byte is judged with the one before it.
    let (bytes, before) = (&name[1..], &name[..name.len() - 1]);
    let (Some(last), Some(before_last)) = (bytes.last_chunk(), before.last_chunk()) else {
        return false;
    };
    let (blocks, _overlapped_by_last) = bytes.as_chunks::<BLOCK>();
    let (before, _) = before.as_chunks::<BLOCK>();
    blocks.iter().zip(before).all(|(block, before)| is_plain_block(block, before))
        && is_plain_block(last, before_last)
}

/// Written without branches, so that it compiles to operations on the whole block. Ranges
/// that hold a forbidden byte count as a whole, and so do `./`, `.l` and `{`: fewer
/// comparisons, and rare.
#[inline]
fn is_plain_block(block: &[u8; BLOCK], before: &[u8; BLOCK]) -> bool {
    let within = |byte: u8, first: u8, last: u8| byte.wrapping_sub(first) <= last - first;
    let mut odd = 0;
    for (&byte, &before) in block.iter().zip(before) {
        let mark = within(byte, 0, b' ')
            | within(byte, b':', b'?')
            | within(byte, b'[', b'^')
            | within(byte, b'{', 0x7f)
            | (byte == b'*');
        let edges = within(byte, b'.', b'/') & within(before, b'.', b'/');
        let maybe_lock = (byte == b'l') & (before == b'.');
        odd |= u8::from(mark | edges | maybe_lock);
    }
    odd == 0
}

/// Checks every component and counts them.
fn check_components(name: &[u8]) -> Result<usize, RefNameError> {
    if name == b"@" {
        return Err(RefNameError::OnlyAt);
    }
    let mut count = 0;
    for component in name.split(|&byte| byte == b'/') {
        check_component(component)?;
        count += 1;
    }
    if name.ends_with(b".") {
        return Err(RefNameError::TrailingDot);
    }
    Ok(count)
}

fn check_component(component: &[u8]) -> Result<(), RefNameError> {
    let mut last = 0;
    for &byte in component {
        match byte {
            0..=b' ' | 0x7f | b'~' | b'^' | b':' | b'?' | b'*' | b'[' | b'\\' => {
                return Err(RefNameError::Forbidden(byte));
            }
            b'.' if last == b'.' => return Err(RefNameError::DoubleDot),
            b'{' if last == b'@' => return Err(RefNameError::AtBrace),
            _ => last = byte,
        }
    }
    match component {
        [] => Err(RefNameError::EmptyComponent),
        [b'.', ..] => Err(RefNameError::LeadingDot),
        _ if component.ends_with(b".lock") => Err(RefNameError::LockSuffix),
        _ => Ok(()),
    }
}

/// The full name of a ref that passed the checks: below `refs/`, or a name in capitals that
/// lives beside `refs/`, like `HEAD`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RefName(BString);

impl RefName {
    /// Checks a full name.
    ///
    /// # Errors
    /// The rule of [`check_ref_format`] that the name breaks, or [`RefNameError::NotARef`].
    pub fn new(name: impl AsRef<[u8]>) -> Result<RefName, RefNameError> {
        let name = name.as_ref();
        if name.starts_with(b"refs/") {
            check_ref_format(name)?;
            return Ok(RefName(name.into()));
        }
        Self::pseudo(name)
    }

    /// Checks a name that lives beside `refs/`: `HEAD`, `FETCH_HEAD`, `ORIG_HEAD`, …
    ///
    /// # Errors
    /// [`RefNameError::NotARef`] unless it is capitals, `-` and `_` only.
    pub fn pseudo(name: impl AsRef<[u8]>) -> Result<RefName, RefNameError> {
        let name = name.as_ref();
        let capitals = name.iter().all(|byte| byte.is_ascii_uppercase() || b"-_".contains(byte));
        if name.is_empty() || !capitals {
            check_ref_format_onelevel(name)?;
            return Err(RefNameError::NotARef);
        }
        Ok(RefName(name.into()))
    }

    /// `HEAD`.
    pub fn head() -> RefName {
        RefName("HEAD".into())
    }

    /// Whether the ref lives beside `refs/`.
    pub fn is_pseudo(&self) -> bool {
        !self.0.starts_with(b"refs/")
    }

    /// Whether the name stands for a file that is never a ref to write: `FETCH_HEAD` and
    /// `MERGE_HEAD` hold more than an id.
    pub fn is_special_file(&self) -> bool {
        self.0 == "FETCH_HEAD" || self.0 == "MERGE_HEAD"
    }

    /// Whether every work tree has its own (`gitrepository-layout`, "refs").
    pub fn is_per_worktree(&self) -> bool {
        const PREFIXES: [&[u8]; 3] = [b"refs/bisect/", b"refs/rewritten/", b"refs/worktree/"];
        self.is_pseudo() || PREFIXES.iter().any(|prefix| self.0.starts_with(prefix))
    }

    /// The name as bytes.
    pub fn as_bstr(&self) -> &BStr {
        self.0.as_bstr()
    }

    /// Gives the bytes away.
    pub fn into_inner(self) -> BString {
        self.0
    }
}

impl Deref for RefName {
    type Target = BStr;

    fn deref(&self) -> &BStr {
        self.as_bstr()
    }
}

impl AsRef<BStr> for RefName {
    fn as_ref(&self) -> &BStr {
        self.as_bstr()
    }
}

impl AsRef<[u8]> for RefName {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

// Sound for maps keyed by name: equality, order and hash are those of the bytes.
impl std::borrow::Borrow<BStr> for RefName {
    fn borrow(&self) -> &BStr {
        self.as_bstr()
    }
}

impl PartialEq<str> for RefName {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for RefName {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

impl TryFrom<&BStr> for RefName {
    type Error = RefNameError;

    fn try_from(name: &BStr) -> Result<Self, RefNameError> {
        RefName::new(name)
    }
}

impl fmt::Display for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.as_bstr(), f)
    }
}

impl fmt::Debug for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_bstr(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_full_names_and_pseudo_refs() {
        for name in ["HEAD", "FETCH_HEAD", "ORIG_HEAD", "refs/heads/main", "refs/x", "refs/a/@"] {
            assert!(RefName::new(name).is_ok(), "{name}");
        }
        assert!(RefName::head().is_pseudo() && RefName::head().is_per_worktree());
        assert!(RefName::new("FETCH_HEAD").expect("valid").is_special_file());
        assert!(!RefName::new("refs/heads/main").expect("valid").is_per_worktree());
    }

    #[test]
    fn what_looks_plain_follows_every_rule() {
        let plain = b"refs/heads/team-20/topic_v1.2.3";
        assert!(is_plain(plain) && is_plain(&plain[..17]));
        let agree = |name: &[u8]| {
            let checked = check_components(name).is_ok_and(|count| count > 1);
            assert!(!is_plain(name) || checked, "{}", name.as_bstr());
            assert_eq!(check_ref_format(name).is_ok(), checked, "{}", name.as_bstr());
        };
        for len in 0..=plain.len() {
            agree(&plain[..len]);
            for at in 0..len {
                let mut name = plain[..len].to_vec();
                for odd in 0..=255 {
                    name[at] = odd;
                    agree(&name);
                }
                for pair in [b"..", b"./", b"/.", b"//", b"@{", b"/@", b"@/", b".l"] {
                    let mut name = plain[..len].to_vec();
                    name.splice(at..(at + 2).min(len), *pair);
                    agree(&name);
                }
                let mut name = plain[..len].to_vec();
                name.splice(at..at, *b".lock");
                agree(&name);
                name.splice(at + 5..at + 5, *b"/");
                agree(&name);
            }
        }
    }

    #[test]
    fn says_which_rule_is_broken() {
        let cases: [(&str, RefNameError); 12] = [
            ("", RefNameError::EmptyComponent),
            ("refs/", RefNameError::EmptyComponent),
            ("refs//x", RefNameError::EmptyComponent),
            ("refs/.x", RefNameError::LeadingDot),
            ("refs/x.lock/y", RefNameError::LockSuffix),
            ("refs/x..y", RefNameError::DoubleDot),
            ("refs/x@{1}", RefNameError::AtBrace),
            ("refs/x.", RefNameError::TrailingDot),
            ("refs/x y", RefNameError::Forbidden(b' ')),
            ("refs/x\0", RefNameError::Forbidden(0)),
            ("@", RefNameError::OnlyAt),
            ("heads/main", RefNameError::NotARef),
        ];
        for (name, error) in cases {
            assert_eq!(RefName::new(name), Err(error), "{name:?}");
        }
    }
}
