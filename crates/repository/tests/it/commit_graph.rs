//! Commit-graphs we write, beside those git writes: the same bytes.

use std::collections::BTreeMap;
use std::path::Path;

use object::HashKind;
use repository::maintenance::graph::{
    self, ChangedPathFilters, GraphLayout, GraphOptions, GraphOutcome, MergeLayers, NoGraph,
};
use repository::{Error, Silent};
use testkit::{RealGit, Scenario};

use crate::bare::Bare;

const CHAIN: GraphLayout = GraphLayout::Chain(MergeLayers::BySize {
    size_multiple: 2,
    // As git, which has no such limit unless it is asked for one.
    commits_max: None,
});

fn write(
    dir: &Path,
    layout: GraphLayout,
    paths: ChangedPathFilters,
) -> Result<GraphOutcome, Error> {
    let repository = Bare::open(dir).repository;
    let options = GraphOptions::new(layout, paths, repository.config());
    graph::write(&repository, &options, &mut Silent)
}

/// The files of all graphs, and locks if there are any.
fn graph_files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let info = dir.join("objects/info");
    let mut files = BTreeMap::new();
    for folder in [info.clone(), info.join("commit-graphs")] {
        for entry in std::fs::read_dir(folder).into_iter().flatten() {
            let path = entry.expect("readable").path();
            let name = path.strip_prefix(&info).expect("below").display().to_string();
            if path.is_file() && name.contains("graph") {
                files.insert(name, std::fs::read(&path).expect("readable"));
            }
        }
    }
    files
}

#[test]
fn a_graph_is_gits_own_to_the_byte() {
    let git = RealGit::new();
    let scenarios = [
        ("branchy", Scenario::branchy(60)),
        ("octopus", Scenario::octopus(5).sha256()),
        ("criss-cross", Scenario::criss_cross(6)),
        ("odd-names", Scenario::odd_file_names()),
        ("submodules", Scenario::submodule_entries()),
        ("tags", Scenario::tags_of_tags(3)),
        ("huge-tree", Scenario::huge_tree(600)),
        ("loose", Scenario::linear(12).loose()),
    ];
    for (name, scenario) in scenarios {
        let dir = scenario.build(&git, name);
        for (argument, paths) in [
            ("--no-changed-paths", ChangedPathFilters::Drop),
            ("--changed-paths", ChangedPathFilters::Write),
        ] {
            git.ok(&dir, &["commit-graph", "write", "--reachable", "--no-progress", argument]);
            let theirs = graph_files(&dir);
            std::fs::remove_file(dir.join("objects/info/commit-graph")).expect("it was written");
            let outcome = write(&dir, GraphLayout::Single, paths).expect("written");
            assert!(matches!(outcome, GraphOutcome::Written { layers: 1, .. }), "{outcome:?}");
            assert!(graph_files(&dir) == theirs, "{name} {argument}");
        }
        git.ok(&dir, &["commit-graph", "verify", "--no-progress"]);
        // Once more, with everything taken from the graph that is there.
        let before = graph_files(&dir);
        write(&dir, GraphLayout::Single, ChangedPathFilters::Keep).expect("written");
        assert!(graph_files(&dir) == before, "{name} again");
    }
}

#[test]
fn the_second_hash_is_written_when_asked_for() {
    let git = RealGit::new();
    let dir = Scenario::odd_file_names().build(&git, "odd-names");
    git.ok(&dir, &["config", "commitGraph.changedPathsVersion", "2"]);
    git.ok(&dir, &["config", "commitGraph.generationVersion", "1"]);
    git.ok(&dir, &["commit-graph", "write", "--reachable", "--no-progress", "--changed-paths"]);
    let theirs = graph_files(&dir);
    std::fs::remove_file(dir.join("objects/info/commit-graph")).expect("it was written");
    write(&dir, GraphLayout::Single, ChangedPathFilters::Write).expect("written");
    assert!(graph_files(&dir) == theirs);
}

#[test]
fn a_chain_grows_as_gits_does() {
    for hash in [HashKind::Sha1, HashKind::Sha256] {
        let git = RealGit::new();
        let source = Scenario::linear(100).hash(hash).build(&git, "source");
        let borrow = format!("{}\n", source.join("objects").display());
        let [theirs, ours] = ["theirs.git", "ours.git"].map(|name| {
            let dir = git.init_bare_of(name, hash);
            std::fs::write(dir.join("objects/info/alternates"), &borrow).expect("written");
            dir
        });
        // A single file; a layer on it; a layer that takes one in; one that takes all.
        for (back, layers) in [(40, 1), (35, 2), (30, 2), (0, 1)] {
            let tip = git.rev_parse(&source, &format!("main~{back}")).to_hex();
            for dir in [&theirs, &ours] {
                git.ok(dir, &["update-ref", "refs/heads/main", &tip]);
            }
            let mut arguments = vec!["commit-graph", "write", "--reachable", "--changed-paths"];
            let mut layout = GraphLayout::Single;
            if back != 40 {
                arguments.push("--split");
                layout = CHAIN;
            }
            git.ok(&theirs, &arguments);
            let outcome = write(&ours, layout, ChangedPathFilters::Write).expect("written");
            assert!(
                matches!(outcome, GraphOutcome::Written { layers: found, .. } if found == layers),
                "{outcome:?}"
            );
            assert!(graph_files(&ours) == graph_files(&theirs), "{hash:?} {back}");
            git.ok(&ours, &["commit-graph", "verify", "--no-progress"]);
        }
        let again = write(&ours, CHAIN, ChangedPathFilters::Keep).expect("nothing to write");
        assert_eq!(again, GraphOutcome::NothingNew);
        // Back to one file, and to a chain of one layer.
        for (arguments, layout) in [
            (&["--reachable"][..], GraphLayout::Single),
            (&["--reachable", "--split=replace"], GraphLayout::Chain(MergeLayers::All)),
        ] {
            git.ok(&theirs, &[&["commit-graph", "write"], arguments].concat());
            write(&ours, layout, ChangedPathFilters::Keep).expect("written");
            assert!(graph_files(&ours) == graph_files(&theirs), "{hash:?} {layout:?}");
        }
    }
}

#[test]
fn filters_spare_git_work_and_change_no_answer() {
    let git = RealGit::new();
    let dir = Scenario::branchy(80).build(&git, "r");
    write(&dir, GraphLayout::Single, ChangedPathFilters::Write).expect("written");
    git.ok(&dir, &["commit-graph", "verify", "--no-progress"]);
    for path in ["edits/step-7.txt", "edits", "dir-0/file-0.txt", "no/such/path"] {
        let log = |setting| {
            let setting = format!("core.commitGraph={setting}");
            git.ok(&dir, &["-c", &setting, "log", "--oneline", "main", "--", path])
        };
        assert_eq!(log("true"), log("false"), "{path}");
    }
}

#[test]
fn where_git_writes_none_neither_do_we() {
    let git = RealGit::new();
    let refused = |dir: &Path, expected| {
        git.run(dir, &["commit-graph", "write", "--reachable"]);
        for layout in [GraphLayout::Single, CHAIN] {
            let outcome = write(dir, layout, ChangedPathFilters::Keep).expect("no error");
            assert_eq!(outcome, expected);
        }
        assert_eq!(graph_files(dir).len(), 0, "{expected:?}");
    };
    refused(&git.init_bare("empty.git"), GraphOutcome::NothingNew);
    let shallow = Scenario::shallow(10, 3).build(&git, "shallow");
    refused(&shallow, GraphOutcome::NotWritten(NoGraph::Shallow));

    let dir = Scenario::linear(5).build(&git, "linear");
    git.ok(&dir, &["config", "core.commitGraph", "false"]);
    refused(&dir, GraphOutcome::NotWritten(NoGraph::Disabled));
    git.ok(&dir, &["config", "--unset", "core.commitGraph"]);
    let (tip, old) = (git.rev_parse(&dir, "main"), git.rev_parse(&dir, "main~2"));
    std::fs::create_dir_all(dir.join("info")).expect("made");
    std::fs::write(dir.join("info/grafts"), format!("{tip} {old}\n")).expect("written");
    refused(&dir, GraphOutcome::NotWritten(NoGraph::Grafts));
}

#[test]
fn replaced_commits_are_written_as_they_are() {
    let git = RealGit::new();
    let dir = Scenario::linear(5).build(&git, "r");
    git.ok(&dir, &["replace", "main~1", "main~3"]);
    git.ok(&dir, &["commit-graph", "write", "--reachable", "--changed-paths"]);
    let theirs = graph_files(&dir);
    assert_eq!(theirs.len(), 1);
    std::fs::remove_file(dir.join("objects/info/commit-graph")).expect("it was written");
    write(&dir, GraphLayout::Single, ChangedPathFilters::Write).expect("written");
    assert!(graph_files(&dir) == theirs);
}

#[test]
fn who_finds_the_graph_locked_is_told() {
    let git = RealGit::new();
    let dir = Scenario::linear(3).build(&git, "r");
    std::fs::write(dir.join("objects/info/commit-graph.lock"), "").expect("locked");
    let told = write(&dir, GraphLayout::Single, ChangedPathFilters::Keep);
    assert!(matches!(told, Err(Error::Storage(storage::Error::Locked { .. }))), "{told:?}");
}

#[test]
fn a_damaged_graph_is_written_anew() {
    let git = RealGit::new();
    let dir = Scenario::linear(5).build(&git, "r");
    std::fs::write(dir.join("objects/info/commit-graph"), "CGPH").expect("damaged");
    write(&dir, GraphLayout::Single, ChangedPathFilters::Write).expect("written");
    git.ok(&dir, &["commit-graph", "verify", "--no-progress"]);
}
