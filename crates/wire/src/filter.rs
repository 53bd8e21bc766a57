//! Object filters of partial clones: reading their text (git-rev-list, `--filter`).

use std::fmt;

use bstr::{BStr, BString};
use object::Kind;

use crate::limits::Limits;
use crate::number::parse_with_unit;
use crate::quote::quote;

/// Which objects a client does not want.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// `blob:none`: no blobs.
    BlobNone,
    /// `blob:limit=N`: no blobs of N bytes or more.
    BlobLimit(u64),
    /// `tree:N`: no trees and blobs N or more levels below a commit's tree.
    TreeDepth(u64),
    /// `object:type=K`: only objects of one kind.
    ObjectType(Kind),
    /// `sparse:oid=BLOB`: no blobs outside the sparse patterns in a blob, named by any revision.
    SparseOid(BString),
    /// `combine:A+B`: what every one of them lets pass.
    Combine(Vec<Filter>),
}

impl Filter {
    /// Reads a filter within the default [`Limits`].
    ///
    /// # Errors
    /// Git's words for what is wrong with it.
    pub fn parse(spec: &[u8]) -> Result<Filter, String> {
        Self::parse_within(spec, &Limits::default())
    }

    /// Reads a filter; [`Limits::filter_nesting_max`] and [`Limits::filter_parts_max`] hold.
    ///
    /// # Errors
    /// Git's words for what is wrong with it.
    pub fn parse_within(spec: &[u8], limits: &Limits) -> Result<Filter, String> {
        let mut parts_left = limits.filter_parts_max;
        parse(spec, limits.filter_nesting_max, &mut parts_left)
    }

    /// The name that the configuration `uploadpackfilter.<name>.allow` uses.
    pub fn config_name(&self) -> &'static str {
        match self {
            Filter::BlobNone => "blob:none",
            Filter::BlobLimit(_) => "blob:limit",
            Filter::TreeDepth(_) => "tree",
            Filter::ObjectType(_) => "object:type",
            Filter::SparseOid(_) => "sparse:oid",
            Filter::Combine(_) => "combine",
        }
    }
}

fn parse(spec: &[u8], nesting_left: usize, parts_left: &mut usize) -> Result<Filter, String> {
    *parts_left = parts_left.checked_sub(1).ok_or("too many parts in the filter-spec")?;
    if spec == b"auto" {
        return Err("'auto' filter not supported by this command".to_owned());
    }
    if spec == b"blob:none" {
        return Ok(Filter::BlobNone);
    }
    if let Some(limit) = spec.strip_prefix(b"blob:limit=").and_then(parse_with_unit) {
        return Ok(Filter::BlobLimit(limit));
    }
    if let Some(depth) = spec.strip_prefix(b"tree:") {
        let depth = parse_with_unit(depth).ok_or("expected 'tree:<depth>'")?;
        return Ok(Filter::TreeDepth(depth));
    }
    if let Some(name) = spec.strip_prefix(b"sparse:oid=") {
        return Ok(Filter::SparseOid(BString::from(name)));
    }
    if spec.starts_with(b"sparse:path=") {
        return Err("sparse:path filters support has been dropped".to_owned());
    }
    if let Some(kind) = spec.strip_prefix(b"object:type=") {
        return Kind::from_name(kind).map(Filter::ObjectType).ok_or_else(|| {
            format!("'{}' for 'object:type=<type>' is not a valid object type", quote(kind))
        });
    }
    if let Some(parts) = spec.strip_prefix(b"combine:") {
        let nesting_left =
            nesting_left.checked_sub(1).ok_or("the filter-spec is nested too deep")?;
        return parse_combine(parts, nesting_left, parts_left);
    }
    Err(format!("invalid filter-spec '{}'", quote(spec)))
}

fn parse_combine(
    parts: &[u8],
    nesting_left: usize,
    parts_left: &mut usize,
) -> Result<Filter, String> {
    if parts.is_empty() {
        return Err("expected something after combine:".to_owned());
    }
    let mut filters = Vec::new();
    for part in parts.split(|&byte| byte == b'+').filter(|part| !part.is_empty()) {
        if let Some(&byte) = part.iter().find(|&&byte| is_reserved(byte)) {
            let shown = quote(&[byte]);
            return Err(format!("must escape char in sub-filter-spec: '{shown}'"));
        }
        filters.push(parse(&percent_decode(part), nesting_left, parts_left)?);
    }
    Ok(Filter::Combine(filters))
}

/// Bytes that stand in a part of `combine:` only percent-encoded.
fn is_reserved(byte: u8) -> bool {
    !(b'!'..0x80).contains(&byte) || b"~`!@#$^&*()[]{}\\;'\",<>?".contains(&byte)
}

fn percent_decode(text: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        let value = match rest {
            [b'%', high, low, ..] => hex_pair(*high, *low).filter(|&value| value != 0),
            _ => None,
        };
        decoded.push(value.unwrap_or(byte));
        rest = if value.is_some() { &rest[3..] } else { tail };
    }
    decoded
}

fn hex_pair(high: u8, low: u8) -> Option<u8> {
    let digits = [high, low];
    let hex = std::str::from_utf8(&digits).ok().filter(|hex| !hex.starts_with('+'))?;
    u8::from_str_radix(hex, 16).ok()
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Filter::BlobNone => f.write_str("blob:none"),
            Filter::BlobLimit(limit) => write!(f, "blob:limit={limit}"),
            Filter::TreeDepth(depth) => write!(f, "tree:{depth}"),
            Filter::ObjectType(kind) => write!(f, "object:type={kind}"),
            Filter::SparseOid(name) => write!(f, "sparse:oid={}", BStr::new(name)),
            Filter::Combine(filters) => {
                f.write_str("combine:")?;
                // An empty combination still needs something behind the colon.
                if filters.is_empty() {
                    f.write_str("+")?;
                }
                for (at, filter) in filters.iter().enumerate() {
                    f.write_str(if at > 0 { "+" } else { "" })?;
                    write_encoded(f, filter)?;
                }
                Ok(())
            }
        }
    }
}

/// Writes a part of `combine:`, percent-encoded where it must be.
fn write_encoded(f: &mut fmt::Formatter<'_>, filter: &Filter) -> fmt::Result {
    let text = match filter {
        Filter::SparseOid(name) => [b"sparse:oid=", name.as_slice()].concat(),
        other => other.to_string().into_bytes(),
    };
    for byte in text {
        if is_reserved(byte) || byte == b'%' || byte == b'+' {
            write!(f, "%{byte:02x}")?;
        } else {
            write!(f, "{}", byte as char)?;
        }
    }
    Ok(())
}

/// Which filters a server allows: `uploadpackfilter.*` in git-config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterRules {
    /// `uploadpackfilter.allow`: whether a filter that is not named below is allowed.
    pub allow_unnamed: bool,
    /// `uploadpackfilter.<filter>.allow`, by [`Filter::config_name`]; the last of a name counts.
    pub named: Vec<(BString, bool)>,
    /// `uploadpackfilter.tree.maxDepth`.
    pub tree_depth_max: u64,
}

impl Default for FilterRules {
    /// Everything is allowed, as in git once `uploadpack.allowFilter` is set.
    fn default() -> Self {
        FilterRules { allow_unnamed: true, named: Vec::new(), tree_depth_max: u64::MAX }
    }
}

impl FilterRules {
    /// Checks a filter and all its parts.
    ///
    /// # Errors
    /// Git's words, which it sends the client in an `ERR` packet.
    pub fn check(&self, filter: &Filter) -> Result<(), String> {
        let name = filter.config_name();
        let named = self.named.iter().rev().find(|(known, _)| known == name);
        if !named.map_or(self.allow_unnamed, |&(_, allowed)| allowed) {
            return Err(format!("filter '{name}' not supported"));
        }
        match filter {
            Filter::TreeDepth(depth) if *depth > self.tree_depth_max => {
                let max = self.tree_depth_max;
                Err(format!("tree filter allows max depth {max}, but got {depth}"))
            }
            Filter::Combine(parts) => parts.iter().try_for_each(|part| self.check(part)),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(spec: &str, outcome: &str) {
        let shown = match Filter::parse(spec.as_bytes()) {
            Ok(filter) => filter.to_string(),
            Err(words) => format!("error: {words}"),
        };
        assert_eq!(shown, outcome, "{spec}");
    }

    #[test]
    fn reads_every_filter() {
        check("blob:none", "blob:none");
        check("blob:limit=1k", "blob:limit=1024");
        check("tree:0", "tree:0");
        check("object:type=tag", "object:type=tag");
        check("sparse:oid=main:a b", "sparse:oid=main:a b");
        check("combine:blob:none+tree:3", "combine:blob:none+tree:3");
        check("combine:sparse:oid=main:a%20b+", "combine:sparse:oid=main:a%20b");
        check("combine:combine:tree:1%2btree:2", "combine:combine:tree:1%2btree:2");
        check("combine:+", "combine:+");
    }

    #[test]
    fn says_what_is_wrong_in_gits_words() {
        check("", "error: invalid filter-spec ''");
        check("blob:limit=", "error: invalid filter-spec 'blob:limit='");
        check("blob:limit=-1", "error: invalid filter-spec 'blob:limit=-1'");
        check("tree:x", "error: expected 'tree:<depth>'");
        check("object:type=x", "error: 'x' for 'object:type=<type>' is not a valid object type");
        check("sparse:path=x", "error: sparse:path filters support has been dropped");
        check("auto", "error: 'auto' filter not supported by this command");
        check("combine:", "error: expected something after combine:");
        check("combine:tree:1+blob:n~ne", "error: must escape char in sub-filter-spec: '~'");
    }

    #[test]
    fn nesting_and_parts_are_limited() {
        let deep = format!("{}blob:none", "combine:".repeat(17));
        check(&deep, "error: the filter-spec is nested too deep");
        let wide = format!("combine:{}", "tree:1+".repeat(256));
        check(&wide, "error: too many parts in the filter-spec");
        assert!(Filter::parse(format!("{}blob:none", "combine:".repeat(16)).as_bytes()).is_ok());
    }

    #[test]
    fn rules_reach_into_combinations() {
        let filter = Filter::parse(b"combine:tree:3+blob:none").unwrap();
        let mut rules = FilterRules::default();
        assert_eq!(rules.check(&filter), Ok(()));
        rules.tree_depth_max = 2;
        let words = "tree filter allows max depth 2, but got 3";
        assert_eq!(rules.check(&filter), Err(words.to_owned()));
        let mut rules = FilterRules { allow_unnamed: false, ..FilterRules::default() };
        assert_eq!(rules.check(&filter), Err("filter 'combine' not supported".to_owned()));
        rules.named = vec![("combine".into(), true), ("tree".into(), true)];
        assert_eq!(rules.check(&filter), Err("filter 'blob:none' not supported".to_owned()));
    }
}
