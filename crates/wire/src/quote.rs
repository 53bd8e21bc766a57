//! A peer's bytes inside our own sentences.

use bstr::ByteSlice as _;

/// Bytes of a peer's line that are repeated to it.
const QUOTED_BYTES_MAX: usize = 300;

/// A peer's text made fit for an error message: bounded, one line, control
/// characters shown as `?` (as git's own messages show them).
pub(crate) fn quote(text: &[u8]) -> String {
    let shown = &text[..text.len().min(QUOTED_BYTES_MAX)];
    let mut words: String =
        shown.to_str_lossy().chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    if shown.len() < text.len() {
        words.push_str("...");
    }
    words
}
