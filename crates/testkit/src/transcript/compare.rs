//! Comparing a text with what a test expects of it.

use std::fmt::Write;

/// Compares two texts line by line, ignoring common indentation, blank lines at the ends and
/// `#` lines of the expectation; panics with both where they part.
#[track_caller]
pub fn check(actual: &str, expected: &str) {
    let (actual, expected) = (dedent(actual), dedent(expected));
    let expected: Vec<&str> = expected.lines().filter(|line| !line.starts_with('#')).collect();
    let actual: Vec<&str> = actual.lines().collect();
    if actual == expected {
        return;
    }
    let same = actual.iter().zip(&expected).take_while(|(a, e)| a == e).count();
    let mut message = String::from("the text is not as expected\n");
    let _ = writeln!(message, "--- expected (from line {} on)", same + 1);
    for line in &expected[same..] {
        let _ = writeln!(message, "{line}");
    }
    let _ = writeln!(message, "--- actual (whole)");
    for (at, line) in actual.iter().enumerate() {
        let _ = writeln!(message, "{}{line}", if at == same { "-> " } else { "   " });
    }
    panic!("{message}");
}

/// Drops blank lines at both ends and the indentation that all other lines share.
pub(super) fn dedent(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let indent = lines
        .iter()
        .filter(|line| !line.is_empty())
        .map(|line| line.len() - line.trim_start_matches(' ').len())
        .min()
        .unwrap_or(0);
    let first = lines.iter().position(|line| !line.is_empty()).unwrap_or(lines.len());
    let last = lines.iter().rposition(|line| !line.is_empty()).map_or(first, |at| at + 1);
    let body: Vec<&str> =
        lines[first..last].iter().map(|line| line.get(indent..).unwrap_or_default()).collect();
    body.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indentation_and_remarks_do_not_count() {
        check("a\n  b\n", "\n    # a remark\n    a\n      b\n\n");
    }

    #[test]
    #[should_panic(expected = "-> c")]
    fn the_first_difference_is_pointed_at() {
        check("a\nc\n", "a\nb\n");
    }
}
