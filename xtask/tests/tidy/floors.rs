//! A dependency points to a lower floor, and only what serves the tests may serve tests.

use cargo_metadata::{DependencyKind, Package};

use crate::{metadata, report};

const FLOORS: &[(&str, u32)] = &[
    ("object", 0),
    ("gitconfig", 0),
    ("access", 1),
    ("wire", 1),
    ("pack", 1),
    ("reftable", 1),
    ("maps", 1),
    ("storage", 1),
    ("client", 2),
    ("storage-reftable", 2),
    ("storage-disk", 3),
    ("storage-kv", 3),
    ("storage-postgres", 3),
    ("storage-object", 3),
    ("repository", 4),
    ("serve", 5),
    ("host", 6),
    ("front-cgi", 7),
    ("front-http", 7),
    ("front-git", 7),
    ("front-ssh", 7),
    ("front-stdio", 7),
    ("webhooks", 7),
    ("remote-daemon", 7),
    ("packhorse", 8),
];

/// All that a front-end may name: whatever reaches a repository goes through `host`.
const FRONTS_SEE: &[&str] = &["host", "wire", "object"];

/// Outside the house: nothing on a floor may need them to run.
const TOOLS: &[&str] = &["testkit", "bench", "xtask"];

fn short(package: &str) -> &str {
    package.strip_prefix("packhorse-").unwrap_or(package)
}

fn floor(name: &str) -> Option<u32> {
    FLOORS.iter().find(|(known, _)| *known == name).map(|(_, floor)| *floor)
}

fn complaint(package: &Package, dependency: &str) -> Option<String> {
    let (name, dependency) = (short(&package.name), short(dependency));
    let own = floor(name)?;
    if TOOLS.contains(&dependency) {
        return Some(format!("{name} needs {dependency}, which is for tests only"));
    }
    let other = floor(dependency)?;
    if other >= own {
        return Some(format!("{name} (floor {own}) may not see {dependency} (floor {other})"));
    }
    if name.starts_with("front-") && !FRONTS_SEE.contains(&dependency) {
        return Some(format!("{name} may see {FRONTS_SEE:?} only, not {dependency}"));
    }
    None
}

#[test]
fn dependencies_point_downwards() {
    let mut complaints = Vec::new();
    for package in metadata().workspace_packages() {
        for dependency in &package.dependencies {
            if dependency.kind != DependencyKind::Development {
                complaints.extend(complaint(package, &dependency.name));
            }
        }
    }
    report("An import may only point to a lower floor:", &complaints);
}

#[test]
fn every_crate_has_a_floor() {
    let unknown: Vec<String> = metadata()
        .workspace_packages()
        .iter()
        .map(|package| short(&package.name).to_owned())
        .filter(|name| floor(name).is_none() && !TOOLS.contains(&name.as_str()))
        .collect();
    report("Give these crates a floor here and in ARCHITECTURE.md:", &unknown);
}
