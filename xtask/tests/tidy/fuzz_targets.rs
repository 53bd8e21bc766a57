//! Every fuzz target has a source file that is listed, and a corpus to start from.

use std::fs;

use crate::{report, root};

#[test]
fn every_fuzz_target_has_a_corpus() {
    let fuzz = root().join("fuzz");
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap_or_default();
    let mut complaints = Vec::new();
    for section in manifest.split("[[bin]]").skip(1) {
        let name = section
            .lines()
            .find(|line| line.starts_with("name"))
            .and_then(|line| line.split('"').nth(1))
            .expect("a [[bin]] has a name");
        let inputs = fs::read_dir(fuzz.join("corpus").join(name)).map_or(0, Iterator::count);
        if inputs == 0 {
            complaints.push(format!("fuzz/corpus/{name} has no input"));
        }
    }
    report("A fuzz target carries a corpus:", &complaints);
}

#[test]
fn every_fuzz_target_is_listed() {
    let fuzz = root().join("fuzz");
    let manifest = fs::read_to_string(fuzz.join("Cargo.toml")).unwrap_or_default();
    let mut complaints = Vec::new();
    for entry in fs::read_dir(fuzz.join("fuzz_targets")).into_iter().flatten() {
        let name = entry.expect("the folder is readable").file_name();
        let name = name.to_string_lossy().into_owned();
        if name.ends_with(".rs") && !manifest.contains(&format!("fuzz_targets/{name}")) {
            complaints.push(format!("fuzz/Cargo.toml does not list fuzz_targets/{name}"));
        }
    }
    report("A fuzz target that is not listed never runs:", &complaints);
}
