//! commit-graph files and chains against what git reads from the commits.

use object::HashKind;
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

#[test]
fn damage_never_panics() {
    let repo = Repo::with_history(HashKind::Sha1);
    repo.git(&["commit-graph", "write", "--reachable"]);
    let good = repo.read(FILE_NAME);
    for len in 0..good.len().min(3000) {
        assert!(CommitGraph::open(good.slice(..len), HashKind::Sha1).is_err(), "cut to {len}");
    }
    for at in 0..good.len() {
        let mut bad = good.to_vec();
        bad[at] ^= 0xff;
        let Ok(graph) = CommitGraph::open(bad.into(), HashKind::Sha1) else { continue };
        for position in 0..graph.count() {
            let _ = graph.lookup(&graph.id_at(position));
            let _ = graph.generation_at(position);
            if let Ok(parents) = graph.parents_at(position) {
                parents.for_each(drop);
            }
        }
    }
}
