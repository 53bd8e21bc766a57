//! Questions about history have one answer, whatever commit-graph there is.

use std::path::Path;

use object::ObjectId;
use repository::history::{each_reaches, is_ancestor, unreachable};
use repository::shallow::{Deepen, deepen};
use repository::{Objects, Silent, connectivity};
use rustc_hash::{FxHashMap, FxHashSet};
use testkit::RealGit;

use crate::bare::Bare;

const COMMITS: usize = 36;

/// Two lines that merge now and then, by clocks that nobody should trust.
fn stream() -> String {
    let mut stream = String::new();
    for n in 1..=COMMITS {
        let time = 1_500_000_000 + (n * 7919 % 97) * 100_000;
        let branch = if n % 3 == 0 { "side" } else { "main" };
        stream += &format!("commit refs/heads/{branch}\nmark :{n}\n");
        stream += &format!("committer C <c@example.com> {time} +0000\ndata 2\nx\n");
        if n == 3 {
            stream += "from :1\n";
        } else if n > 6 && n % 7 == 0 && branch == "main" {
            stream += &format!("merge :{}\n", (n - 1) / 3 * 3);
        }
        stream += &format!("M 100644 inline file{}\ndata 3\n{n:03}\n", n % 5);
    }
    stream
}

struct History {
    commits: Vec<ObjectId>,
    parents: FxHashMap<ObjectId, Vec<ObjectId>>,
}

impl History {
    fn of(git: &RealGit, dir: &Path) -> Self {
        let log = git.ok(dir, &["log", "--all", "--topo-order", "--format=%H %P"]);
        let id = |hex: &str| ObjectId::from_hex(hex.as_bytes()).expect("an id");
        let rows = log.lines().map(|line| line.split(' ').filter(|w| !w.is_empty()).map(id));
        let rows = rows.map(|mut row| (row.next().expect("a commit"), row.collect::<Vec<_>>()));
        let rows: Vec<_> = rows.collect();
        History {
            commits: rows.iter().map(|row| row.0).collect(),
            parents: rows.into_iter().collect(),
        }
    }

    fn reaches(&self, from: &ObjectId, to: &ObjectId) -> bool {
        from == to || self.parents[from].iter().any(|parent| self.reaches(parent, to))
    }
}

fn check(history: &History, objects: &Objects, graph: &str) {
    let tips = &history.commits[..2];
    for one in &history.commits {
        for other in &history.commits {
            let expected = history.reaches(one, other);
            let found = is_ancestor(objects, other, one).expect("whole");
            assert_eq!(found, expected, "{graph}: {one} reaches {other}");
            // Clocks may hide a path, and no path is made up.
            let targets = FxHashSet::from_iter([*other]);
            let seen = each_reaches(objects, &[*one], &targets).expect("whole");
            assert!(expected || !seen, "{graph}: {one} {other}");
        }
    }
    let missed = unreachable(objects, &history.commits, tips).expect("whole");
    let expected = |id: &&ObjectId| !tips.iter().any(|tip| history.reaches(tip, id));
    let expected: Vec<ObjectId> = history.commits.iter().filter(expected).copied().collect();
    assert_eq!(missed, expected, "{graph}");
    for known in history.commits.chunks(5) {
        connectivity::check_connected(objects, &history.commits, known, &[], &mut Silent)
            .expect("nothing is missing");
    }
}

/// What may depend on clocks, and not on the graph.
fn answers(history: &History, objects: &Objects) -> Vec<String> {
    let mut answers = Vec::new();
    for one in &history.commits {
        for depth in [1, 3, 9] {
            let update = deepen(objects, &[*one], &[], &[], &Deepen::Depth(depth));
            answers.push(format!("{:?}", update.expect("whole")));
        }
        for others in history.commits.chunks(4) {
            let targets = others.iter().copied().collect();
            let seen = each_reaches(objects, &[*one], &targets).expect("whole");
            answers.push(format!("{seen}"));
        }
        let how = Deepen::Limited { since: Some(1_503_000_000), not: vec![history.commits[20]] };
        let update = deepen(objects, &[*one], &[], &[], &how).map_err(|error| error.to_string());
        answers.push(format!("{update:?}"));
    }
    answers
}

#[test]
fn answers_do_not_depend_on_the_graph() {
    let git = RealGit::new();
    let dir = git.init_bare("r.git");
    git.ok_with_input(&dir, &["fast-import", "--quiet"], stream().as_bytes());
    let history = History::of(&git, &dir);
    let open = || Bare::open(&dir).repository.objects().expect("a view");
    let plain = answers(&history, &open());
    check(&history, &open(), "none");

    let old = git.rev_parse(&dir, "main~9").to_hex();
    let v1 = ["-c", "commitGraph.generationVersion=1", "commit-graph", "write"];
    let v2 = ["commit-graph", "write"];
    let graphs: [(&str, &[(&[&str], &str)]); 6] = [
        ("whole", &[(&v2, "--reachable")]),
        ("levels only", &[(&v1, "--reachable")]),
        ("stale", &[(&v2, "--stdin-commits")]),
        ("stale, levels only", &[(&v1, "--stdin-commits")]),
        (
            "chain",
            &[(&v2, "--stdin-commits --split=no-merge"), (&v2, "--reachable --split=no-merge")],
        ),
        (
            "chain, levels only",
            &[(&v1, "--stdin-commits --split=no-merge"), (&v1, "--reachable --split=no-merge")],
        ),
    ];
    for (name, steps) in graphs {
        for (command, arguments) in steps {
            let arguments: Vec<&str> = arguments.split(' ').collect();
            let command = [*command, &arguments].concat();
            let written = git.ok_with_input(&dir, &command, format!("{old}\n").as_bytes());
            assert!(written.status.success(), "{name}");
        }
        check(&history, &open(), name);
        assert!(answers(&history, &open()) == plain, "{name}");
        let info = dir.join("objects/info");
        let _ = std::fs::remove_file(info.join("commit-graph"));
        if name == "chain" {
            // Without its upper layer a chain is a graph that lacks the newest commits.
            let chain = std::fs::read_to_string(info.join("commit-graphs/commit-graph-chain"));
            let top = chain.expect("two layers").lines().last().expect("a layer").to_owned();
            let layer = info.join(format!("commit-graphs/graph-{top}.graph"));
            std::fs::remove_file(layer).expect("removed");
            check(&history, &open(), "chain without its top");
        }
        let _ = std::fs::remove_dir_all(info.join("commit-graphs"));
    }
}
