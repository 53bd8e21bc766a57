//! Every fuzz target is part of the program, and has a corpus to start from.

use std::fs;

use crate::{report, root};

#[test]
fn every_fuzz_target_is_listed_and_has_a_corpus() {
    let fuzz = root().join("fuzz");
    let main = fs::read_to_string(fuzz.join("src/main.rs")).expect("the program is there");
    let mut complaints = Vec::new();
    for entry in fs::read_dir(fuzz.join("src")).expect("the folder is readable") {
        let file = entry.expect("the folder is readable").file_name();
        let file = file.to_string_lossy().into_owned();
        let Some(name) = file.strip_suffix(".rs").filter(|name| *name != "main") else { continue };
        if !main.lines().any(|line| line.trim() == format!("{name},")) {
            complaints.push(format!("fuzz/src/main.rs does not list {name}, which never runs"));
        }
        let inputs = fs::read_dir(fuzz.join("corpus").join(name)).map_or(0, Iterator::count);
        if inputs == 0 {
            complaints.push(format!("fuzz/corpus/{name} has no input"));
        }
    }
    report("A fuzz target is listed and carries a corpus:", &complaints);
}
