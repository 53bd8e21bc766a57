//! Encodings of text other than UTF-8 (`working-tree-encoding`): the other forms of Unicode, and
//! Latin-1. What else there is stays UTF-8, and the client is told.

use bstr::ByteSlice as _;

/// How a file is encoded in a work tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Encoding {
    name: String,
    form: Option<Form>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Form {
    unit: Unit,
    order: Order,
    /// It begins with a byte order mark.
    mark: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Utf16,
    Utf32,
    Latin1,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Big,
    Little,
}

const MARK: char = '\u{feff}';

impl Encoding {
    /// The encoding of this name; `None` where nothing is to be done.
    pub fn named(name: &[u8]) -> Option<Self> {
        let shown = name.to_str_lossy().into_owned();
        let plain = shown.to_ascii_uppercase().replace('_', "-");
        let form = |unit, order, mark| Some(Form { unit, order, mark });
        let form = match plain.strip_prefix("UTF-").or_else(|| plain.strip_prefix("UTF")) {
            Some("8") => return None,
            Some("16" | "16LE-BOM") => form(Unit::Utf16, Order::Little, true),
            Some("16BE-BOM") => form(Unit::Utf16, Order::Big, true),
            Some("16LE") => form(Unit::Utf16, Order::Little, false),
            Some("16BE") => form(Unit::Utf16, Order::Big, false),
            Some("32" | "32LE-BOM") => form(Unit::Utf32, Order::Little, true),
            Some("32BE-BOM") => form(Unit::Utf32, Order::Big, true),
            Some("32LE") => form(Unit::Utf32, Order::Little, false),
            Some("32BE") => form(Unit::Utf32, Order::Big, false),
            _ if plain.is_empty() => return None,
            _ => match plain.as_str() {
                "ISO-8859-1" | "ISO8859-1" | "LATIN1" | "LATIN-1" => {
                    form(Unit::Latin1, Order::Big, false)
                }
                _ => None,
            },
        };
        Some(Encoding { name: shown, form })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// The text in this encoding; `None` when it is no text, or cannot be written so.
    pub fn encode(&self, content: &[u8]) -> Option<Vec<u8>> {
        let Form { unit, order, mark } = self.form?;
        let text = content.to_str().ok()?;
        // As git: nothing stays nothing.
        if text.is_empty() {
            return Some(Vec::new());
        }
        let width = match unit {
            Unit::Latin1 => 1,
            Unit::Utf16 => 2,
            Unit::Utf32 => 4,
        };
        let mut out = Vec::with_capacity(text.len() * width);
        for char in mark.then_some(MARK).into_iter().chain(text.chars()) {
            match unit {
                Unit::Latin1 => out.push(u8::try_from(u32::from(char)).ok()?),
                Unit::Utf16 => {
                    for code in char.encode_utf16(&mut [0; 2]) {
                        out.extend(match order {
                            Order::Big => code.to_be_bytes(),
                            Order::Little => code.to_le_bytes(),
                        });
                    }
                }
                Unit::Utf32 => out.extend(match order {
                    Order::Big => u32::from(char).to_be_bytes(),
                    Order::Little => u32::from(char).to_le_bytes(),
                }),
            }
        }
        Some(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_unicode() {
        let encode =
            |name: &str| Encoding::named(name.as_bytes()).expect("one").encode("aé𝄞".as_bytes());
        assert_eq!(encode("utf-16be"), Some(b"\0a\0\xe9\xd8\x34\xdd\x1e".to_vec()));
        assert_eq!(encode("UTF-16"), Some(b"\xff\xfea\0\xe9\0\x34\xd8\x1e\xdd".to_vec()));
        assert_eq!(encode("UTF-32BE").map(|bytes| bytes.len()), Some(12));
        assert_eq!(encode("latin1"), None);
        assert_eq!(encode("SHIFT-JIS"), None);
        for name in ["", "utf-8", "UTF8"] {
            assert_eq!(Encoding::named(name.as_bytes()), None);
        }
        let latin = Encoding::named(b"ISO-8859-1").expect("one");
        assert_eq!(latin.encode("é".as_bytes()), Some(b"\xe9".to_vec()));
        assert_eq!(latin.encode(b"\xff"), None);
    }
}
