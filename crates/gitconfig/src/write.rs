//! An entry as text, to be put behind a file.

use std::fmt::Write as _;

/// What was to be a key is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no key: SECTION.NAME and SECTION.SUBSECTION.NAME are")]
pub struct NoKey(pub String);

/// The lines that give a key this value: its section, and the entry (git's `config.adoc`, "Syntax").
///
/// # Errors
/// [`NoKey`] as git refuses keys.
pub fn entry_text(key: &str, value: &str) -> Result<String, NoKey> {
    let no_key = || NoKey(key.chars().take(100).collect());
    let (head, name) = key.rsplit_once('.').ok_or_else(no_key)?;
    let (section, subsection) = match head.split_once('.') {
        Some((section, subsection)) => (section, Some(subsection)),
        None => (head, None),
    };
    let is_word = |text: &str| {
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic());
    let is_line = subsection.is_none_or(|text| !text.contains(['\n', '\0']));
    if !is_word(section) || !is_word(name) || !starts_well || !is_line || value.contains('\0') {
        return Err(no_key());
    }
    let mut text = format!("[{section}");
    if let Some(subsection) = subsection {
        text.push_str(" \"");
        for letter in subsection.chars() {
            if matches!(letter, '"' | '\\') {
                text.push('\\');
            }
            text.push(letter);
        }
        text.push('"');
    }
    let _ = write!(text, "]\n\t{name} = \"");
    for letter in value.chars() {
        match letter {
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            '"' | '\\' => text.extend(['\\', letter]),
            other => text.push(other),
        }
    }
    text.push_str("\"\n");
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::{Config, Scope};

    #[test]
    fn what_is_written_is_read_again() {
        for (key, value) in [
            ("receive.denyDeletes", "true"),
            ("remote.a.b\\\"c.url", " x;y#z "),
            ("core.editor", "a \"b\\c\"\n\td"),
            ("core.empty", ""),
        ] {
            let text = entry_text(key, value).expect(key);
            let config = Config::parse(text.as_bytes(), Scope::Local, Path::new("x")).expect(&text);
            assert_eq!(config.string(key).expect(&text).to_string(), value);
        }
        for key in ["", "a", ".a", "a.", "a.1b", "a b.c", "a\nb.c", "a.x\ny.c", "a.b_c"] {
            assert_eq!(entry_text(key, ""), Err(NoKey(key.to_owned())), "{key:?}");
        }
    }
}
