//! commit-graph files and chains against what git reads from the commits.

use object::HashKind;
use pack::graph::bloom::{BloomSettings, NewFilters, PathKey};
use pack::graph::write::NewGraph;
use pack::graph::{CHAIN_NAME, FILE_NAME};
use pack::{CommitGraph, Error};

use crate::git::{BOTH, Repo, history, id};
use crate::multi_pack::load;

/// Every commit's tree, date and parents, and that generations grow towards the tips.
fn check_commits(repo: &Repo, graph: &CommitGraph) -> usize {
    let lines = repo.lines(&["log", "--all", "--format=%H %T %ct %P"]);
    assert_eq!(lines.len(), graph.count() as usize);
    let mut parents_most = 0;
    for line in &lines {
        let words: Vec<_> = line.split_whitespace().collect();
        let position = graph.lookup(&id(words[0])).expect("a commit in the graph");
        assert_eq!(graph.id_at(position), id(words[0]));
        let commit = graph.commit_at(position).expect("in bounds");
        assert_eq!(commit.tree, id(words[1]));
        assert_eq!(commit.time.to_string(), words[2]);
        let parents: Result<Vec<u32>, _> = graph.parents_at(position).expect("in bounds").collect();
        let parents = parents.expect("intact");
        let ids: Vec<_> = parents.iter().map(|parent| graph.id_at(*parent)).collect();
        assert_eq!(ids, words[3..].iter().map(|word| id(word)).collect::<Vec<_>>());
        let own = graph.generation_at(position).expect("stored");
        for parent in &parents {
            assert!(graph.generation_at(*parent).expect("stored") < own);
            assert!(graph.commit_at(*parent).expect("in bounds").level < commit.level);
        }
        parents_most = parents_most.max(parents.len());
    }
    assert!(graph.commit_at(graph.count()).is_err());
    assert!(graph.parents_at(graph.count()).is_err());
    parents_most
}

#[test]
fn a_single_file_says_what_the_commits_say() {
    for hash in BOTH {
        for version in ["1", "2"] {
            let repo = Repo::with_history(hash);
            let option = format!("commitGraph.generationVersion={version}");
            repo.git(&["-c", &option, "commit-graph", "write", "--reachable"]);
            let graph = CommitGraph::open(repo.read(FILE_NAME), hash).expect("git's own file");
            graph.verify_checksums().expect("intact");
            assert_eq!(graph.has_corrected_dates(), version == "2");
            assert!(check_commits(&repo, &graph) > 2, "the scenario has an octopus merge");
        }
    }
}

#[test]
fn dates_that_run_backwards_are_corrected() {
    let repo = Repo::init(HashKind::Sha1);
    let mut stream = String::new();
    for (n, date) in [4_200_000_000u32, 4_000_000_000, 1_000_000_000, 1].iter().enumerate() {
        stream += &format!("commit refs/heads/main\nmark :{}\n", n + 1);
        stream += &format!("committer C <c@example.com> {date} +0000\ndata 2\nx\n");
        if n > 0 {
            stream += &format!("from :{n}\n");
        }
    }
    repo.fast_import(&stream);
    repo.git(&["commit-graph", "write", "--reachable"]);
    let graph = CommitGraph::open(repo.read(FILE_NAME), HashKind::Sha1).expect("git's own file");
    assert!(graph.has_corrected_dates());
    check_commits(&repo, &graph);
    let tip = id(&repo.lines(&["rev-parse", "main"])[0]);
    let tip = graph.lookup(&tip).expect("in the graph");
    // More than 31 bits beyond the commit's own date: through the overflow table.
    assert_eq!(graph.corrected_date_at(tip).expect("stored"), 4_200_000_003);
}

#[test]
fn a_chain_counts_through_its_layers() {
    let repo = Repo::init(HashKind::Sha256);
    for commits in [30, 60, 90, 120] {
        repo.fast_import(&history(commits));
        repo.git(&["commit-graph", "write", "--reachable", "--split=no-merge"]);
    }
    let chain = repo.read(CHAIN_NAME);
    let layers = chain.iter().filter(|byte| **byte == b'\n').count();
    assert!(layers > 1);
    let graph = CommitGraph::open_chain(&chain, repo.hash, |name| load(&repo, name))
        .expect("git's own chain")
        .expect("layers");
    graph.verify_checksums().expect("intact");
    check_commits(&repo, &graph);

    let hex_line = repo.hash.hex_len() + 1;
    let upside_down = [&chain[hex_line..2 * hex_line], &chain[..hex_line]].concat();
    let result = CommitGraph::open_chain(&upside_down, repo.hash, |name| load(&repo, name));
    assert!(matches!(result, Err(Error::Corrupt { .. })));
    let none = CommitGraph::open_chain(&chain, repo.hash, |_| Ok::<_, Error>(None));
    assert!(none.expect("nothing wrong").is_none());
}

/// Writes the layer above the first `below` ones anew, from what the graph says of its commits.
fn rewritten(graph: &CommitGraph, below: usize) -> Vec<u8> {
    let base = graph.base(below);
    let start = base.as_ref().map_or(0, CommitGraph::count);
    let layer = graph.layers().nth(below).expect("a layer");
    let mut new = NewGraph::new(graph.hash(), base.as_ref());
    let settings = graph.bloom_settings();
    let mut filters = settings.map(|settings| NewFilters::new(settings, layer.count));
    for position in start..start + layer.count {
        let commit = graph.commit_at(position).expect("in bounds");
        let parents: Result<Vec<u32>, _> = graph.parents_at(position).expect("in bounds").collect();
        let (id, time) = (graph.id_at(position), commit.time.cast_signed());
        new.push(&id, &commit.tree, time, &parents.expect("intact")).expect("in order");
        if let Some(filters) = &mut filters {
            let filter = graph.filter_at(position).expect("git computed all of them");
            assert!(filters.set_stored(position - start, &filter).expect("small"));
        }
    }
    let mut bytes = Vec::new();
    let id = new.write(layer.has_corrected_dates, filters.as_ref(), &mut bytes).expect("written");
    assert_eq!(id, layer.id);
    bytes
}

#[test]
fn a_graph_is_written_as_git_writes_it() {
    for hash in BOTH {
        for version in ["1", "2"] {
            let repo = Repo::with_history(hash);
            // A merge of many, and dates that need the overflow table.
            let mut stream = String::new();
            for (n, date) in [4_200_000_000u32, 1_000, 2_000, 3_000].iter().enumerate() {
                stream += &format!("commit refs/heads/odd{n}\nmark :{}\n", n + 1);
                stream += &format!("committer C <c@example.com> {date} +0000\ndata 2\nx\n");
                match n {
                    0 => {}
                    3 => stream += "from :1\nmerge :2\nmerge :3\nmerge refs/heads/side\n",
                    _ => stream += "from :1\n",
                }
            }
            repo.fast_import(&stream);
            let option = format!("commitGraph.generationVersion={version}");
            for paths in ["--no-changed-paths", "--changed-paths"] {
                repo.git(&["-c", &option, "commit-graph", "write", "--reachable", paths]);
                let file = repo.read(FILE_NAME);
                let graph = CommitGraph::open(file.clone(), hash).expect("git's own file");
                assert_eq!(graph.bloom_settings().is_some(), paths == "--changed-paths");
                assert!(rewritten(&graph, 0) == file, "{hash:?} {version} {paths}");
            }
        }
    }
}

#[test]
fn layers_are_written_as_git_writes_them() {
    for hash in BOTH {
        let repo = Repo::init(hash);
        for commits in [30, 60, 90] {
            repo.fast_import(&history(commits));
            let split = ["commit-graph", "write", "--reachable", "--split=no-merge"];
            repo.git(&[&split[..], &["--changed-paths"]].concat());
        }
        let chain = repo.read(CHAIN_NAME);
        let graph = CommitGraph::open_chain(&chain, repo.hash, |name| load(&repo, name))
            .expect("git's own chain")
            .expect("layers");
        let layers: Vec<_> = graph.layers().collect();
        assert!(layers.len() > 1);
        for (at, layer) in layers.iter().enumerate() {
            assert!(rewritten(&graph, at) == layer.bytes, "layer {at}");
        }
    }
}

#[test]
fn what_contradicts_itself_is_not_written() {
    let id = |n: u8| object::ObjectId::from_bytes(&[n; 20], HashKind::Sha1).expect("20 bytes");
    let mut graph = NewGraph::new(HashKind::Sha1, None);
    graph.push(&id(2), &id(9), 7, &[1]).expect("the first");
    assert!(graph.push(&id(2), &id(9), 7, &[]).is_err(), "twice");
    assert!(graph.push(&id(1), &id(9), 7, &[]).is_err(), "out of order");
    assert!(graph.write(true, None, std::io::sink()).is_err(), "a parent is missing");
    let mut ring = NewGraph::new(HashKind::Sha1, None);
    ring.push(&id(1), &id(9), 7, &[1]).expect("the first");
    ring.push(&id(2), &id(9), 7, &[0]).expect("the second");
    assert!(ring.write(true, None, std::io::sink()).is_err(), "a ring");
    let filters = NewFilters::new(BloomSettings::default(), 0);
    let mut single = NewGraph::new(HashKind::Sha1, None);
    single.push(&id(1), &id(9), 7, &[]).expect("the first");
    assert!(single.write(true, Some(&filters), std::io::sink()).is_err(), "no filter");
}

#[test]
fn filters_hold_every_path_git_changed() {
    for version in ["1", "2"] {
        let repo = Repo::with_history(HashKind::Sha1);
        let option = format!("commitGraph.changedPathsVersion={version}");
        repo.git(&["-c", &option, "commit-graph", "write", "--reachable", "--changed-paths"]);
        let graph = CommitGraph::open(repo.read(FILE_NAME), repo.hash).expect("git's own file");
        let mut denied = 0;
        let log = ["log", "--all", "--format=%H", "--name-only", "--no-renames"];
        let lines = repo.lines(&[&log[..], &["--diff-merges=first-parent"]].concat());
        let mut filter = None;
        for line in lines.iter().filter(|line| !line.is_empty()) {
            if line.len() == 40 {
                let position = graph.lookup(&id(line)).expect("in the graph");
                let found = graph.filter_at(position).expect("computed");
                denied += usize::from(!found.might_contain(&PathKey::new(b"dir9/file9")));
                filter = Some(found);
            } else {
                let filter = filter.expect("a commit comes first");
                assert!(filter.might_contain(&PathKey::new(line.as_bytes())), "{line}");
            }
        }
        assert!(denied > 100, "{denied}");
    }
}

#[test]
fn damage_never_panics() {
    let repo = Repo::with_history(HashKind::Sha1);
    repo.git(&["commit-graph", "write", "--reachable", "--changed-paths"]);
    let good = repo.read(FILE_NAME);
    for len in 0..good.len().min(3000) {
        assert!(CommitGraph::open(good.slice(..len), HashKind::Sha1).is_err(), "cut to {len}");
    }
    let key = PathKey::new(b"dir1/file1");
    for at in 0..good.len() {
        let mut bad = good.to_vec();
        bad[at] ^= 0xff;
        let Ok(graph) = CommitGraph::open(bad.into(), HashKind::Sha1) else { continue };
        for position in 0..graph.count() {
            let _ = graph.lookup(&graph.id_at(position));
            let _ = graph.generation_at(position);
            let _ = graph.filter_at(position).map(|filter| filter.might_contain(&key));
            if let Ok(parents) = graph.parents_at(position) {
                parents.for_each(drop);
            }
        }
    }
}
