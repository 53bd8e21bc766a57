//! Every crate we take from others is a decision, written down.

use std::collections::BTreeSet;

use crate::{metadata, report, root};

const DOCUMENT: &str = "docs/dependencies.md";

#[test]
fn every_dependency_is_a_written_decision() {
    let document = std::fs::read_to_string(root().join(DOCUMENT)).unwrap_or_default();
    let words: BTreeSet<&str> = document.split(|c: char| !is_name(c)).collect();
    let mut used = BTreeSet::new();
    for package in metadata().workspace_packages() {
        used.extend(
            package.dependencies.iter().filter(|d| d.path.is_none()).map(|d| d.name.clone()),
        );
    }
    let missing: Vec<String> =
        used.into_iter().filter(|name| !words.contains(name.as_str())).collect();
    report(&format!("{DOCUMENT} says nothing about:"), &missing);
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '-' || c == '_'
}
