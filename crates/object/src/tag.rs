//! Annotated tags, as far as peeling and following reads them.

use bstr::{BStr, ByteSlice as _};

use crate::header;
use crate::{HashKind, Kind, ObjectId, ParseError};

/// An annotated tag, borrowed from its bytes.
#[derive(Debug, Clone, Copy)]
pub struct TagRef<'a> {
    /// The object the tag points at.
    pub target: ObjectId,
    /// The kind the tag says its target has; the target itself may disagree.
    pub target_kind: Kind,
    /// The name written into the tag, without `refs/tags/`.
    pub name: &'a BStr,
    // Everything behind the tag line.
    rest: &'a [u8],
}

impl<'a> TagRef<'a> {
    /// Reads a tag.
    ///
    /// # Errors
    /// When the object, type and tag lines do not stand at the front, in this order.
    pub fn parse(bytes: &'a [u8], hash: HashKind) -> Result<Self, ParseError> {
        let (target, rest) =
            header::id_line(bytes, b"object ", hash).ok_or(ParseError::TagObject)?;
        let (kind, rest) = header::line(rest).ok_or(ParseError::TagType)?;
        let target_kind =
            kind.strip_prefix(b"type ").and_then(Kind::from_name).ok_or(ParseError::TagType)?;
        let (name, rest) = header::line(rest).ok_or(ParseError::TagName)?;
        let name = name.strip_prefix(b"tag ").ok_or(ParseError::TagName)?.as_bstr();
        Ok(TagRef { target, target_kind, name, rest })
    }

    /// The tagger line's value: name, email, date and zone. The oldest tags have none.
    pub fn tagger(&self) -> Option<&'a BStr> {
        let (line, _) = header::line(self.rest)?;
        line.strip_prefix(b"tagger ").map(<[u8]>::as_bstr)
    }

    /// Seconds since the epoch; 0 without a readable tagger.
    pub fn tagger_time(&self) -> i64 {
        let date = self.tagger().and_then(|tagger| tagger.split_once_str(">"));
        date.map_or(0, |(_, date)| header::timestamp(date))
    }

    /// The message: everything behind the first empty line, a signature included.
    pub fn message(&self) -> &'a BStr {
        header::body(self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: &str = "4b825dc642cb6eb9a060e54bf8d69288fbee4904";

    #[test]
    fn reads_a_tag() {
        let text = format!(
            "object {TARGET}\ntype tree\ntag v1\ntagger T <t@x> 1700000000 +0000\n\nHello\n"
        );
        let tag = TagRef::parse(text.as_bytes(), HashKind::Sha1).expect("well formed");
        assert_eq!(tag.target.to_hex(), TARGET);
        assert_eq!(tag.target_kind, Kind::Tree);
        assert_eq!(tag.name, "v1");
        assert_eq!(tag.tagger_time(), 1_700_000_000);
        assert_eq!(tag.message(), "Hello\n");
    }

    #[test]
    fn reads_a_tag_without_a_tagger() {
        let text = format!("object {TARGET}\ntype commit\ntag v0.99\n\nOld\n");
        let tag = TagRef::parse(text.as_bytes(), HashKind::Sha1).expect("well formed");
        assert_eq!((tag.tagger(), tag.tagger_time()), (None, 0));
        assert_eq!(tag.message(), "Old\n");
    }

    #[test]
    fn refuses_missing_lines() {
        let parse = |text: String| TagRef::parse(text.as_bytes(), HashKind::Sha1).err();
        assert_eq!(parse(String::new()), Some(ParseError::TagObject));
        assert_eq!(parse(format!("object {TARGET}\n")), Some(ParseError::TagType));
        assert_eq!(parse(format!("object {TARGET}\ntype egg\ntag x\n")), Some(ParseError::TagType));
        assert_eq!(parse(format!("object {TARGET}\ntype tag\ntag x")), Some(ParseError::TagName));
    }
}
