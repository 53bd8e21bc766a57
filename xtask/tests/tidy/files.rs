//! What holds for every file: a first line that says what it is, a size one can read,
//! a name that says something, no path of somebody's machine.

use std::path::{Path, PathBuf};

use crate::{report, root};

const LINES_MAX: usize = 500;
const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "types", "misc"];
const SKIPPED_FOLDERS: &[&str] = &["target", ".git", "corpus", "artifacts", "bench-results"];
const TEXT_EXTENSIONS: &[&str] = &["rs", "toml", "md", "sh", "py", "yml", "yaml", "txt"];

/// Every file of the project, without what is built or fetched.
fn files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("the project is readable") {
            let path = entry.expect("the project is readable").path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.is_dir() && !path.is_symlink() {
                if !SKIPPED_FOLDERS.contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if path.is_file() {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn has_extension(path: &Path, wanted: &[&str]) -> bool {
    path.extension().is_some_and(|extension| wanted.iter().any(|wanted| extension == *wanted))
}

/// Complaints of `judge` about each Rust file, with the file's path in front.
fn judge_rust(judge: impl Fn(&Path, &str) -> Option<String>) -> Vec<String> {
    let mut complaints = Vec::new();
    for path in files().iter().filter(|path| has_extension(path, &["rs"])) {
        // Somebody may be moving files while the test runs.
        let Ok(text) = std::fs::read_to_string(path) else { continue };
        let name = path.strip_prefix(root()).expect("found below the root");
        complaints.extend(judge(name, &text).map(|why| format!("{}: {why}", name.display())));
    }
    complaints
}

/// Lines before the file's own tests.
fn lines_without_tests(text: &str) -> usize {
    let lines: Vec<&str> = text.lines().collect();
    let is_tests = |pair: &[&str]| pair[0] == "#[cfg(test)]" && pair[1].starts_with("mod tests");
    lines.windows(2).position(is_tests).unwrap_or(lines.len())
}

#[test]
fn every_file_opens_by_saying_what_it_is() {
    let complaints = judge_rust(|_, text| {
        (!text.starts_with("//!")).then(|| "does not open with a //! comment".to_owned())
    });
    report("The first line of a file says what it is:", &complaints);
}

#[test]
fn no_file_is_too_long_to_read() {
    let complaints = judge_rust(|_, text| {
        let lines = lines_without_tests(text);
        (lines > LINES_MAX).then(|| format!("{lines} lines without its tests"))
    });
    report(&format!("A file has at most {LINES_MAX} lines without its tests:"), &complaints);
}

#[test]
fn no_module_has_an_empty_name() {
    let complaints = judge_rust(|path, text| {
        let names = path.iter().map(|part| part.to_string_lossy().replace(".rs", ""));
        let modules = text.lines().filter_map(|line| {
            let line = line.trim_start().strip_prefix("pub ").unwrap_or(line.trim_start());
            let name = line.strip_prefix("mod ")?.split(|c: char| !c.is_alphanumeric() && c != '_');
            name.into_iter().next().map(str::to_owned)
        });
        let mut empty = names.chain(modules).filter(|name| EMPTY_NAMES.contains(&name.as_str()));
        empty.next().map(|name| format!("a module named {name:?} says nothing"))
    });
    report("A module is a thing or an act:", &complaints);
}

#[test]
fn no_file_knows_this_machine() {
    let mut places = vec![root().to_string_lossy().into_owned()];
    places
        .extend(["HOME", "CARGO_HOME", "RUSTUP_HOME"].iter().filter_map(|v| std::env::var(v).ok()));
    // `/root` is every machine's; `/home/somebody` is not.
    places.retain(|place| place.matches('/').count() > 1);
    let mut complaints = Vec::new();
    for path in files() {
        if !has_extension(&path, TEXT_EXTENSIONS) && path.extension().is_some() {
            continue;
        }
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        for place in places.iter().filter(|place| mentions(&text, place)) {
            complaints.push(format!("{} mentions {place}", path.display()));
        }
    }
    report("A file that knows one machine is wrong on every other:", &complaints);
}

/// Whether the text holds `place` as the start of an absolute path.
fn mentions(text: &str, place: &str) -> bool {
    let whole = format!("{}/", place.trim_end_matches('/'));
    text.match_indices(&whole).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        !before.is_some_and(|c| c.is_alphanumeric() || "._-/~*}".contains(c))
    })
}
